//! What a worker counts of its own work, beside what its pool and sweeper count.

mod pool;

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use proto::connection::{ConnectionLog, ConnectionState};
use proto::message::{ReportOutcome, SchedulerReply};
use service::metrics::{Durations, durations, seconds};

use crate::attempt::Ended;
pub(crate) use pool::PoolFigures;

/// The figures of one worker. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    attempts: Family<Outcome, Counter>,
    claims: Durations<Answer>,
    reports: Histogram,
    heartbeats_failed: Counter,
    connections: Family<Connection, Counter>,
    slots: Family<Depth, Gauge>,
    busy: Family<Depth, Gauge>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
    /// The kind of failure, if it is one.
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answer {
    answer: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Connection {
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Depth {
    depth: u32,
}

/// A slot that is in use until this is dropped.
#[derive(Debug)]
pub(crate) struct Busy(Gauge);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            attempts: Family::default(),
            claims: durations(),
            reports: seconds(),
            heartbeats_failed: Counter::default(),
            connections: Family::default(),
            slots: Family::default(),
            busy: Family::default(),
        }
    }
}

impl Metrics {
    pub(crate) fn expose(&self, registry: &mut Registry) {
        self.begin();
        let help = "Attempts that ended here, by how";
        registry.register("flowcell_attempts", help, self.attempts.clone());
        let help = "From asking for a task to the answer";
        registry.register("flowcell_claim_seconds", help, self.claims.clone());
        let help = "From an attempt's end to the answer to its report";
        registry.register("flowcell_report_seconds", help, self.reports.clone());
        let help = "Heartbeats that no scheduler accepted";
        registry.register("flowcell_heartbeats_failed", help, self.heartbeats_failed.clone());
        let help = "Connections that cells asked for, counted when their attempt ends";
        registry.register("flowcell_egress_connections", help, self.connections.clone());
        let help = "Cells that this worker can run at once, by the depth of their run";
        registry.register("flowcell_worker_slots", help, self.slots.clone());
        let help = "Slots that hold a cell now";
        registry.register("flowcell_worker_slots_busy", help, self.busy.clone());
    }

    /// Counts begin at zero, not with the first time: a rate needs both.
    fn begin(&self) {
        for (outcome, kind) in [("done", ""), ("stopped", "")] {
            drop(self.attempts.get_or_create(&Outcome { outcome, kind }));
        }
        for answer in ["assigned", "refused", "unanswered"] {
            drop(self.claims.get_or_create(&Answer { answer }));
        }
        for state in ["allowed", "refused"] {
            drop(self.connections.get_or_create(&Connection { state }));
        }
    }

    pub(crate) fn has_slots(&self, depth: u32, slots: u32) {
        self.slots.get_or_create(&Depth { depth }).set(i64::from(slots));
        // So that a worker without work shows zero and not nothing.
        drop(self.busy.get_or_create(&Depth { depth }));
    }

    /// A slot has a cell until this is dropped.
    pub(crate) fn busy(&self, depth: u32) -> Busy {
        let gauge = self.busy.get_or_create_owned(&Depth { depth });
        gauge.inc();
        Busy(gauge)
    }

    pub(crate) fn claimed(&self, reply: &Result<SchedulerReply, bus::Error>, took: Duration) {
        let answer = match reply {
            Ok(SchedulerReply::Assigned { .. }) => "assigned",
            Ok(SchedulerReply::Refused { .. }) => "refused",
            Ok(SchedulerReply::Prepare { .. }) => "prepare",
            Ok(_) => "undecided",
            Err(_) => "unanswered",
        };
        self.claims.get_or_create(&Answer { answer }).observe(took.as_secs_f64());
    }

    pub(crate) fn ended(&self, ended: Option<&Ended>) {
        let (outcome, kind) = match ended.map(|ended| &ended.outcome) {
            None => ("stopped", ""),
            Some(ReportOutcome::Done { .. }) => ("done", ""),
            Some(ReportOutcome::Failed { failure }) => ("failed", failure.kind.code()),
        };
        self.attempts.get_or_create(&Outcome { outcome, kind }).inc();
    }

    pub(crate) fn reported(&self, took: Duration) {
        self.reports.observe(took.as_secs_f64());
    }

    pub(crate) fn heartbeat_failed(&self) {
        self.heartbeats_failed.inc();
    }

    /// Everything that an attempt connected to.
    pub(crate) fn connected(&self, log: &ConnectionLog) {
        for entry in &log.entries {
            let state = match entry.state {
                ConnectionState::Open | ConnectionState::Closed => "allowed",
                ConnectionState::Cut => "cut",
                ConnectionState::Refused => "refused",
                ConnectionState::Failed => "failed",
            };
            self.connections.get_or_create(&Connection { state }).inc();
        }
        // What was not remembered was counted at least.
        self.connections.get_or_create(&Connection { state: "unlisted" }).inc_by(log.omitted);
    }
}
