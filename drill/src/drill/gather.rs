//! Gathers the evidence, ends the cluster, and writes the report.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bollard::Docker;
use futures::StreamExt;

use super::{Made, Options};
use crate::api::Apis;
use crate::cluster::Cluster;
use crate::database;
use crate::effects::Effects;
use crate::engine;
use crate::fault::Fault;
use crate::follow::{Log, read};
use crate::load::{Load, Submitted};
use crate::postgres;
use crate::progress::Progress;
use crate::recovery::{self, Span};
use crate::report::{self, Counts, FaultRow, LeftOut, Report};
use crate::time::Millis;
use crate::verdict::{self, Evidence};

/// Logs that are read at the same time, and how long one may take.
const READERS: usize = 8;
const READ_WITHIN: Duration = Duration::from_secs(60);

pub(super) struct Parts<'a> {
    pub(super) options: &'a Options,
    /// The builds as the report names them.
    pub(super) builds: Vec<String>,
    pub(super) cluster: Arc<Cluster>,
    pub(super) docker: Docker,
    pub(super) effects: Effects,
    pub(super) load: Load,
    pub(super) apis: Apis,
    pub(super) made: Vec<Made>,
    pub(super) left_out: Vec<LeftOut>,
}

impl Parts<'_> {
    pub(super) async fn report(
        self,
        began: Millis,
        lasted_ms: Millis,
        progress: &Progress,
    ) -> Result<Report> {
        let submitted = self.load.runs();
        progress.now("reading every log again");
        let read_again = self.read_again(&submitted).await;
        progress.now("reading the database");
        let servers = &self.cluster.servers;
        let rows = database::rows(&servers.database.url(postgres::NAME)).await?;
        progress.now("ending the cluster");
        let mut remains = self.cluster.stop().await?;
        for docker in std::iter::once(&self.docker).chain(self.cluster.own_docker()) {
            let containers = engine::left(docker, &self.cluster.label).await?;
            remains.extend(containers.into_iter().map(|name| format!("the container {name}")));
        }
        remains.extend(self.made.iter().filter_map(|made| made.finding.clone()));
        self.cluster.stop_engine().await?;
        servers.stop().await?;
        let wipes = self.made.iter().filter(|made| made.planned.fault == Fault::NatsWiped);
        let wipes = wipes.map(|made| (made.from, made.until)).collect();
        let counted = self.effects.counted();
        let evidence = Evidence { submitted, counted, rows, read_again, wipes, remains };
        Ok(self.write(&evidence, began, lasted_ms))
    }

    async fn read_again(&self, submitted: &[Submitted]) -> BTreeMap<String, Log> {
        let ended = submitted.iter().filter(|run| run.followed.is_some());
        let ids: Vec<String> = ended.filter_map(|run| run.ids.first().cloned()).collect();
        let reading = futures::stream::iter(ids).map(|id| async {
            let log = tokio::time::timeout(READ_WITHIN, read(&self.apis, &id)).await;
            log.ok().and_then(Result::ok).map(|log| (id, log))
        });
        reading.buffer_unordered(READERS).filter_map(std::future::ready).collect().await
    }

    fn write(&self, evidence: &Evidence, began: Millis, lasted_ms: Millis) -> Report {
        let faults = self.faults(evidence, began);
        let mut ended_by_themselves = BTreeMap::new();
        for exit in self.cluster.exits() {
            *ended_by_themselves.entry(format!("{} ({})", exit.part, exit.how)).or_default() += 1;
        }
        Report {
            builds: self.builds.clone(),
            began: jiff::Timestamp::from_millisecond(began)
                .map(|began| began.to_string())
                .unwrap_or_default(),
            seed: self.options.seed,
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            lasted_ms,
            faults_at_once: self.options.faults_at_once,
            runs_per_minute: self.options.runs_per_minute,
            counts: counts(evidence),
            checks: verdict::checks(evidence),
            kinds: report::kinds(&faults),
            faults,
            left_out: self.left_out.clone(),
            ended_by_themselves,
        }
    }

    fn faults(&self, evidence: &Evidence, began: Millis) -> Vec<FaultRow> {
        let runs = spans(evidence);
        let row = |made: &Made| FaultRow {
            number: made.number,
            fault: made.planned.fault,
            name: made.planned.fault.to_string(),
            target: made.planned.target(),
            after_ms: made.from - began,
            lasted_ms: made.until - made.from,
            recovery: recovery::after(made.until, &runs),
        };
        let mut rows: Vec<FaultRow> = self.made.iter().map(row).collect();
        rows.sort_by_key(|row| row.number);
        rows
    }
}

/// From a run's acceptance, as its client saw it, to its end, as the database has it.
fn spans(evidence: &Evidence) -> Vec<Span> {
    let ended: BTreeMap<&str, Millis> =
        evidence.rows.runs.iter().filter_map(|row| Some((row.id.as_str(), row.ended?))).collect();
    let span = |run: &Submitted| {
        let ended = *ended.get(run.ids.first()?.as_str())?;
        Some(Span { accepted: run.accepted_at, ended })
    };
    evidence.submitted.iter().filter_map(span).collect()
}

fn counts(evidence: &Evidence) -> Counts {
    let submitted = &evidence.submitted;
    let followed = submitted.iter().filter_map(|run| run.followed.as_ref());
    let lost = |row: &&database::AttemptRow| row.outcome.as_deref() == Some("failed");
    Counts {
        runs: submitted.len(),
        repeated_submissions: submitted.iter().map(|run| run.tries.saturating_sub(1)).sum(),
        reconnections: followed.map(|run| run.live.connections.saturating_sub(1)).sum(),
        attempts: evidence.rows.attempts.len(),
        lost_attempts: evidence.rows.attempts.iter().filter(lost).count(),
        executions: evidence.counted.values().map(Vec::len).sum(),
        logs_cut: submitted.iter().filter(|run| verdict::logs::may_be_cut(run, evidence)).count(),
    }
}
