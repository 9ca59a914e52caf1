//! Accepting a run: row, tasks and message in one transaction.

use domain::id::{FlowId, KeyId, RunId, UserId, VersionId};
use domain::limits::CellLimits;
use domain::retry::RetryPolicy;
use domain::run::{RunState, TaskState};
use domain::time::Timestamp;
use proto::message::{RunSubmitted, VERSION};
use sea_orm::ActiveValue::Set;
use sea_orm::{
    ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter, QuerySelect, TryInsertResult,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Tenant;
use super::child::{self, Parent};
use crate::engine::{OutboxMessage, outbox};
use crate::entity::{flow, flow_version, run, task, user};
use crate::error::{Doing, Error};
use crate::json::{fingerprint, storable, storable_optional, to_text};

const DOING: &str = "accepting a run";

/// The queue on which schedulers learn of new runs.
pub(crate) const RUNS_QUEUE: &str = "runs";

/// Task rows per statement: 12 columns each, and SQLite takes 32,766 parameters.
const ROWS_MAX: usize = 1_000;

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
    /// Accepts a run: its row, its tasks and the message `run:<id>` on queue `runs`, all or none.
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
        let tx = self.store.begin(DOING).await?;
        if let Some(parent) = &new.parent {
            self.hold_parent(&tx, parent).await?;
            // Whoever asked for the same at the same moment has written it by now.
            if let Some(submitted) = self.repetition(&tx, &new, &fingerprint).await? {
                return Ok(submitted);
            }
        }
        let flow_name = self.flow_name(&tx, &new).await?;
        let id = new.id;
        let row = self.run_row(&new, flow_name, &fingerprint);
        // On Postgres this waits for another transaction with the same key.
        let inserted = run::Entity::insert(row)
            .on_conflict_do_nothing_on([run::Column::Tenant, run::Column::IdempotencyKey])
            .exec_without_returning(&tx)
            .await
            .unique("run id", DOING)?;
        if !matches!(inserted, TryInsertResult::Inserted(rows) if rows > 0) {
            return self
                .repetition(&tx, &new, &fingerprint)
                .await?
                .ok_or(Error::Corrupt { what: "idempotency key" });
        }
        insert_tasks(&tx, &new).await?;
        if let Some(per_minute) = new.turn.per_minute {
            self.keep_pace(&tx, per_minute, new.now).await?;
        }
        let body = to_text(&RunSubmitted { v: VERSION, run: id }).into_bytes();
        let message = OutboxMessage::new(RUNS_QUEUE, format!("run:{id}"), body, new.now);
        outbox::insert(&tx, vec![message]).await?;
        tx.commit().await.doing(DOING)?;
        Ok(Submitted { run: id, existing: false })
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
    async fn flow_name(&self, tx: &DatabaseTransaction, new: &NewRun) -> Result<String, Error> {
        let name: Option<String> = flow::Entity::find_by_id(new.flow.uuid())
            .select_only()
            .column(flow::Column::Name)
            .filter(flow::Column::Tenant.eq(self.id.uuid()))
            .into_tuple()
            .one(tx)
            .await
            .doing(DOING)?;
        let name = name.ok_or(Error::NotFound { what: "flow" })?;
        let version: Option<Uuid> = flow_version::Entity::find_by_id(new.version.uuid())
            .select_only()
            .column(flow_version::Column::Id)
            .filter(flow_version::Column::Flow.eq(new.flow.uuid()))
            .into_tuple()
            .one(tx)
            .await
            .doing(DOING)?;
        version.ok_or(Error::NotFound { what: "flow version" })?;
        if let Some(by) = new.submitted_by {
            let known: Option<Uuid> = user::Entity::find_by_id(by.uuid())
                .select_only()
                .column(user::Column::Id)
                .filter(user::Column::Tenant.eq(self.id.uuid()))
                .into_tuple()
                .one(tx)
                .await
                .doing(DOING)?;
            known.ok_or(Error::NotFound { what: "user" })?;
        }
        Ok(name)
    }

    fn run_row(&self, new: &NewRun, flow_name: String, fingerprint: &[u8]) -> run::ActiveModel {
        let (parent, concurrency) = (new.parent.as_ref(), new.turn.concurrency.as_ref());
        run::ActiveModel {
            id: Set(new.id.uuid()),
            tenant: Set(self.id.uuid()),
            flow: Set(new.flow.uuid()),
            flow_name: Set(flow_name),
            flow_version: Set(new.version.uuid()),
            state: Set(RunState::Queued.name().to_owned()),
            version: Set(0),
            request: Set(to_text(&new.request)),
            fingerprint: Set(fingerprint.to_vec()),
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
            operations: Set(None),
            context: Set(None),
            plan: Set(None),
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
        }
    }
}

async fn insert_tasks(tx: &DatabaseTransaction, new: &NewRun) -> Result<(), Error> {
    let tasks: Vec<_> = (0i64..).zip(&new.tasks).collect();
    for tasks in tasks.chunks(ROWS_MAX) {
        let rows = tasks
            .iter()
            .map(|(position, task)| waiting_row(new.id, *position, &task.cell, &task.depends_on));
        task::Entity::insert_many(rows).exec_without_returning(tx).await.doing(DOING)?;
    }
    Ok(())
}

/// What was asked for. Which span asked is another one with every repetition.
fn asked(request: &Value) -> Value {
    let mut asked = request.clone();
    if let Some(asked) = asked.as_object_mut() {
        asked.shift_remove("traceparent");
    }
    asked
}

/// The row of a task that nothing has happened to.
pub(crate) fn waiting_row(
    run: RunId,
    position: i64,
    cell: &str,
    depends_on: &[u32],
) -> task::ActiveModel {
    task::ActiveModel {
        run: Set(run.uuid()),
        position: Set(position),
        cell: Set(cell.to_owned()),
        state: Set(TaskState::Waiting.name().to_owned()),
        depends_on: Set(to_text(&depends_on)),
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
    }
}
