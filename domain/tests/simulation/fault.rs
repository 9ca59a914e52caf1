//! What goes wrong, by name.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A fault that the world can have; the number is its row in `docs/FAILURES.md`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Fault { $($(#[$doc])* $name,)* }

        impl Fault {
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

faults! {
    /// 1: the API dies before it commits a run; the client asks again with the same key.
    ApiDiesBeforeCommit,
    /// 1: the API dies after its commit: no answer, and no word to a scheduler.
    ApiDiesBeforeAnswer,
    /// 2: a scheduler dies with its decision.
    SchedulerDiesBeforeCommit,
    /// 2: a scheduler dies between its commit and the effects.
    SchedulerDiesAfterCommit,
    /// 2: a scheduler dies between the effects and the ack: what it was told comes again.
    SchedulerDiesBeforeAck,
    /// 3: two schedulers decide about the same state of a run.
    TwoSchedulersDecide,
    /// 4: a message comes twice.
    MessageRepeated,
    /// 5: a message is lost.
    MessageLost,
    /// 5: everything that was under way is lost.
    BrokerWiped,
    /// 6: a report comes after the lease.
    ReportLate,
    /// 7: the confirmation of a report is lost.
    ConfirmationLost,
    /// 8: a worker is gone with everything it had.
    WorkerKilled,
    /// 9: a worker stops for a minute and goes on as if nothing had happened.
    WorkerFrozen,
    /// 10: the answer to a claim is lost.
    ClaimReplyLost,
    /// 11: a worker reaches nobody for a while.
    WorkerCutOff,
    /// 12: nobody reaches anybody for a while.
    BrokerDown,
    /// 15: nothing can be committed for a while.
    DatabaseDown,
    /// 15: a failover loses the last commits.
    CommitsLost,
    /// 18: the component fails.
    ComponentFails,
    /// 18: the container runs out of memory.
    OutOfMemory,
    /// 18: the container could not be started.
    StartFailed,
    /// 18: the container says nothing more.
    ContainerHangs,
    /// 19: a task that ends every worker that takes it.
    PoisonTask,
    /// 20: a cancel.
    Cancelled,
    /// 20: a pause, for seconds or many minutes.
    Paused,
    /// 25: the clocks of workers are wrong by up to an hour.
    ClockSkewed,
}

/// Which faults a seed has, and how often each has struck.
pub(crate) struct Faults {
    enabled: Vec<Fault>,
    pub(crate) struck: BTreeMap<Fault, u64>,
}

impl Faults {
    pub(crate) fn none() -> Self {
        Self { enabled: Vec::new(), struck: BTreeMap::new() }
    }

    /// Every eighth seed has all, the others have half of them.
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed ^ 0xfa_u64);
        let share = if seed.is_multiple_of(8) { 1.0 } else { 0.5 };
        let all = Fault::ALL.iter().copied();
        let enabled = all.filter(|_| rng.random_bool(share)).collect();
        Self { enabled, struck: BTreeMap::new() }
    }

    /// Whether it strikes now, at its rate.
    pub(crate) fn strike(&mut self, rng: &mut StdRng, fault: Fault, rate: f64) -> bool {
        let strikes = rng.random_bool(rate) && self.enabled.contains(&fault);
        if strikes {
            *self.struck.entry(fault).or_default() += 1;
        }
        strikes
    }

    /// The faults are over.
    pub(crate) fn stop(&mut self) {
        self.enabled.clear();
    }
}
