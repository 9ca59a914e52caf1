//! What a worker does to an attempt: claims it, tells that it began, reports its end.

use std::sync::{Mutex, PoisonError};

use domain::failure::{Failure, FailureKind};
use domain::id::{RunId, WorkerEpoch};
use domain::run::{Command, Event, Outcome, Refused, TaskState, decide};
use proto::frame::CellResult;
use proto::message::{AttemptRef, Figures, ReportOutcome};
use serde_json::{Map, Value};
use store::{FrozenKey, RunRecord, now};

use crate::assignment::{self, Prepared};
use crate::engine::{Engine, Intention, Step};
use crate::error::Error;
use crate::replan::{Learned, Replan};
use crate::runtimes::{Gate, Lacking};
use crate::{branches, frozen, human, replan, runtimes};

/// A container has its task.
pub(crate) struct Began {
    pub(crate) attempt: AttemptRef,
    pub(crate) worker: WorkerEpoch,
    pub(crate) container: String,
}

impl Intention for Began {
    fn name(&self) -> &'static str {
        "began"
    }

    async fn step(&self, _: &Engine, _: &RunRecord) -> Result<Step, Error> {
        let AttemptRef { task, attempt, .. } = self.attempt;
        let command = Command::Began { task, attempt, worker: self.worker };
        Ok(Step::from(command).with_attempt(self.attempt, Some(self.container.clone()), None))
    }
}

/// A worker wants a task.
pub(crate) struct Claim {
    task: u32,
    worker: WorkerEpoch,
    /// The images of flows' own packages that the worker has.
    ready: Vec<String>,
    /// What the last step came to: the one that was committed, or refused.
    found: Mutex<Found>,
}

/// What a claim comes to.
#[derive(Default)]
pub(crate) enum Found {
    /// The run had to end instead, or nothing was to be claimed.
    #[default]
    Nothing,
    Prepared(Prepared),
    /// The worker has to get the image first.
    Lacking(Lacking),
}

impl Claim {
    pub(crate) fn of(task: u32, worker: WorkerEpoch, ready: Vec<String>) -> Self {
        Self { task, worker, ready, found: Mutex::default() }
    }

    /// What the last step came to.
    pub(crate) fn found(self) -> Found {
        self.found.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, found: Found) {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = found;
    }
}

impl Intention for Claim {
    fn name(&self) -> &'static str {
        "claim"
    }

    async fn step(&self, engine: &Engine, record: &RunRecord) -> Result<Step, Error> {
        self.keep(Found::Nothing);
        // The offer may be one of an earlier attempt that came twice. The task has to be admitted
        // anew: its tenant's slots may be taken by now.
        let task = record.run.task(self.task);
        if task.is_some_and(|task| task.state == TaskState::Ready && task.dispatched.is_none()) {
            return Err(Refused::NotReady.into());
        }
        let claim = Command::Claim { task: self.task, worker: self.worker };
        // Cheap refusals first: most repeated offers end here. A claim that comes too late ends
        // the run instead, and needs no preparation.
        let decision = decide(&record.run, &claim, now())?;
        let granted = |event: &Event| matches!(event, Event::TaskLeased { .. });
        if !decision.events.iter().any(granted) {
            return Ok(claim.into());
        }
        let prepared = match runtimes::gate(engine, record, &self.ready).await? {
            Gate::Open => assignment::prepare(engine, record, self.task).await?,
            Gate::Shut(failure) => Err(failure),
            Gate::Lacking(lacking) => {
                self.keep(Found::Lacking(lacking));
                return Err(Refused::NotReady.into());
            }
        };
        let command = match &prepared {
            Ok(_) => claim,
            Err(failure) => Command::Reject { task: self.task, failure: failure.clone() },
        };
        self.keep(Found::Prepared(prepared));
        Ok(command.into())
    }
}

/// The end of an attempt.
pub(crate) struct Report {
    attempt: AttemptRef,
    worker: WorkerEpoch,
    outcome: ReportOutcome,
    figures: Figures,
    /// Under what the result is kept, where its component is frozen.
    frozen: Mutex<Option<FrozenKey>>,
    /// What the result showed of the plan.
    learned: Mutex<Vec<Learned>>,
}

impl Report {
    pub(crate) fn of(
        attempt: AttemptRef,
        worker: WorkerEpoch,
        outcome: ReportOutcome,
        figures: Figures,
    ) -> Self {
        let (frozen, learned) = (Mutex::default(), Mutex::default());
        Self { attempt, worker, outcome, figures, frozen, learned }
    }

    /// The run.
    pub(crate) fn run(&self) -> RunId {
        self.attempt.run
    }

    /// The attempt.
    pub(crate) fn attempt(&self) -> AttemptRef {
        self.attempt
    }

    /// What the committed step learned.
    pub(crate) fn learned(&self) -> Vec<Learned> {
        std::mem::take(&mut *self.learned.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The result of a frozen component, after the step was committed.
    pub(crate) fn frozen(self) -> Option<(FrozenKey, CellResult)> {
        let key = self.frozen.into_inner().unwrap_or_else(PoisonError::into_inner)?;
        match self.outcome {
            ReportOutcome::Done { result } => Some((key, result)),
            ReportOutcome::Failed { .. } => None,
        }
    }
}

impl Intention for Report {
    fn name(&self) -> &'static str {
        "finish"
    }

    async fn step(&self, engine: &Engine, record: &RunRecord) -> Result<Step, Error> {
        let AttemptRef { task, attempt, .. } = self.attempt;
        let worker = self.worker;
        let finish = |outcome| Command::Finish { task, attempt, worker, outcome };
        let failed = |failure: Failure| Step::from(finish(Outcome::Failed(failure)));
        let step = match &self.outcome {
            ReportOutcome::Failed { failure } => failed(failure.clone()),
            ReportOutcome::Done { result } if result.paused.is_some() => {
                match human::asked(engine, record, self.attempt, result).await? {
                    Err(failure) => failed(failure),
                    Ok(asked) => Step { asked: Some(asked), ..Step::from(finish(Outcome::Paused)) },
                }
            }
            ReportOutcome::Done { result } => match digest(engine, record, task, result).await? {
                Digest::Failed(failure) => failed(failure),
                Digest::Replanned(replan) => {
                    let Replan { outcome, plan, learned, terms } = *replan;
                    *self.learned.lock().unwrap_or_else(PoisonError::into_inner) = learned;
                    Step { plan, terms, ..finish(outcome).into() }
                }
                Digest::Fit(Digested { skip, operations, context, frozen }) => {
                    *self.frozen.lock().unwrap_or_else(PoisonError::into_inner) = frozen;
                    let step = Step::from(finish(Outcome::Done { skip }));
                    Step { operations, context, ..step.with_result(task, result.clone()) }
                }
            },
        };
        let container = self.figures.container.clone();
        Ok(step.with_attempt(self.attempt, container, Some(self.figures.clone())))
    }
}

/// What becomes of a result.
enum Digest {
    Fit(Digested),
    /// Another cell needs a value that cannot leave this one.
    Replanned(Box<Replan>),
    Failed(Failure),
}

/// What a result means for the rest of the run.
struct Digested {
    skip: Vec<u32>,
    operations: Option<Value>,
    context: Option<Value>,
    frozen: Option<FrozenKey>,
}

async fn digest(
    engine: &Engine,
    record: &RunRecord,
    task: u32,
    result: &CellResult,
) -> Result<Digest, Error> {
    let version = engine.catalog.version(record.flow_version).await?;
    let plan = version.plan(record)?;
    let Some(cell) = plan.cell(task) else {
        return Ok(Digest::Failed(Failure::new(
            FailureKind::Internal,
            "the plan has no such cell",
        )));
    };
    if let Some(live) = replan::needed(&plan, task, result) {
        let (_, settings) = engine.store.tenant(record.tenant).admission_for(record.flow).await?;
        let replan = replan::around(&version.graph, &plan, record, task, &live, &settings)?;
        return Ok(Digest::Replanned(Box::new(replan)));
    }
    let mut decided = branches::read(record)?;
    let skip = match branches::follow(&mut decided, &version.graph, &plan, cell, &result.operations)
    {
        Ok(skip) => skip,
        Err(failure) => return Ok(Digest::Failed(failure)),
    };
    let operations =
        if result.operations.is_empty() { None } else { Some(serde_json::to_value(&decided)?) };
    let context = (!result.context.is_empty()).then(|| {
        let mut context = record.context.as_object().cloned().unwrap_or_else(Map::new);
        context.extend(result.context.clone());
        Value::Object(context)
    });
    let frozen = frozen::key_of(engine, record, &version, task).await?;
    Ok(Digest::Fit(Digested { skip, operations, context, frozen }))
}
