//! What the pool holds, per spec. Plain bookkeeping under one lock, never held while waiting.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::Lent;
use super::demand::Demand;
use super::sizing::{self, House};
use crate::sandbox::{Error, Slot, SlotSpec};

/// Delay after the first failed start; doubles with each further one.
const BACKOFF_MIN: Duration = Duration::from_millis(500);
/// Longest delay between failed starts: an image that appears is noticed within this time.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// For so long after one was taken, its task has the processors to itself: most components that do
/// not wait for anything have ended by then.
pub(super) const STIRRED: Duration = Duration::from_millis(50);

/// What a waiting task gets. Lent, so that a task that gave up in the last moment leaks nothing.
pub(super) type Arrival = Result<Lent, Arc<Error>>;

/// Everything.
#[derive(Debug)]
pub(super) struct Stock {
    pub(super) shelves: BTreeMap<SlotSpec, Shelf>,
    /// Containers of any kind: starting, waiting, lent, being removed.
    pub(super) containers: u32,
    /// How many wait at most where none has to.
    passing_max: u32,
}

/// One spec.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    /// How many containers wait at least, and at most.
    least: u32,
    most: u32,
    pub(super) demand: Demand,
    ready: VecDeque<Slot>,
    pub(super) warming: u32,
    waiting: VecDeque<oneshot::Sender<Arrival>>,
    taken: Option<Instant>,
    failures: u32,
    failure: Option<Arc<Error>>,
    paused_until: Option<Instant>,
}

impl Stock {
    pub(super) fn new(targets: &BTreeMap<SlotSpec, (u32, u32)>, passing_max: u32) -> Self {
        let shelf = |(least, most)| Shelf { least, most, ..Shelf::default() };
        let shelves = targets.iter().map(|(spec, size)| (spec.clone(), shelf(*size))).collect();
        Self { shelves, containers: 0, passing_max }
    }

    pub(super) fn shelf(&mut self, spec: &SlotSpec) -> &mut Shelf {
        let most = self.passing_max;
        let passing = || Shelf { most, ..Shelf::default() };
        self.shelves.entry(spec.clone()).or_insert_with(passing)
    }

    /// A container is gone.
    pub(super) fn leave(&mut self) {
        self.containers = self.containers.saturating_sub(1);
    }

    /// Takes out what waited too long, and what ended while it waited.
    pub(super) fn sweep(&mut self, now: Instant, idle_max: Duration) -> (Vec<Slot>, Vec<Slot>) {
        let (mut expired, mut died) = (Vec::new(), Vec::new());
        for shelf in self.shelves.values_mut() {
            let is_over = !shelf.is_kept() && shelf.target(now) == 0;
            for slot in std::mem::take(&mut shelf.ready) {
                if !slot.is_alive() {
                    died.push(slot);
                } else if is_over || now.saturating_duration_since(slot.since) > idle_max {
                    expired.push(slot);
                } else {
                    shelf.ready.push_back(slot);
                }
            }
            shelf.waiting.retain(|waiting| !waiting.is_closed());
        }
        // Specs that only one task asked for do not pile up.
        self.shelves.retain(|_, shelf| !shelf.is_idle(now));
        (expired, died)
    }

    /// What to start, and which waiting containers to give up for it.
    pub(super) fn decide(&mut self, now: Instant, house: House) -> (Vec<SlotSpec>, Vec<Slot>) {
        let counts: Vec<sizing::Shelf> =
            self.shelves.values().map(|shelf| shelf.counts(now)).collect();
        let (mut starts, mut evicted) = (Vec::new(), Vec::new());
        for (decision, (spec, shelf)) in
            sizing::plan(&counts, house).into_iter().zip(self.shelves.iter_mut())
        {
            for _ in 0..decision.start {
                shelf.warming += 1;
                self.containers += 1;
                starts.push(spec.clone());
            }
            for _ in 0..decision.evict {
                evicted.extend(shelf.ready.pop_front());
            }
        }
        (starts, evicted)
    }

    /// Whether something is missing that is put off for a moment.
    pub(super) fn is_patient(&self, now: Instant) -> bool {
        self.shelves.values().any(|shelf| shelf.counts(now).is_patient())
    }

    /// Takes out everything that waits, and turns waiting tasks away.
    pub(super) fn clear(&mut self) -> Vec<Slot> {
        let mut slots = Vec::new();
        for shelf in self.shelves.values_mut() {
            slots.extend(shelf.ready.drain(..));
            shelf.waiting.clear();
        }
        slots
    }
}

impl Shelf {
    /// The container that waited longest and still lives, and those found dead on the way.
    pub(super) fn pop(&mut self) -> (Option<Slot>, Vec<Slot>) {
        let mut dead = Vec::new();
        while let Some(slot) = self.ready.pop_front() {
            if slot.is_alive() {
                self.taken = Some(Instant::now());
                return (Some(slot), dead);
            }
            dead.push(slot);
        }
        (None, dead)
    }

    /// Waits for the next container.
    pub(super) fn queue(&mut self) -> oneshot::Receiver<Arrival> {
        let (sender, receiver) = oneshot::channel();
        self.waiting.push_back(sender);
        receiver
    }

    /// A container is ready: for whoever waits longest, or for the shelf.
    pub(super) fn arrive(&mut self, mut lent: Lent) {
        self.warming = self.warming.saturating_sub(1);
        (self.failures, self.failure, self.paused_until) = (0, None, None);
        while let Some(waiting) = self.waiting.pop_front() {
            match waiting.send(Ok(lent)) {
                Ok(()) => return,
                Err(Ok(back)) => lent = back,
                Err(Err(_)) => return,
            }
        }
        self.ready.extend(lent.give_back());
    }

    /// A start failed. Whoever waits is told, unless another start is under way or the engine is
    /// only away for the moment.
    pub(super) fn fail(&mut self, error: Error, now: Instant) {
        self.warming = self.warming.saturating_sub(1);
        let delay = BACKOFF_MIN.saturating_mul(1 << self.failures.min(16)).min(BACKOFF_MAX);
        self.failures = self.failures.saturating_add(1);
        self.paused_until = now.checked_add(delay);
        let is_away = matches!(error, Error::EngineUnreachable { .. });
        let error = Arc::new(error);
        if self.warming == 0 && !is_away {
            for waiting in self.waiting.drain(..) {
                // The task may have given up already.
                let _ = waiting.send(Err(error.clone()));
            }
        }
        self.failure = Some(error);
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.failure.as_ref().map(ToString::to_string)
    }

    pub(super) fn counts(&self, now: Instant) -> sizing::Shelf {
        sizing::Shelf {
            target: self.target(now),
            ready: count(self.ready.len()),
            warming: self.warming,
            waiting: count(self.waiting.iter().filter(|waiting| !waiting.is_closed()).count()),
            is_stirred: self.taken.is_some_and(|at| now.saturating_duration_since(at) < STIRRED),
            is_passing: !self.is_kept(),
            paused: self.paused_until.is_some_and(|until| now < until),
        }
    }

    fn target(&self, now: Instant) -> u32 {
        self.demand.target(now, self.least, self.most)
    }

    /// Whether containers are kept ready here, whatever arrives.
    pub(super) fn is_kept(&self) -> bool {
        self.least > 0
    }

    /// Whether the last start failed and nothing is left to take.
    pub(super) fn is_failing(&self) -> bool {
        self.failure.is_some() && self.ready.is_empty()
    }

    fn is_idle(&self, now: Instant) -> bool {
        let is_empty = self.ready.is_empty() && self.warming == 0 && self.waiting.is_empty();
        // After a failure nothing is worth remembering: the next task shall not wait for a backoff.
        let is_over = self.failure.is_some() || self.demand.is_forgotten(now);
        !self.is_kept() && is_empty && is_over
    }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
