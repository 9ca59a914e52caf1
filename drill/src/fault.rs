//! What is done to the cluster, and in which order: a pure function of the seed.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde::Serialize;

use crate::build::Which;

/// A kind of process of Flowcell's own; the cluster has two of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Service {
    Api,
    Scheduler,
    Worker,
}

/// What Flowcell's processes depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Server {
    Postgres,
    Nats,
}

/// What is wrong with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Trouble {
    /// Connections are reset, new ones are refused.
    Cut,
    /// Nothing arrives any more, and nobody is told.
    Silent,
    /// Every piece arrives late.
    Slow,
}

/// What some kinds of fault cannot be made without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// A disk that can be filled.
    SmallDisk,
    /// A wall clock that can be set.
    OwnClock,
    /// A second build of Flowcell.
    OtherBuild,
    /// A container engine that can be killed.
    OwnEngine,
}

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fault {
    /// SIGKILL.
    Kill(Service),
    /// SIGTERM, and a new process once the old one has drained.
    Restart(Service),
    /// SIGSTOP and SIGCONT: a process that comes back without knowing that it was away.
    Freeze(Service),
    /// SIGTERM, and the other build in its place: an upgrade of one process, or its way back.
    Roll(Service, Which),
    /// Its wall clock jumps by an hour, then to an hour on the other side, then back.
    ClockJump(Service),
    /// A bad connection between one process and a server.
    Link(Service, Server, Trouble),
    /// SIGKILL; what was stored is there when it comes back.
    NatsKilled,
    /// SIGKILL; it comes back empty.
    NatsWiped,
    /// Immediate shutdown: a crash, from which it recovers.
    PostgresCrashed,
    /// All connections are closed at once, as a failover does.
    PostgresFailover,
    /// Not a byte more can be written.
    DiskFull(Server),
    /// SIGKILL of a container engine; containers that it left alive are ended by its next life.
    EngineKilled,
}

impl Fault {
    /// Every kind once.
    pub(crate) fn all() -> Vec<Self> {
        use {Server as To, Service as By};
        let mut all = vec![
            Self::NatsKilled,
            Self::NatsWiped,
            Self::PostgresCrashed,
            Self::PostgresFailover,
            Self::DiskFull(To::Postgres),
            Self::DiskFull(To::Nats),
            Self::EngineKilled,
        ];
        for service in [By::Api, By::Scheduler, By::Worker] {
            all.extend([Self::Kill(service), Self::Restart(service), Self::Freeze(service)]);
            all.extend([Self::Roll(service, Which::This), Self::Roll(service, Which::Other)]);
            all.push(Self::ClockJump(service));
            let servers: &[To] = match service {
                By::Worker => &[To::Nats],
                By::Api | By::Scheduler => &[To::Postgres, To::Nats],
            };
            for server in servers {
                for trouble in [Trouble::Cut, Trouble::Silent, Trouble::Slow] {
                    all.push(Self::Link(service, *server, trouble));
                }
            }
        }
        all
    }

    /// What it needs that is not everywhere.
    pub(crate) fn needs(self) -> Option<Need> {
        match self {
            Self::DiskFull(_) => Some(Need::SmallDisk),
            Self::ClockJump(_) => Some(Need::OwnClock),
            Self::Roll(..) => Some(Need::OtherBuild),
            Self::EngineKilled => Some(Need::OwnEngine),
            Self::Kill(_)
            | Self::Restart(_)
            | Self::Freeze(_)
            | Self::Link(..)
            | Self::NatsKilled
            | Self::NatsWiped
            | Self::PostgresCrashed
            | Self::PostgresFailover => None,
        }
    }

    /// How long it lasts, in milliseconds: least and most.
    fn lasts(self) -> (u64, u64) {
        match self {
            Self::Kill(_) | Self::Restart(_) | Self::Roll(..) => (0, 3_000),
            // Each half longer than it takes until somebody looks what is over.
            Self::ClockJump(_) => (8_000, 16_000),
            // From the eight seconds of a lease to twice as long.
            Self::Freeze(Service::Worker) => (8_000, 16_000),
            Self::Freeze(_) => (2_000, 12_000),
            Self::Link(_, _, Trouble::Cut) => (1_000, 12_000),
            Self::Link(_, _, Trouble::Silent) => (2_000, 14_000),
            Self::Link(_, _, Trouble::Slow) => (5_000, 12_000),
            Self::NatsKilled | Self::PostgresCrashed | Self::EngineKilled => (500, 6_000),
            Self::NatsWiped => (200, 3_000),
            Self::PostgresFailover => (100, 1_500),
            Self::DiskFull(_) => (4_000, 9_000),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(service) => write!(f, "{service}: kill -9"),
            Self::Restart(service) => write!(f, "{service}: restart by SIGTERM"),
            Self::Freeze(service) => write!(f, "{service}: frozen"),
            Self::Roll(service, build) => write!(f, "{service}: replaced by {build}"),
            Self::ClockJump(service) => write!(f, "{service}: clock an hour ahead, then behind"),
            Self::Link(service, server, trouble) => write!(f, "{service} to {server}: {trouble}"),
            Self::NatsKilled => f.write_str("NATS: kill -9"),
            Self::NatsWiped => f.write_str("NATS: store lost"),
            Self::PostgresCrashed => f.write_str("Postgres: immediate shutdown"),
            Self::PostgresFailover => f.write_str("Postgres: every connection closed"),
            Self::DiskFull(server) => write!(f, "{server}: disk full"),
            Self::EngineKilled => f.write_str("container engine: kill -9"),
        }
    }
}

/// The kinds of fault that need it.
impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SmallDisk => "Postgres, NATS: disk full",
            Self::OwnClock => "api, scheduler, worker: clock an hour ahead, then behind",
            Self::OtherBuild => "api, scheduler, worker: replaced by another build",
            Self::OwnEngine => "container engine: kill -9",
        })
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Api => "api",
            Self::Scheduler => "scheduler",
            Self::Worker => "worker",
        })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Postgres => "Postgres",
            Self::Nats => "NATS",
        })
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cut => "connection cut",
            Self::Silent => "silence",
            Self::Slow => "slow",
        })
    }
}

/// A fault that will be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) fault: Fault,
    /// Which of the two processes, from 1.
    pub(crate) instance: u8,
    pub(crate) lasts: Duration,
    /// From this one's start to the earliest start of the next.
    pub(crate) gap: Duration,
}

impl Planned {
    /// What it acts on. Two faults on one thing at once would undo each other.
    pub(crate) fn target(&self) -> String {
        match self.fault {
            Fault::DiskFull(server) => server.to_string(),
            Fault::NatsKilled | Fault::NatsWiped => Server::Nats.to_string(),
            Fault::PostgresCrashed | Fault::PostgresFailover => Server::Postgres.to_string(),
            Fault::EngineKilled => "engine".to_owned(),
            Fault::Kill(service)
            | Fault::Restart(service)
            | Fault::Roll(service, _)
            | Fault::ClockJump(service)
            | Fault::Freeze(service)
            | Fault::Link(service, ..) => format!("{service}-{}", self.instance),
        }
    }
}

/// Endless: every kind once in an order of its own, then every kind again in another.
#[derive(Debug)]
pub(crate) struct Plan {
    random: StdRng,
    kinds: Vec<Fault>,
    round: Vec<Fault>,
    /// Processes that run the other build.
    others: BTreeSet<(Service, u8)>,
}

impl Plan {
    pub(crate) fn new(seed: u64, kinds: Vec<Fault>) -> Self {
        let others =
            [Service::Api, Service::Scheduler, Service::Worker].map(|service| (service, 2)).into();
        Self { random: StdRng::seed_from_u64(seed), kinds, round: Vec::new(), others }
    }

    /// Whom a fault acts on: any of the two, but only one that runs the one build can be replaced by
    /// the other.
    fn instance(&mut self, fault: Fault) -> u8 {
        let instance = self.random.random_range(1..=2);
        let Fault::Roll(service, to) = fault else { return instance };
        let runs_it = |instance| self.others.contains(&(service, instance)) == (to == Which::Other);
        // In a round there is one roll each way, so one of the two does not run it.
        let instance = if runs_it(instance) { 3 - instance } else { instance };
        match to {
            Which::Other => self.others.insert((service, instance)),
            Which::This => self.others.remove(&(service, instance)),
        };
        instance
    }
}

impl Iterator for Plan {
    type Item = Planned;

    fn next(&mut self) -> Option<Planned> {
        if self.round.is_empty() {
            self.round.clone_from(&self.kinds);
            self.round.shuffle(&mut self.random);
        }
        let fault = self.round.pop()?;
        let (least, most) = fault.lasts();
        Some(Planned {
            fault,
            instance: self.instance(fault),
            lasts: Duration::from_millis(self.random.random_range(least..=most)),
            gap: Duration::from_millis(self.random.random_range(2_000..=6_000)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_one_plan() {
        let plan = |seed| Plan::new(seed, Fault::all()).take(100).collect::<Vec<_>>();
        assert_eq!(plan(7), plan(7));
        assert_ne!(plan(7), plan(8));
    }

    #[test]
    fn forty_faults_are_of_forty_kinds() {
        assert_eq!(Fault::all().len(), 40);
        let kinds: BTreeSet<Fault> =
            Plan::new(1, Fault::all()).take(40).map(|planned| planned.fault).collect();
        assert_eq!(kinds.len(), 40);
    }

    #[test]
    fn a_process_is_replaced_by_the_build_that_it_does_not_run() {
        for seed in 0..20 {
            let mut others: BTreeSet<String> =
                ["api-2", "scheduler-2", "worker-2"].map(str::to_owned).into();
            for planned in Plan::new(seed, Fault::all()).take(200) {
                let changed = match planned.fault {
                    Fault::Roll(_, Which::Other) => others.insert(planned.target()),
                    Fault::Roll(_, Which::This) => others.remove(&planned.target()),
                    _ => true,
                };
                assert!(changed, "{} of {}", planned.fault, planned.target());
            }
        }
    }

    #[test]
    fn without_kinds_there_is_no_fault() {
        assert_eq!(Plan::new(1, Vec::new()).next(), None);
    }
}
