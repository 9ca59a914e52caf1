//! Probes that are judged by how their attempt ended, in the eyes of a real worker.

use std::time::{Duration, Instant};

use domain::limits::CellLimits;
use flowcell_worker::config::PoolImage;
use futures::stream::{self, StreamExt};
use proto::event::RunEventKind;
use proto::message::{Assignment, AttemptRef, Figures, ReportOutcome};
use serde_json::Value;

use crate::IMAGE;
use crate::backends::{ALONE_WALL_MS, Backend, limits};
use crate::cell::Said;
use crate::cluster::Cluster;
use crate::component::{Plan, text_in};
use crate::register::Probe;

/// Between the wall-clock limit and the end of reading.
const AFTER_THE_LIMIT: Duration = Duration::from_secs(2);
/// How long the processes of a cell may outlive the report of its end.
const GONE_WITHIN: Duration = Duration::from_secs(1);
/// Of processes that replace themselves every few milliseconds, one look may miss all.
const LOOKS: usize = 8;
/// How long a report may take, with the making of the slot.
const PATIENCE: Duration = Duration::from_secs(150);
/// The longest report: what is kept of an error's text, and some room.
const REPORT_BYTES_MAX: usize = 64 * 1024;
/// What a cell says that it should not be able to.
const FINDING: &str = "finding: ";

/// Runs these probes, each in a cell of its own, and then a harmless cell on the same worker.
pub(crate) async fn run(backend: &Backend, probes: &[&Probe]) -> Vec<Said> {
    let cluster = Cluster::with(|config| {
        config.pool.images = vec![PoolImage::fixed(IMAGE, 2)];
        config.limits = limits();
        config.pool.ready_ms_max = 120_000;
        config.pool.take_ms_max = 120_000;
        (backend.configure)(config);
    })
    .await;
    let runs = probes.iter().enumerate().map(|(index, probe)| judge(&cluster, probe, index));
    let mut said: Vec<Said> = stream::iter(runs).buffer_unordered(backend.at_once).collect().await;
    if let Err(error) = harmless(&cluster).await {
        said.push(Said {
            id: "frames.a_following_cell".into(),
            finding: Some(error),
            ..Said::default()
        });
    }
    cluster.stop().await;
    said
}

async fn judge(cluster: &Cluster, probe: &Probe, index: usize) -> Said {
    let mut plan = Plan::new("alone", vec![probe.id.clone()]);
    plan.scene.mark = format!("hc-{}-{index}", std::process::id());
    let assignment = assignment(cluster, &plan);
    let run = assignment.attempt.run;
    let began = Instant::now();
    let attempt = cluster.submit(assignment).await;
    let Some((outcome, figures)) = reported(cluster, attempt).await else {
        let finding = Some(format!("no report within {} s", PATIENCE.as_secs()));
        return Said { id: probe.id.clone(), finding, ..Said::default() };
    };
    let ran = Duration::from_millis(figures.run_ms);
    let (code, report) = match &outcome {
        ReportOutcome::Done { result } => ("done", serde_json::to_value(result).unwrap()),
        ReportOutcome::Failed { failure } => {
            (failure.kind.code(), serde_json::to_value(failure).unwrap())
        }
    };
    let text = report.to_string();
    let mut findings = Vec::new();
    if !probe.ends.iter().any(|end| end == code) {
        let start: String = text.chars().take(300).collect();
        findings.push(format!("it ended with {code}, not {:?}: {start}", probe.ends));
    }
    if let Some(at) = text.find(FINDING) {
        findings.push(text[at..].chars().take(120).collect());
    }
    if code != "done" && text.len() > REPORT_BYTES_MAX {
        findings.push(format!("its report has {} bytes", text.len()));
    }
    if ran > Duration::from_millis(ALONE_WALL_MS) + AFTER_THE_LIMIT {
        findings.push(format!("it ran for {} ms", ran.as_millis()));
    }
    findings.extend(kept(&cluster.events(run).await));
    if let Some(container) = figures.container {
        cluster.gone(&container).await;
    }
    findings.extend(processes_left(&plan.scene.mark).await);
    if std::env::var_os("FLOWCELL_HOSTILE_SLOWLY").is_some() {
        eprintln!("    {} {code} {} ms {findings:?}", probe.id, began.elapsed().as_millis());
    }
    Said {
        id: probe.id.clone(),
        finding: (!findings.is_empty()).then(|| findings.join("; ")),
        why: format!(
            "{code} after {} ms, {} ms in all",
            ran.as_millis(),
            began.elapsed().as_millis()
        ),
        error: None,
    }
}

/// A report, as soon as there is one. On a busy machine the slot before it takes a while.
async fn reported(cluster: &Cluster, attempt: AttemptRef) -> Option<(ReportOutcome, Figures)> {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let found = cluster.scheduler.with(|state| state.reports.get(&attempt)?.first().cloned());
        if found.is_some() {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    None
}

fn assignment(cluster: &Cluster, plan: &Plan) -> Assignment {
    let mut assignment = cluster.assignment("", "");
    let mut task = plan.task();
    task.run_id = assignment.attempt.run;
    assignment.image = IMAGE.into();
    assignment.limits = CellLimits { wall_ms: ALONE_WALL_MS, ..limits() };
    assignment.secrets.clear();
    assignment.task = task;
    assignment
}

/// What is wrong with the events that were stored of a run.
fn kept(events: &[RunEventKind]) -> Vec<String> {
    let mut findings = Vec::new();
    let mut log_bytes = 0;
    for event in events {
        match event {
            RunEventKind::Log { text, .. } => log_bytes += text.len(),
            other => {
                let value: Value = serde_json::to_value(other).unwrap();
                findings.extend(text_in(&value, FINDING).map(str::to_owned));
            }
        }
    }
    let most = usize::try_from(limits().log_bytes_max).unwrap() + 1_024;
    if log_bytes > most {
        findings.push(format!("{log_bytes} bytes of output were kept"));
    }
    findings.dedup();
    findings
}

/// Processes of the probe that still exist on this host a second after the end of its cell.
async fn processes_left(mark: &str) -> Option<String> {
    let until = Instant::now() + GONE_WITHIN;
    loop {
        let mut looks = (0..LOOKS).map(|_| processes_named(mark));
        let left = looks.find(|left| !left.is_empty()).unwrap_or_default();
        if left.is_empty() {
            return None;
        }
        if Instant::now() >= until {
            return Some(format!("processes {left:?} are left on the host"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn processes_named(mark: &str) -> Vec<String> {
    let named = |entry: &std::fs::DirEntry| {
        let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        name.trim() == mark
    };
    let processes = std::fs::read_dir("/proc").unwrap().flatten().filter(named);
    processes.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// A cell that does nothing, on a worker that has seen them all.
async fn harmless(cluster: &Cluster) -> Result<(), String> {
    let plan = Plan::new("together", Vec::new());
    match cluster.run(assignment(cluster, &plan)).await.0 {
        ReportOutcome::Done { .. } => Ok(()),
        ReportOutcome::Failed { failure } => Err(format!("a harmless cell failed: {failure:?}")),
    }
}
