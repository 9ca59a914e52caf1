//! Messages on the bus. Queues carry references only; whatever is secret travels in a reply to the
//! one worker that holds the lease.

use std::collections::BTreeSet;

use domain::failure::Failure;
use domain::id::{RunId, TenantId, WorkerEpoch};
use domain::limits::CellLimits;
use domain::runtime::Requirements;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::connection::ConnectionLog;
use crate::frame::{CellResult, ReplyError, Task};

/// The version of these messages; a process refuses another one instead of guessing.
pub const VERSION: u32 = 1;

/// Queue `runs`: a run was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSubmitted {
    /// [`VERSION`].
    pub v: u32,
    /// The run.
    pub run: RunId,
    /// Whether it waits for its turn, so that a round of admission finds it without this message.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub queued: bool,
}

/// Queue `runs`, as a scheduler reads it: a run was accepted, is to end or to pause, or a person
/// decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunOrder {
    /// [`VERSION`].
    pub v: u32,
    /// The run.
    pub run: RunId,
    /// Whether it is to end.
    #[serde(default)]
    pub cancel: bool,
    /// Whether a person decided what it asked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub answered: bool,
    /// Whether it is to be paused, or to go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
}

/// Whether anything of a run may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// Nothing more.
    Pause,
    /// It may again.
    Unpause,
}

/// Queue `tasks`: a task may be taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskOffered {
    /// [`VERSION`].
    pub v: u32,
    /// The run.
    pub run: RunId,
    /// The task.
    pub task: u32,
}

/// An attempt of a task, held by a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AttemptRef {
    /// The run.
    pub run: RunId,
    /// The task.
    pub task: u32,
    /// The attempt, 1-based.
    pub attempt: u32,
}

/// A worker's request to the schedulers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerRequest {
    /// [`VERSION`].
    pub v: u32,
    /// Who asks.
    pub worker: WorkerEpoch,
    /// What.
    pub body: WorkerRequestBody,
}

/// What a worker asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum WorkerRequestBody {
    /// Give me this task. Answer: `assigned`, `refused` or `prepare`.
    Claim {
        /// The run.
        run: RunId,
        /// The task.
        task: u32,
        /// Images with a flow's own packages that are ready here.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        runtimes: Vec<String>,
    },
    /// What became of an image with a flow's own packages. Answer: `lock` where it was resolved,
    /// otherwise `accepted`.
    Runtime {
        /// Whose it is.
        tenant: TenantId,
        /// The image.
        image: String,
        /// What.
        progress: RuntimeProgress,
    },
    /// A container has the task. Answer: `accepted` or `refused`.
    Began {
        /// The attempt.
        attempt: AttemptRef,
        /// The container's id.
        container: String,
    },
    /// The attempt ended. Answer: `accepted` or `refused`; repeated until answered.
    Report {
        /// The attempt.
        attempt: AttemptRef,
        /// How it ended.
        outcome: Box<ReportOutcome>,
        /// Figures of the attempt.
        figures: Figures,
    },
    /// I live, and hold these attempts. Answer: `beat`.
    Heartbeat {
        /// A name for people: host and pool.
        name: String,
        /// How many cells it can run at once.
        slots: u32,
        /// What it holds.
        attempts: Vec<AttemptRef>,
        /// The queue that it takes tasks from; a worker of before does not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pool: Option<String>,
    },
    /// I end; whatever I hold is lost. Answer: `accepted`.
    Goodbye,
    /// What the attempt connected to, all of it so far: a later one replaces this. Answer:
    /// `accepted` or `refused`. Taken after the attempt's end too.
    Connections {
        /// The attempt.
        attempt: AttemptRef,
        /// Its connections.
        log: ConnectionLog,
    },
    /// A question of a component. Answer: `call`.
    Call {
        /// The attempt that asks.
        attempt: AttemptRef,
        /// The operation, e.g. `message.store`.
        op: String,
        /// Its arguments.
        args: Value,
        /// How many messages the attempt has stored before, where it stores one or reads them: so
        /// it may ask again, and a further attempt says anew what a lost one has said and does not
        /// find it before. The worker counts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nth: Option<u64>,
    },
}

/// What became of an image with a flow's own packages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "progress", rename_all = "snake_case")]
pub enum RuntimeProgress {
    /// It is being built.
    Building {
        /// The step, for people.
        doing: String,
    },
    /// Its requirements are resolved: exact versions and hashes. The first answer is kept.
    Locked {
        /// The lock.
        lock: String,
    },
    /// It is on this worker.
    Ready,
    /// It cannot be built.
    Failed {
        /// Why, for its owner: the end of what the installer said.
        reason: String,
    },
}

/// An image that a worker is to make ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeOrder {
    /// Whose it is.
    pub tenant: TenantId,
    /// The image's name.
    pub image: String,
    /// The runner image that the packages are added to.
    pub base: String,
    /// What is to be added.
    pub requirements: Requirements,
    /// What they were resolved to before.
    pub lock: Option<String>,
}

/// How an attempt ended, as the worker saw it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum ReportOutcome {
    /// With a result.
    Done {
        /// The result.
        result: CellResult,
    },
    /// Without.
    Failed {
        /// Why.
        failure: Failure,
    },
}

/// What an attempt took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// The container's id.
    #[serde(default)]
    pub container: Option<String>,
    /// From the claim to the container having the task, in milliseconds.
    pub pick_up_ms: u64,
    /// From then to the final frame, in milliseconds.
    pub run_ms: u64,
    /// Highest memory use of the container, where the host tells, in bytes.
    #[serde(default)]
    pub memory_peak_bytes: Option<u64>,
    /// Processor time that its processes used for the task, where the host tells, in milliseconds.
    #[serde(default)]
    pub cpu_ms: Option<u64>,
    /// Frames received.
    pub frames: u64,
    /// Bytes received.
    pub output_bytes: u64,
}

/// The schedulers' answer to a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum SchedulerReply {
    /// The task is yours.
    Assigned {
        /// All that is needed to run it.
        assignment: Box<Assignment>,
    },
    /// The task runs in an image that is not on this worker: make it ready, then ask again.
    Prepare {
        /// The image.
        runtime: Box<RuntimeOrder>,
    },
    /// The lock that counts, whoever resolved it.
    Lock {
        /// The lock.
        lock: String,
    },
    /// Recorded (now or before).
    Accepted,
    /// Not recorded, and it never will be: drop it.
    Refused {
        /// For the log.
        reason: String,
    },
    /// Not recorded because something is broken right now: ask again.
    Unavailable {
        /// For the log.
        reason: String,
    },
    /// Answer to a heartbeat.
    Beat {
        /// Attempts to end at once: cancelled, or held by somebody else by now.
        stop: Vec<AttemptRef>,
    },
    /// Answer to a call.
    Call {
        /// The answer, when there is one.
        ok: Option<Value>,
        /// Why there is none.
        error: Option<ReplyError>,
    },
}

/// All that a worker needs to run one attempt. Contains secrets: never logged, never stored.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    /// The attempt.
    pub attempt: AttemptRef,
    /// Whose it is.
    pub tenant: TenantId,
    /// The runner image to use.
    pub image: String,
    /// The container's limits; `wall_ms` already respects the run's deadline.
    pub limits: CellLimits,
    /// Where the cell may connect to.
    pub egress: Vec<EgressRule>,
    /// Those of the task's variables whose values must not be seen: the worker masks them in
    /// everything that leaves the container.
    pub secrets: BTreeSet<String>,
    /// W3C trace context, when the run is traced.
    #[serde(default)]
    pub traceparent: Option<String>,
    /// The task frame.
    pub task: Task,
}

impl std::fmt::Debug for Assignment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Assignment")
            .field("attempt", &self.attempt)
            .field("tenant", &self.tenant)
            .field("image", &self.image)
            .finish_non_exhaustive()
    }
}

/// One allowed destination; everything else is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EgressRule {
    /// Host name or address, compared without case; `*.example.com` allows any name below it,
    /// [`Self::ANY_HOST`] any ordinary address of the internet.
    pub host: String,
    /// TCP port; [`Self::ANY_PORT`] for all of them, beside [`Self::ANY_HOST`] only.
    pub port: u16,
    /// Whether the name may resolve to a loopback, private or link-local address. Only an
    /// operator can set this: it opens the inside of the network to user code. Without meaning
    /// beside [`Self::ANY_HOST`].
    #[serde(default)]
    pub private: bool,
    /// Whether the destination speaks something else than HTTP and TLS: its name resolves inside
    /// the cell, plain TCP connections to it are forwarded, and what they carry is not looked at.
    // Left out when false: a worker that does not know it yet goes on reading the other rules.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tcp: bool,
}

impl EgressRule {
    /// The host of a rule that opens the public internet.
    pub const ANY_HOST: &str = "*";
    /// The port of a rule for all ports.
    pub const ANY_PORT: u16 = 0;

    /// Whether it opens the public internet: any name, any address that is not special.
    #[must_use]
    pub fn is_any_host(&self) -> bool {
        self.host == Self::ANY_HOST
    }
}

/// Control subject of one worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum WorkerOrder {
    /// End the attempt's container now.
    Stop {
        /// The attempt.
        attempt: AttemptRef,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_submission_is_read_by_programs_before_and_after_it() {
        let before = r#"{"v":1,"run":"00000000-0000-0000-0000-000000000007"}"#;
        let read: RunSubmitted = serde_json::from_str(before).unwrap();
        assert!(!read.queued, "whoever does not say so may be a child, which no round finds");
        assert_eq!(serde_json::to_string(&read).unwrap(), before);
        let now = serde_json::to_string(&RunSubmitted { queued: true, ..read.clone() }).unwrap();
        let order: RunOrder = serde_json::from_str(&now).unwrap();
        assert_eq!((order.run, order.cancel, order.hold), (read.run, false, None));
    }
}
