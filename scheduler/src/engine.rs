//! The engine: load, decide, commit, publish. Every change of every run goes through here.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bus::Bus;
use domain::id::RunId;
use domain::limits::{FLOW_DEPTH_MAX, FileLimits};
use domain::run::{Command, Decision, Effect, Event, Refused, Run, RunState, Task, decide};
use domain::runtime::Runtimes;
use domain::selection::to_run;
use domain::terms::TaskTerms;
use domain::time::Timestamp;
use proto::frame::CellResult;
use proto::message::{AttemptRef, Figures};
use proto::run::RunRequest;
use rand::RngExt;
use serde_json::Value;
use service::trace::Tracer;
use store::{Asked, AttemptFigures, OutboxMessage, RunRecord, Store, TaskResult, Transition, now};

use tokio::sync::Semaphore;

use crate::admission::{Admission, Grant};
use crate::catalog::Catalog;
use crate::error::Error;
use crate::metrics::{self, Changed, Metrics};
use crate::task_queue::TaskQueue;
use crate::{Config, branches, children, events, flow, outgoing, spans};

/// Of the requests that are handled at once, one in so many may be a question that is kept.
const WAITS_SHARE: usize = 4;

/// How often a transition is decided again because somebody else was faster. Contention is short:
/// the parts of one run finish at about the same time, a handful at most.
const CONFLICTS_MAX: u32 = 32;

/// What every part of the scheduler works with.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) store: Store,
    pub(crate) bus: Bus,
    pub(crate) catalog: Catalog,
    pub(crate) admission: Admission,
    pub(crate) pool: String,
    pub(crate) runtimes: Runtimes,
    pub(crate) files: FileLimits,
    pub(crate) flow_depth_max: u32,
    /// Questions for the end of a child that may be kept at once.
    pub(crate) waits: Semaphore,
    pub(crate) metrics: Metrics,
    pub(crate) tracer: Tracer,
}

/// A command with what is written along with it.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) command: Command,
    pub(crate) result: Option<TaskResult>,
    pub(crate) attempt: Option<AttemptFigures>,
    pub(crate) operations: Option<Value>,
    pub(crate) context: Option<Value>,
    pub(crate) plan: Option<Value>,
    pub(crate) asked: Option<Asked>,
    /// On which terms new tasks run.
    pub(crate) terms: BTreeMap<u32, TaskTerms>,
}

/// What somebody wants of a run: looks at the run and says what to do. It is asked again whenever
/// somebody else changed the run first, so it must not do anything itself.
pub(crate) trait Intention: Sync {
    /// The command that it usually comes to, for the metrics.
    fn name(&self) -> &'static str;

    /// The step for the run as it is now.
    fn step(
        &self,
        engine: &Engine,
        record: &RunRecord,
    ) -> impl Future<Output = Result<Step, Error>> + Send;
}

/// A command that does not depend on the run.
impl Intention for Command {
    fn name(&self) -> &'static str {
        metrics::command(self)
    }

    async fn step(&self, _: &Engine, _: &RunRecord) -> Result<Step, Error> {
        Ok(self.clone().into())
    }
}

/// Takes a run out of the queue, without the cells that what was asked for does not need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// It was accepted just now: it is started if nobody waits and nothing limits it.
    Asked,
    /// A round admitted it.
    Admitted,
}

impl Intention for Start {
    fn name(&self) -> &'static str {
        "start"
    }

    async fn step(&self, engine: &Engine, record: &RunRecord) -> Result<Step, Error> {
        let is_queued = record.run.state == RunState::Queued;
        let queue = engine.queue_of(record);
        if *self == Self::Asked && is_queued && !engine.admission.may_start(record, &queue) {
            engine.admission.somebody_waits();
            return Err(Refused::NotReady.into());
        }
        let version = engine.catalog.version(record.flow_version).await?;
        let request: RunRequest = serde_json::from_value(record.request.clone())?;
        let scope = flow::scope(&request);
        let plan = version.plan(record)?;
        let needed = plan.cells_for(&to_run(&version.graph, scope));
        let tasks = record.run.tasks.iter().map(|task| task.index);
        let mut skip: Vec<u32> = tasks.filter(|task| !needed.contains(task)).collect();
        // What was taken over from an earlier run, or was done before a pause, has decided.
        skip.extend(branches::read(record)?.skipped_cells(&plan));
        Ok(Command::Start { skip }.into())
    }
}

impl From<Command> for Step {
    fn from(command: Command) -> Self {
        Self {
            command,
            result: None,
            attempt: None,
            operations: None,
            context: None,
            plan: None,
            asked: None,
            terms: BTreeMap::new(),
        }
    }
}

impl Step {
    /// The run after what was decided.
    fn after(&self, run: &Run, decision: &Decision) -> Run {
        let mut after = run.clone();
        decision.events.iter().for_each(|event| after.apply(event));
        for task in &mut after.tasks {
            if let Some(terms) = self.terms.get(&task.index) {
                task.terms.clone_from(terms);
            }
        }
        after
    }

    /// Along with what became known of an attempt.
    pub(crate) fn with_attempt(
        mut self,
        attempt: AttemptRef,
        container: Option<String>,
        figures: Option<Figures>,
    ) -> Self {
        let AttemptRef { task, attempt, .. } = attempt;
        self.attempt = Some(AttemptFigures { task, attempt, container, figures });
        self
    }

    /// Along with the task's result.
    pub(crate) fn with_result(mut self, task: u32, result: CellResult) -> Self {
        self.result = Some(TaskResult { task, result });
        self
    }
}

impl Engine {
    pub(crate) fn new(store: Store, bus: Bus, config: &Config) -> Self {
        Self {
            catalog: Catalog::new(store.clone(), config.runtimes.clone()),
            admission: Admission::default(),
            store,
            bus,
            pool: config.pool.clone(),
            runtimes: config.runtimes.clone(),
            files: config.files,
            flow_depth_max: config.flow_depth_max.min(FLOW_DEPTH_MAX),
            waits: Semaphore::new(config.requests_max / WAITS_SHARE),
            metrics: Metrics::default(),
            tracer: config.tracer.clone(),
        }
    }

    /// The run as it is stored now.
    pub(crate) async fn load(&self, run: RunId) -> Result<RunRecord, Error> {
        self.store.engine().load(run).await?.ok_or(Error::NoRun(run))
    }

    /// Changes a run, and offers what becomes ready as far as there is headroom. Returns the run
    /// afterwards.
    ///
    /// # Errors
    /// [`Error::Refused`] when the intention changes nothing.
    pub(crate) async fn transition(
        &self,
        run: RunId,
        intention: &impl Intention,
    ) -> Result<Run, Error> {
        self.transition_with(run, intention, Grant::Headroom).await
    }

    /// The same with another word on how much is offered.
    ///
    /// # Errors
    /// As [`Engine::transition`].
    pub(crate) async fn transition_with(
        &self,
        run: RunId,
        intention: &impl Intention,
        grant: Grant,
    ) -> Result<Run, Error> {
        let began = Instant::now();
        let changed = self.change(run, intention, grant).await;
        let outcome = changed.as_ref().map(|(_, outcome)| *outcome);
        self.metrics.transition(intention.name(), outcome, began.elapsed());
        changed.map(|(after, _)| after)
    }

    async fn change(
        &self,
        run: RunId,
        intention: &impl Intention,
        grant: Grant,
    ) -> Result<(Run, Changed), Error> {
        for conflict in 0..CONFLICTS_MAX {
            let record = self.load(run).await?;
            let step = intention.step(self, &record).await?;
            let mut decision = decide(&record.run, &step.command, now())?;
            if decision.events.is_empty() {
                return Ok((record.run, Changed::Unchanged));
            }
            let frees = decision.events.iter().any(frees_a_slot);
            self.offer(&record, &step, &mut decision, grant)?;
            let transition = self.write(&record, step, decision)?;
            let (after, outbox) = (transition.after.clone(), transition.outbox.clone());
            let (events, at) = (transition.events.clone(), transition.now);
            match self.store.engine().commit(transition).await {
                Ok(()) => {
                    self.metrics.committed(&events);
                    spans::emit(&self.tracer, &record, &events, at);
                    self.publish(&outbox).await;
                    if frees {
                        self.admission.slot_is_free();
                    }
                    if after.state.is_terminal() {
                        children::end(self, &after).await;
                    }
                    return Ok((after, Changed::Committed));
                }
                Err(store::Error::VersionConflict) => {
                    self.metrics.conflict(intention.name());
                    pause(conflict).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Contended(run))
    }

    /// The queue of a run's tasks.
    pub(crate) fn queue_of(&self, record: &RunRecord) -> TaskQueue {
        let pool = record.pool.as_ref().unwrap_or(&self.pool).clone();
        TaskQueue { pool, depth: record.depth }
    }

    /// The queue of one of them: a node's pool goes before the run's.
    pub(crate) fn queue_of_task(&self, record: &RunRecord, task: &Task) -> TaskQueue {
        match &task.terms.pool {
            Some(pool) => TaskQueue { pool: pool.clone(), depth: record.depth },
            None => self.queue_of(record),
        }
    }

    /// The pool of this stored name: none is the schedulers' own.
    pub(crate) fn pool_named<'a>(&'a self, stored: &'a str) -> &'a str {
        if stored.is_empty() { &self.pool } else { stored }
    }

    /// How a pool is stored with runs.
    pub(crate) fn pool_stored<'a>(&self, pool: &'a str) -> &'a str {
        if pool == self.pool { "" } else { pool }
    }

    /// Offers tasks that the decision makes ready, as far as they may be now.
    fn offer(
        &self,
        record: &RunRecord,
        step: &Step,
        decision: &mut Decision,
        grant: Grant,
    ) -> Result<(), Error> {
        let now = now();
        let after = step.after(&record.run, decision);
        let fresh = |task: &&Task| task.dispatched.is_none() && task.is_offerable(now);
        let mut queues: BTreeMap<TaskQueue, Vec<u32>> = BTreeMap::new();
        for task in after.tasks.iter().filter(fresh) {
            queues.entry(self.queue_of_task(record, task)).or_default().push(task.index);
        }
        if after.state.is_terminal() || queues.is_empty() {
            return Ok(());
        }
        let own = self.queue_of(record);
        let mut tasks = Vec::new();
        for (queue, mut waiting) in queues {
            // What a round grants is of the run's own queue.
            let granted = match grant {
                Grant::Tasks(granted) if queue == own => granted,
                Grant::Tasks(_) | Grant::Headroom => {
                    self.admission.take(record, &queue, waiting.len())
                }
            };
            if granted < waiting.len() {
                self.admission.want_round();
                waiting.truncate(granted);
            }
            tasks.append(&mut waiting);
        }
        if !tasks.is_empty() {
            let offered = decide(&after, &Command::Offer { tasks }, now)?;
            decision.events.extend(offered.events);
            decision.effects.extend(offered.effects);
        }
        Ok(())
    }

    /// The transaction that a decision makes.
    fn write(
        &self,
        record: &RunRecord,
        step: Step,
        decision: Decision,
    ) -> Result<Transition, Error> {
        let now = now();
        let after = step.after(&record.run, &decision);
        let container = step.attempt.as_ref().and_then(|attempt| attempt.container.as_deref());
        let figures = step.attempt.as_ref().and_then(|attempt| attempt.figures.as_ref());
        let known = events::Known { container, figures, asked: step.asked.as_ref() };
        let told = events::describe(record, &decision.events, &known, now);
        let mut outbox = Vec::new();
        if !told.is_empty() {
            outbox.push(outgoing::events(after.id, record.version + 1, &told, now)?);
        }
        for effect in &decision.effects {
            outbox.push(self.effect(record, &after, effect, now)?);
        }
        let elsewhere = |task: &&Task| task.terms.pool.is_some();
        let queues = after.tasks.iter().filter(elsewhere);
        let queues =
            queues.map(|task| (task.index, self.queue_of_task(record, task).to_string())).collect();
        let mut transition = Transition::new(record.version, after, decision.events, now);
        transition.results.extend(step.result);
        transition.figures.extend(step.attempt);
        transition.operations = step.operations;
        transition.context = step.context;
        transition.plan = step.plan;
        transition.queue = self.queue_of(record).to_string();
        transition.queues = queues;
        transition.priority = record.priority;
        transition.asked = step.asked;
        transition.outbox = outbox;
        Ok(transition)
    }

    fn effect(
        &self,
        record: &RunRecord,
        after: &Run,
        effect: &Effect,
        now: Timestamp,
    ) -> Result<OutboxMessage, Error> {
        let run = record.run.id;
        match effect {
            Effect::Dispatch { task, dispatch } => {
                let own = || self.queue_of(record);
                let queue = after.task(*task).map_or_else(own, |t| self.queue_of_task(record, t));
                outgoing::offer(&queue, run, *task, *dispatch, now)
            }
            Effect::Stop { task, attempt, worker } => {
                let attempt = AttemptRef { run, task: *task, attempt: *attempt };
                outgoing::stop(*worker, attempt, now)
            }
        }
    }

    /// Publishes what was committed. What cannot be published now stays in the outbox, where the
    /// sweep finds it; the rest goes out, so that a full event log holds up no task.
    pub(crate) async fn publish(&self, outbox: &[OutboxMessage]) {
        let mut published = Vec::with_capacity(outbox.len());
        for message in outbox {
            match outgoing::publish(&self.bus, message).await {
                Ok(()) => published.push(message.id),
                Err(error) => {
                    tracing::warn!(queue = %message.queue, error = %error, "publishing is delayed");
                }
            }
        }
        if !published.is_empty()
            && let Err(error) = self.store.engine().mark_published(&published, now()).await
        {
            // Published twice is published once: every message has a fixed id.
            tracing::warn!(error = %error, "messages stay in the outbox although published");
        }
    }
}

/// Whether somebody else may have the slot.
fn frees_a_slot(event: &Event) -> bool {
    matches!(
        event,
        Event::TaskDone { .. }
            | Event::TaskPaused { .. }
            | Event::AttemptFailed { .. }
            | Event::TaskCancelled { .. }
            | Event::TaskSkipped { .. }
    )
}

/// Waits a little, longer with each conflict, by a random amount so that rivals do not march in
/// step.
async fn pause(conflict: u32) {
    let millis_max = 2u64 << conflict.min(6);
    let millis = rand::rng().random_range(0..=millis_max);
    tokio::time::sleep(Duration::from_millis(millis)).await;
}
