//! What a scheduler counts of its own work, and what it last saw waiting in the whole cluster.
//!
//! A further figure is a field here, a line in [`Metrics::expose`], and a row in
//! `docs/OPERATIONS.md`.

mod classes;
mod names;
mod pools;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use domain::admission::Shares;
use domain::failure::FailureKind;
use domain::run::{Event, RunState};
use domain::time::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use proto::message::SchedulerReply;
use service::metrics::{Durations, durations};
use store::{AdmissionSettings, Queued, Waiting};

use self::classes::Classes;
use self::pools::Pools;
use crate::error::Error;
pub(crate) use names::{command, request};

/// A span of time, in seconds.
type Seconds = Gauge<f64, AtomicU64>;

/// The figures of one scheduler. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    transitions: Family<Transition, Counter>,
    transition_seconds: Durations<Named>,
    requests: Family<Answered, Counter>,
    request_seconds: Durations<Asked>,
    requests_in_flight: Gauge,
    runs_ended: Family<State, Counter>,
    retries: Family<Cause, Counter>,
    leases_lost: Counter,
    seen: Seen,
}

/// A look at the database.
#[derive(Clone, Debug, Default)]
pub(crate) struct Look {
    pub(crate) waiting: Waiting,
    pub(crate) settings: AdmissionSettings,
    /// What tenants have had of each queue.
    pub(crate) shares: BTreeMap<String, Shares>,
}

/// What the last look at the database found. Every scheduler finds the same.
#[derive(Clone, Debug, Default)]
struct Seen {
    runs: Family<State, Gauge>,
    pools: Pools,
    classes: Classes,
    outbox: Gauge,
    outbox_oldest: Seconds,
    archive: Gauge,
    dead_letters: Gauge,
    at: Seconds,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Named {
    command: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Transition {
    command: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Asked {
    request: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answered {
    request: &'static str,
    reply: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Cause {
    cause: &'static str,
}

/// What became of a command.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Changed {
    Committed,
    /// There was nothing to write.
    Unchanged,
}

/// A request of a worker, until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            transitions: Family::default(),
            transition_seconds: durations(),
            requests: Family::default(),
            request_seconds: durations(),
            requests_in_flight: Gauge::default(),
            runs_ended: Family::default(),
            retries: Family::default(),
            leases_lost: Counter::default(),
            seen: Seen::default(),
        }
    }
}

impl Metrics {
    pub(crate) fn expose(&self, registry: &mut Registry) {
        self.begin();
        let help = "Commands to runs, by what became of them";
        registry.register("flowcell_transitions", help, self.transitions.clone());
        let help = "From a command to its commit or refusal";
        registry.register("flowcell_transition_seconds", help, self.transition_seconds.clone());
        let help = "Requests of workers, by the answer";
        registry.register("flowcell_worker_requests", help, self.requests.clone());
        let help = "Time to the answer to a worker";
        registry.register("flowcell_worker_request_seconds", help, self.request_seconds.clone());
        let help = "Requests of workers that are not answered yet";
        registry.register(
            "flowcell_worker_requests_in_flight",
            help,
            self.requests_in_flight.clone(),
        );
        let help = "Runs that this scheduler saw to their end";
        registry.register("flowcell_runs_ended", help, self.runs_ended.clone());
        let help = "Attempts that are tried again, by why the one before failed";
        registry.register("flowcell_retries", help, self.retries.clone());
        let help = "Attempts whose worker was lost";
        registry.register("flowcell_leases_lost", help, self.leases_lost.clone());
        self.seen.expose(registry);
    }

    /// Counts begin at zero, not with the first time: a rate needs both.
    fn begin(&self) {
        for command in names::COMMANDS {
            for outcome in ["committed", "conflict", "refused", "failed"] {
                drop(self.transitions.get_or_create(&Transition { command, outcome }));
            }
            drop(self.transition_seconds.get_or_create(&Named { command }));
        }
        for state in RunState::ALL.into_iter().filter(|state| state.is_terminal()) {
            drop(self.runs_ended.get_or_create(&State { state: state.name() }));
        }
        let lost = FailureKind::WorkerLost.code();
        drop(self.retries.get_or_create(&Cause { cause: lost }));
        for request in ["claim", "report", "heartbeat"] {
            drop(self.requests.get_or_create(&Answered { request, reply: "unavailable" }));
            drop(self.request_seconds.get_or_create(&Asked { request }));
        }
    }

    /// A command found the run changed by somebody else, and is decided again.
    pub(crate) fn conflict(&self, command: &'static str) {
        self.transitions.get_or_create(&Transition { command, outcome: "conflict" }).inc();
    }

    pub(crate) fn transition(
        &self,
        command: &'static str,
        outcome: Result<Changed, &Error>,
        took: Duration,
    ) {
        let outcome = match outcome {
            Ok(Changed::Committed) => "committed",
            Ok(Changed::Unchanged) => "unchanged",
            Err(Error::Refused(_) | Error::NoRun(_)) => "refused",
            Err(_) => "failed",
        };
        self.transitions.get_or_create(&Transition { command, outcome }).inc();
        self.transition_seconds.get_or_create(&Named { command }).observe(took.as_secs_f64());
    }

    /// What a committed transition means for the counts.
    pub(crate) fn committed(&self, events: &[Event]) {
        for (index, event) in events.iter().enumerate() {
            if let Some(state) = end(event) {
                self.runs_ended.get_or_create(&State { state: state.name() }).inc();
            }
            let Event::AttemptFailed { task, failure, .. } = event else { continue };
            if failure.kind == FailureKind::WorkerLost {
                self.leases_lost.inc();
            }
            let mut later = events.iter().skip(index);
            if later
                .any(|event| matches!(event, Event::TaskReady { task: again, .. } if again == task))
            {
                self.retries.get_or_create(&Cause { cause: failure.kind.code() }).inc();
            }
        }
    }

    /// A worker has asked; the request is in flight until this is dropped.
    pub(crate) fn asked(&self) -> InFlight {
        self.requests_in_flight.inc();
        InFlight(self.requests_in_flight.clone())
    }

    pub(crate) fn answered(&self, request: &'static str, reply: &SchedulerReply, took: Duration) {
        let reply = names::reply(reply);
        self.requests.get_or_create(&Answered { request, reply }).inc();
        self.request_seconds.get_or_create(&Asked { request }).observe(took.as_secs_f64());
    }

    /// What a look at the database found.
    pub(crate) fn saw(&self, look: &Look, own_pool: &str, now: Timestamp) {
        self.seen.saw(&look.waiting, own_pool, now);
        let Look { waiting, settings, shares } = look;
        self.seen.classes.saw(&waiting.queued, settings, shares, now);
    }
}

impl Seen {
    fn expose(&self, registry: &mut Registry) {
        let help = "Runs that have not ended";
        registry.register("flowcell_runs", help, self.runs.clone());
        self.pools.expose(registry);
        self.classes.expose(registry);
        let help = "Messages that are committed and not known to be published";
        registry.register("flowcell_outbox_unpublished", help, self.outbox.clone());
        let help = "How long the first of them has been waiting";
        registry.register("flowcell_outbox_oldest_seconds", help, self.outbox_oldest.clone());
        let mut add = |name: &str, help: &str, gauge: &Gauge| {
            registry.register(name, help, gauge.clone());
        };
        add("flowcell_archive_backlog", "Event logs that should be archived by now", &self.archive);
        add("flowcell_dead_letters", "Runs that failed and wait for a person", &self.dead_letters);
        let help = "When the database was last looked at for these figures, as Unix time";
        registry.register("flowcell_figures_collected_seconds", help, self.at.clone());
    }

    fn saw(&self, waiting: &Waiting, own_pool: &str, now: Timestamp) {
        for state in RunState::ALL.into_iter().filter(|state| !state.is_terminal()) {
            let found = waiting.runs.iter().find(|(of, _)| *of == state);
            let gauge = self.runs.get_or_create_owned(&State { state: state.name() });
            gauge.set(whole(found.map_or(0, |(_, count)| *count)));
        }
        self.pools.saw(waiting, own_pool, now);
        self.outbox.set(whole(waiting.outbox.count));
        self.outbox_oldest.set(age(waiting.outbox, now));
        self.archive.set(whole(waiting.unarchived.count));
        self.dead_letters.set(whole(waiting.dead_letters));
        self.at.set(now.since(Timestamp(0)).as_secs_f64());
    }
}

/// The state that an event ends a run with.
fn end(event: &Event) -> Option<RunState> {
    match event {
        Event::RunCompleted => Some(RunState::Completed),
        Event::RunFailed { .. } => Some(RunState::Failed),
        Event::RunCancelled => Some(RunState::Cancelled),
        Event::RunTimedOut => Some(RunState::TimedOut),
        _ => None,
    }
}

/// Zero when nothing waits: a signal to scale on must not stay up.
fn age(queued: Queued, now: Timestamp) -> f64 {
    queued.oldest.map_or(0.0, |oldest| now.since(oldest).as_secs_f64())
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
