//! Accepting a run: row, tasks and message in one transaction.

use domain::id::{FlowId, KeyId, RunId, UserId, VersionId};
use domain::limits::CellLimits;
use domain::retry::RetryPolicy;
use domain::run::{RunState, TaskState};
use domain::terms::TaskTerms;
use domain::time::Timestamp;
use proto::message::{RunSubmitted, VERSION};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, Query};
use sea_orm::{
    ColumnTrait, DatabaseTransaction, EntityTrait, JoinType, QueryFilter, QuerySelect,
    TryInsertResult,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Tenant;
use super::child::{self, Parent};
use super::group;
use super::rerun::{self, Again};
use crate::engine::{OutboxMessage, outbox};
use crate::entity::{flow, flow_version, run, task, user};
use crate::error::{Doing, Error};
use crate::json::{fingerprint, storable, storable_optional, to_text};

pub(super) const DOING: &str = "accepting a run";

/// What a row repeats that was written before.
pub(super) const RUN_ID: &str = "run id";

/// The queue on which schedulers learn of new runs.
pub(crate) const RUNS_QUEUE: &str = "runs";

/// At most 512 rows per statement: of tasks with 19 columns each, and SQLite takes 32,766
/// parameters.
const ROWS_POWER_MAX: u32 = 9;

/// A run to accept.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRun {
    /// Its id, made by the caller.
    pub id: RunId,
    /// The flow.
    pub flow: FlowId,
    /// The version to run; must be one of the flow's.
    pub version: VersionId,
    /// One task for each cell of the plan, in the plan's order.
    pub tasks: Vec<NewTask>,
    /// What was asked, opaque to the store.
    pub request: Value,
    /// The chat session.
    pub session_id: String,
    /// When the run must have ended.
    pub deadline: Timestamp,
    /// How its tasks are retried.
    pub retry: RetryPolicy,
    /// What each of its cells may use.
    pub limits: CellLimits,
    /// The isolation policy's name.
    pub isolation: String,
    /// The same key with the same request is the same run.
    pub idempotency_key: Option<String>,
    /// What started it, when a component of another run did.
    pub parent: Option<Parent>,
    /// What it takes over from an ended run.
    pub again: Option<Again>,
    /// Whether nobody waits for its end: then it is a dead letter when it fails.
    pub detached: bool,
    /// How it takes its turn.
    pub turn: Turn,
    /// Who asked.
    pub submitted_by: Option<UserId>,
    /// Now.
    pub now: Timestamp,
}

/// How a run takes its turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// The pool whose workers run it; the schedulers' own when absent.
    pub pool: Option<String>,
    /// Higher goes first among its tenant's runs.
    pub priority: i32,
    /// It is not started before.
    pub not_before: Option<Timestamp>,
    /// The API key that it is counted by.
    pub api_key: Option<KeyId>,
    /// Most runs with the same key that are open at once.
    pub concurrency: Option<Concurrency>,
    /// So many runs wait, and no more may.
    pub full_at: Option<u32>,
    /// Most runs of the tenant that are accepted in a minute.
    pub per_minute: Option<u32>,
}

/// A limit that a caller sets for its own runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concurrency {
    /// What they are counted by.
    pub key: String,
    /// Most of them that are open at once.
    pub most: u32,
}

/// One cell of a new run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTask {
    /// The cell's id.
    pub cell: String,
    /// Indexes of the tasks whose results it needs.
    pub depends_on: Vec<u32>,
    /// On which terms it runs.
    pub terms: TaskTerms,
}

/// An accepted run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// Its id: the given one, or the first run's when the idempotency key was used before.
    pub run: RunId,
    /// Whether it was there before.
    pub existing: bool,
}

impl Tenant {
    /// Accepts a run: its row and its tasks, all or none, and of a child the message `run:<id>` on
    /// queue `runs`. Other runs wait for their turn, and rounds of admission find them by that.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a foreign flow, version or parent; [`Error::Conflict`] when the
    /// idempotency key was used for another request, or the parent has ended;
    /// [`Error::QueueFull`] and [`Error::TooFast`].
    pub async fn submit(&self, new: NewRun) -> Result<Submitted, Error> {
        storable("session id", &new.session_id)?;
        storable("isolation", &new.isolation)?;
        let concurrency = new.turn.concurrency.as_ref().map(|limit| limit.key.as_str());
        storable_optional("concurrency key", concurrency)?;
        storable_optional("idempotency key", new.idempotency_key.as_deref())?;
        for task in &new.tasks {
            storable("cell", &task.cell)?;
        }
        let fingerprint = fingerprint(&[&json!(new.flow), &asked(&new.request)]);
        // Most repetitions are answered here, without a transaction.
        if let Some(submitted) = self.repetition(self.store.read(), &new, &fingerprint).await? {
            return Ok(submitted);
        }
        if let Some(queued_max) = new.turn.full_at {
            return Err(Error::QueueFull { queued_max });
        }
        let request = to_text(&new.request);
        let accepting = Accepting { tenant: self.clone(), new, request, fingerprint };
        if group::takes(&accepting) {
            return group::submit(&self.store, accepting).await;
        }
        accepting.alone().await
    }

    /// The run that was accepted under the same idempotency key before, or for the same component.
    async fn repetition<C: sea_orm::ConnectionTrait>(
        &self,
        connection: &C,
        new: &NewRun,
        fingerprint: &[u8],
    ) -> Result<Option<Submitted>, Error> {
        if let Some(parent) = &new.parent {
            return self.child(connection, parent, &child::call(parent, fingerprint)).await;
        }
        let Some(key) = &new.idempotency_key else {
            return Ok(None);
        };
        let first: Option<(Uuid, Vec<u8>)> = run::Entity::find()
            .select_only()
            .column(run::Column::Id)
            .column(run::Column::Fingerprint)
            .filter(run::Column::Tenant.eq(self.id.uuid()))
            .filter(run::Column::IdempotencyKey.eq(key))
            .into_tuple()
            .one(connection)
            .await
            .doing(DOING)?;
        match first {
            None => Ok(None),
            Some((run, stored)) if stored == fingerprint => {
                Ok(Some(Submitted { run: RunId(run), existing: true }))
            }
            Some(_) => {
                Err(Error::Conflict { what: "the idempotency key was used for another request" })
            }
        }
    }

    /// The flow's name, once it is certain that flow, version and user are this tenant's.
    pub(super) async fn flow_name(
        &self,
        tx: &DatabaseTransaction,
        new: &NewRun,
    ) -> Result<String, Error> {
        let version = flow::Entity::belongs_to(flow_version::Entity)
            .from(flow::Column::Id)
            .to(flow_version::Column::Flow);
        let mut select = flow::Entity::find_by_id(new.flow.uuid())
            .select_only()
            .column(flow::Column::Name)
            .join(JoinType::InnerJoin, version.into())
            .filter(flow::Column::Tenant.eq(self.id.uuid()))
            .filter(flow_version::Column::Id.eq(new.version.uuid()));
        if let Some(by) = new.submitted_by {
            let user = Query::select()
                .expr(Expr::val(1))
                .from(user::Entity)
                .and_where(user::Column::Id.eq(by.uuid()))
                .and_where(user::Column::Tenant.eq(self.id.uuid()))
                .take();
            select = select.filter(Expr::exists(user));
        }
        let name: Option<String> = select.into_tuple().one(tx).await.doing(DOING)?;
        name.ok_or(Error::NotFound { what: "flow" })
    }
}

/// A run that nothing speaks against so far.
pub(super) struct Accepting {
    pub(super) tenant: Tenant,
    pub(super) new: NewRun,
    /// What was asked, as it is stored.
    pub(super) request: String,
    pub(super) fingerprint: Vec<u8>,
}

impl Accepting {
    /// Writes it in a transaction of its own, unless the same request was accepted meanwhile.
    pub(super) async fn alone(&self) -> Result<Submitted, Error> {
        let Self { tenant, new, fingerprint, .. } = self;
        let tx = tenant.store.begin(DOING).await?;
        if let Some(parent) = &new.parent {
            tenant.hold_parent(&tx, parent).await?;
            // Whoever asked for the same at the same moment has written it by now.
            if let Some(submitted) = tenant.repetition(&tx, new, fingerprint).await? {
                return Ok(submitted);
            }
        }
        let flow_name = tenant.flow_name(&tx, new).await?;
        if insert_runs(&tx, [self.row(flow_name)]).await? == 0 {
            return tenant
                .repetition(&tx, new, fingerprint)
                .await?
                .ok_or(Error::Corrupt { what: "idempotency key" });
        }
        insert_tasks(&tx, [new]).await?;
        if let Some(again) = &new.again {
            tenant.take_over(&tx, new, again).await?;
        }
        if let Some(per_minute) = new.turn.per_minute {
            tenant.keep_pace(&tx, per_minute, new.now).await?;
        }
        if new.parent.is_some() {
            let body = to_text(&RunSubmitted { v: VERSION, run: new.id, queued: false });
            let id = format!("run:{}", new.id);
            let message = OutboxMessage::new(RUNS_QUEUE, id, body.into_bytes(), new.now);
            outbox::insert(&tx, vec![message]).await?;
        }
        tx.commit().await.doing(DOING)?;
        Ok(Submitted { run: new.id, existing: false })
    }

    pub(super) fn row(&self, flow_name: String) -> run::ActiveModel {
        let Self { tenant, new, request, fingerprint } = self;
        let (parent, concurrency) = (new.parent.as_ref(), new.turn.concurrency.as_ref());
        let again = new.again.as_ref();
        run::ActiveModel {
            id: Set(new.id.uuid()),
            tenant: Set(tenant.id.uuid()),
            flow: Set(new.flow.uuid()),
            flow_name: Set(flow_name),
            flow_version: Set(new.version.uuid()),
            state: Set(RunState::Queued.name().to_owned()),
            version: Set(0),
            request: Set(request.clone()),
            fingerprint: Set(fingerprint.clone()),
            session_id: Set(new.session_id.clone()),
            deadline: Set(new.deadline.millis()),
            suspended: Set(None),
            retry: Set(to_text(&new.retry)),
            limits: Set(to_text(&new.limits)),
            isolation: Set(new.isolation.clone()),
            idempotency_key: Set(new.idempotency_key.clone()),
            submitted_by: Set(new.submitted_by.map(UserId::uuid)),
            created: Set(new.now.millis()),
            started: Set(None),
            ended: Set(None),
            failure: Set(None),
            operations: Set(again.and_then(|again| again.operations.as_ref()).map(to_text)),
            context: Set(again.and_then(|again| again.context.as_ref()).map(to_text)),
            plan: Set(again.and_then(|again| again.plan.as_ref()).map(to_text)),
            event_log: Set(None),
            parent_run: Set(parent.map(|parent| parent.run.uuid())),
            parent_task: Set(parent.map(|parent| parent.task.into())),
            parent_attempt: Set(parent.map(|parent| parent.attempt.into())),
            parent_call: Set(parent.map(|parent| child::call(parent, fingerprint))),
            depth: Set(parent.map(|parent| parent.depth.into())),
            pool: Set(new.turn.pool.clone().unwrap_or_default()),
            priority: Set(new.turn.priority.into()),
            not_before: Set(new.turn.not_before.map(Timestamp::millis)),
            api_key: Set(new.turn.api_key.map(KeyId::uuid)),
            concurrency_key: Set(concurrency.map(|limit| limit.key.clone())),
            concurrency_max: Set(concurrency.map(|limit| limit.most.into())),
            rerun_of: Set(again.map(|again| again.of.uuid())),
            detached: Set(new.detached),
            settled: Set(None),
        }
    }
}

/// Writes the rows of runs whose idempotency key nobody used before; gives how many.
pub(super) async fn insert_runs(
    tx: &DatabaseTransaction,
    rows: impl IntoIterator<Item = run::ActiveModel>,
) -> Result<u64, Error> {
    // On Postgres this waits for another transaction with the same key.
    let inserted = run::Entity::insert_many(rows)
        .on_conflict_do_nothing_on([run::Column::Tenant, run::Column::IdempotencyKey])
        .exec_without_returning(tx)
        .await
        .unique(RUN_ID, DOING)?;
    Ok(if let TryInsertResult::Inserted(rows) = inserted { rows } else { 0 })
}

/// Writes the tasks of these runs.
pub(super) async fn insert_tasks(
    tx: &DatabaseTransaction,
    runs: impl IntoIterator<Item = &NewRun>,
) -> Result<(), Error> {
    let tasks = |new: &NewRun| -> Vec<task::ActiveModel> {
        let tasks = (0i64..).zip(&new.tasks);
        let row = |(position, task)| task::ActiveModel {
            state: Set(rerun::state(new.again.as_ref(), position).name().to_owned()),
            ..waiting_row(new.id, position, task)
        };
        tasks.map(row).collect()
    };
    let mut rows: Vec<task::ActiveModel> = runs.into_iter().flat_map(tasks).collect();
    while !rows.is_empty() {
        let rest = rows.split_off(rows_in_one(rows.len()));
        task::Entity::insert_many(rows).exec_without_returning(tx).await.doing(DOING)?;
        rows = rest;
    }
    Ok(())
}

/// How many of so many rows one statement writes: a power of two, so that statements have few
/// forms and the database has them prepared.
pub(super) fn rows_in_one(rows: usize) -> usize {
    rows.checked_ilog2().map_or(0, |power| 1 << power.min(ROWS_POWER_MAX))
}

/// What was asked for. Which span asked is another one with every repetition, and so is how the
/// caller's values are sealed: only their names count.
fn asked(request: &Value) -> Value {
    let mut asked = request.clone();
    if let Some(asked) = asked.as_object_mut() {
        asked.shift_remove("traceparent");
        if let Some(variables) = asked.get_mut("variables").and_then(Value::as_object_mut) {
            variables.values_mut().for_each(|sealed| *sealed = Value::Null);
        }
    }
    asked
}

/// The row of a task that nothing has happened to.
pub(crate) fn waiting_row(run: RunId, position: i64, task: &NewTask) -> task::ActiveModel {
    task::ActiveModel {
        run: Set(run.uuid()),
        position: Set(position),
        cell: Set(task.cell.clone()),
        state: Set(TaskState::Waiting.name().to_owned()),
        depends_on: Set(to_text(&task.depends_on)),
        attempt: Set(0),
        pauses: Set(0),
        dispatches: Set(0),
        dispatched: Set(None),
        not_before: Set(None),
        lease_worker: Set(None),
        lease_since: Set(None),
        failure: Set(None),
        queue: Set(None),
        tenant: Set(None),
        priority: Set(0),
        ready_since: Set(None),
        pool: Set(task.terms.pool.clone()),
        retry: Set(task.terms.retry.as_ref().map(to_text)),
    }
}
