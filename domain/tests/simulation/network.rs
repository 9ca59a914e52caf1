//! The network: loses, repeats, delays and reorders; and what becomes of what arrives.

use flowcell_domain::failure::{Failure, FailureKind};
use flowcell_domain::id::WorkerEpoch;
use flowcell_domain::run::{Command, Outcome, TaskState};
use rand::RngExt;

use crate::database::Refusal;
use crate::fault::Fault;
use crate::message::{Attempt, End, Message};
use crate::replan::replanned;
use crate::world::{WORKERS, World};

/// When a message that nobody acknowledged comes again.
const REDELIVERED_AFTER: i64 = 500;

impl World {
    pub(crate) fn send(&mut self, message: Message) {
        if self.is_cut_off(&message) || self.strikes(Fault::MessageLost, 0.12) {
            return;
        }
        let special = match message {
            Message::Assigned { .. } => self.strikes(Fault::ClaimReplyLost, 0.1),
            Message::Confirmed { .. } => self.strikes(Fault::ConfirmationLost, 0.2),
            _ => false,
        };
        if special {
            return;
        }
        let is_late =
            matches!(message, Message::Report { .. }) && self.strikes(Fault::ReportLate, 0.05);
        let copies = if self.strikes(Fault::MessageRepeated, 0.12) { 2 } else { 1 };
        for _ in 0..copies {
            let slowest = if self.rng.random_bool(0.1) { 4_000 } else { 50 };
            let late = if is_late { self.rng.random_range(8_000..40_000) } else { 0 };
            let delay = self.rng.random_range(1..slowest) + late;
            self.flying.push((self.now + delay, message.clone()));
        }
    }

    fn is_cut_off(&self, message: &Message) -> bool {
        let worker = message.worker().map(|worker| &self.workers[worker]);
        self.broker_down_until > self.now
            || worker.is_some_and(|worker| worker.cut_off_until > self.now)
    }

    pub(crate) fn deliver_until(&mut self, until: i64) {
        loop {
            self.flying.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
            match self.flying.last() {
                Some((at, _)) if *at <= until => {}
                _ => return,
            }
            let (at, message) = self.flying.pop().unwrap();
            self.now = self.now.max(at);
            if self.is_cut_off(&message) {
                continue;
            }
            if self.strikes(Fault::SchedulerDiesBeforeAck, 0.03) {
                self.again(message.clone());
            }
            self.deliver(message);
        }
    }

    fn again(&mut self, message: Message) {
        self.flying.push((self.now + REDELIVERED_AFTER, message));
    }

    fn deliver(&mut self, message: Message) {
        match message {
            Message::Offer { run, task } => self.offered(run, task),
            Message::Claim { run, task, worker, epoch } => self.claimed(run, task, worker, epoch),
            Message::Assigned { attempt, worker, epoch } => self.assigned(attempt, worker, epoch),
            Message::Report { attempt, epoch, worker, end } => {
                self.reported(attempt, epoch, worker, end);
            }
            Message::Confirmed { attempt, worker, epoch } => {
                if self.workers[worker].epoch == epoch {
                    self.workers[worker].work.remove(&attempt);
                }
            }
            Message::Answered { run, task } => self.answer(run, task),
            Message::Stop { attempt, epoch } => {
                for worker in self.workers.iter_mut().filter(|worker| worker.epoch == epoch) {
                    worker.work.remove(&attempt);
                }
            }
            Message::Pause { run } => {
                let _ = self.command(run, &Command::Pause);
            }
            Message::Cancel { run } => {
                if self.command(run, &Command::Cancel) == Err(Refusal::Unanswered) {
                    self.again(Message::Cancel { run });
                }
            }
        }
    }

    fn offered(&mut self, run: usize, task: u32) {
        let worker = self.rng.random_range(0..WORKERS);
        if self.workers[worker].is_free(self.now) {
            let epoch = self.workers[worker].epoch;
            self.send(Message::Claim { run, task, worker, epoch });
        } else {
            self.again(Message::Offer { run, task });
        }
    }

    fn claimed(&mut self, run: usize, task: u32, worker: usize, epoch: WorkerEpoch) {
        // As the scheduler does: an offer of an earlier attempt passes nobody who waits.
        let was_offered =
            self.database.runs[run].task(task).is_some_and(|task| task.dispatched.is_some());
        if self.program.knows_offers && !was_offered {
            return;
        }
        match self.command(run, &Command::Claim { task, worker: epoch }) {
            Ok(()) => {
                let found = self.database.runs[run].task(task).unwrap();
                if found.state == TaskState::Leased {
                    let attempt = (run, task, found.attempt);
                    self.send(Message::Assigned { attempt, worker, epoch });
                }
            }
            Err(Refusal::Unanswered) => self.again(Message::Offer { run, task }),
            Err(Refusal::Refused) => {}
        }
    }

    fn reported(&mut self, attempt: Attempt, worker: WorkerEpoch, sender: usize, end: End) {
        let (run, task, number) = attempt;
        let failed = |kind| Outcome::Failed(Failure::new(kind, "no"));
        let outcome = match end {
            End::Done if self.replans && self.rng.random_bool(0.1) => {
                replanned(&self.database.runs[run].tasks, task)
            }
            End::Done => Outcome::Done { skip: Vec::new() },
            End::Asks => Outcome::Paused,
            End::Failed => failed(FailureKind::Component { exception: "ValueError".into() }),
            End::OutOfMemory => failed(FailureKind::OutOfMemory { limit_bytes: 1 }),
            End::StartFailed => failed(FailureKind::StartFailed),
        };
        let finish = Command::Finish { task, attempt: number, worker, outcome };
        // Whatever the answer, the worker may forget the attempt.
        if self.command(run, &finish) != Err(Refusal::Unanswered) {
            self.send(Message::Confirmed { attempt, worker: sender, epoch: worker });
        }
    }
}
