//! Makes faults one after another, some at the same time.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Length, Options};
use crate::cluster::Cluster;
use crate::fault::{Plan, Planned};
use crate::inject::inject;
use crate::progress::Progress;
use crate::time::{Millis, now};

/// A fault that is over.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) number: usize,
    pub(crate) planned: Planned,
    pub(crate) from: Millis,
    pub(crate) until: Millis,
    /// What should not have happened while it was made.
    pub(crate) finding: Option<String>,
}

pub(super) struct Faults<'a> {
    pub(super) cluster: Arc<Cluster>,
    pub(super) options: &'a Options,
    /// How many kinds there are.
    pub(super) every_kind: usize,
    pub(super) progress: &'a Progress,
}

impl Faults<'_> {
    /// All faults, in the order in which they were over.
    pub(super) async fn make(&self, plan: Plan) -> Vec<Made> {
        let began = Instant::now();
        let mut active = JoinSet::new();
        let mut targets = BTreeSet::new();
        let mut all = Vec::new();
        for (planned, number) in plan.zip(1..) {
            let enough = match self.options.length {
                Length::EveryKind => number > self.every_kind,
                Length::Faults(count) => number > count,
                Length::Time(length) => began.elapsed() >= length,
            };
            if enough {
                break;
            }
            while active.len() >= self.options.faults_at_once || targets.contains(&planned.target())
            {
                let Some(Ok(made)) = active.join_next().await else { break };
                self.over(made, &mut targets, &mut all);
            }
            targets.insert(planned.target());
            self.progress.say(format_args!(
                "{number:>3}  {} ({}, {:.1} s)",
                planned.fault,
                planned.target(),
                planned.lasts.as_secs_f64()
            ));
            active.spawn(make_one(Arc::clone(&self.cluster), number, planned));
            tokio::time::sleep(planned.gap).await;
        }
        while let Some(Ok(made)) = active.join_next().await {
            self.over(made, &mut targets, &mut all);
        }
        all
    }

    fn over(&self, made: Made, targets: &mut BTreeSet<String>, all: &mut Vec<Made>) {
        targets.remove(&made.planned.target());
        if let Some(finding) = &made.finding {
            self.progress.say(format_args!("{:>3}  {finding}", made.number));
        }
        all.push(made);
    }
}

async fn make_one(cluster: Arc<Cluster>, number: usize, planned: Planned) -> Made {
    let from = now();
    let finding = match inject(&cluster, planned).await {
        Ok(finding) => finding,
        Err(error) => Some(format!("{}: {error:#}", planned.fault)),
    };
    Made { number, planned, from, until: now(), finding }
}
