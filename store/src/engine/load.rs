//! Loading a run to decide about it.

use domain::admission::LimitKey;
use domain::id::{FlowId, RunId, TenantId, UserId, VersionId, WorkerEpoch};
use domain::limits::CellLimits;
use domain::run::{Lease, Run, RunState, Task, TaskState};
use domain::runtime::Needs;
use domain::terms::TaskTerms;
use domain::time::Timestamp;
use proto::message::AttemptRef;
use sea_orm::sea_query::{Expr, Query};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder};
use serde_json::Value;
use uuid::Uuid;

use super::Engine;
use super::admission::limit_keys;
use crate::entity::{flow_version, run, task};
use crate::error::{Doing, Error};
use crate::json;

/// A run with all that its engine needs to know.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRecord {
    /// The state machine's part.
    pub run: Run,
    /// Counts the commits; the next one must name it.
    pub version: u64,
    /// Whose it is.
    pub tenant: TenantId,
    /// The flow.
    pub flow: FlowId,
    /// The flow's name when the run was accepted.
    pub flow_name: String,
    /// The version that runs.
    pub flow_version: VersionId,
    /// The id of each task's cell; `cells[i]` belongs to `run.tasks[i]`.
    pub cells: Vec<String>,
    /// Since when each task may be, or could be, taken: when its last attempt could begin.
    pub ready_since: Vec<Option<Timestamp>>,
    /// What was asked.
    pub request: Value,
    /// What each cell may use.
    pub limits: CellLimits,
    /// The chat session.
    pub session_id: String,
    /// The isolation policy's name.
    pub isolation: String,
    /// How many runs stand above it: 0, unless a component of another run started it.
    pub depth: u32,
    /// The pool that it was sent to, when not to the schedulers' own.
    pub pool: Option<String>,
    /// Higher goes first among its tenant's.
    pub priority: i32,
    /// It is not started before.
    pub not_before: Option<Timestamp>,
    /// The limits on open runs that it may count against.
    pub counted_by: Vec<LimitKey>,
    /// The attempt whose component started it, when one did.
    pub parent: Option<AttemptRef>,
    /// Who asked.
    pub user: Option<UserId>,
    /// When it was accepted.
    pub created: Timestamp,
    /// When it left the queue.
    pub started: Option<Timestamp>,
    /// The branch decisions so far, as the engine wrote them; null at first.
    pub operations: Value,
    /// The run's shared context, as the engine wrote it; null at first.
    pub context: Value,
    /// The plan that it follows instead of its version's, once it was planned anew.
    pub plan: Option<Value>,
}

impl Engine {
    /// The run, or `None` when there is none (any more).
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the rows make no run.
    pub async fn load(&self, run: RunId) -> Result<Option<RunRecord>, Error> {
        const DOING: &str = "loading a run";
        let db = self.store.read();
        loop {
            let found = run::Entity::find_by_id(run.uuid()).one(db).await.doing(DOING)?;
            let Some(row) = found else { return Ok(None) };
            // Run and tasks are two statements: the second one only answers for the version that
            // the first one saw.
            let unchanged = Query::select()
                .expr(Expr::val(1))
                .from(run::Entity)
                .and_where(run::Column::Id.eq(row.id))
                .and_where(run::Column::Version.eq(row.version))
                .take();
            let tasks = task::Entity::find()
                .filter(task::Column::Run.eq(row.id))
                .filter(Expr::exists(unchanged))
                .order_by_asc(task::Column::Position)
                .all(db)
                .await
                .doing(DOING)?;
            if !tasks.is_empty() {
                return record(row, tasks).map(Some);
            }
            let again = run::Entity::find_by_id(run.uuid()).one(db).await.doing(DOING)?;
            if again.is_some_and(|again| again.version == row.version) {
                return record(row, tasks).map(Some);
            }
        }
    }

    /// The graph and the plan of a version, and what it needs. Immutable: worth caching.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn version_data(&self, version: VersionId) -> Result<(Value, Value, Needs), Error> {
        let row = flow_version::Entity::find_by_id(version.uuid())
            .one(self.store.read())
            .await
            .doing("loading a flow version")?
            .ok_or(Error::NotFound { what: "flow version" })?;
        let needs = json::from_optional("needs of a flow version", row.needs.as_deref())?;
        let (data, plan) =
            (json::from_text("flow version", &row.data)?, json::from_text("plan", &row.plan)?);
        Ok((data, plan, needs.unwrap_or_default()))
    }
}

fn record(row: run::Model, tasks: Vec<task::Model>) -> Result<RunRecord, Error> {
    let cells = tasks.iter().map(|task| task.cell.clone()).collect();
    let ready_since = tasks.iter().map(|task| task.ready_since.map(Timestamp)).collect();
    let run = Run {
        id: RunId(row.id),
        state: RunState::named(&row.state).ok_or(Error::Corrupt { what: "state of a run" })?,
        deadline: Timestamp(row.deadline),
        suspended: row.suspended.map(Timestamp),
        retry: json::from_text("retry policy", &row.retry)?,
        tasks: tasks.iter().map(task_state).collect::<Result<_, _>>()?,
        failure: json::from_optional("failure of a run", row.failure.as_deref())?,
    };
    let in_order = (0u32..).zip(&run.tasks).all(|(index, task)| task.index == index);
    if !in_order {
        return Err(Error::Corrupt { what: "list of tasks" });
    }
    Ok(RunRecord {
        run,
        version: u64::try_from(row.version)
            .map_err(|_| Error::Corrupt { what: "version of a run" })?,
        tenant: TenantId(row.tenant),
        flow: FlowId(row.flow),
        flow_name: row.flow_name,
        flow_version: VersionId(row.flow_version),
        cells,
        ready_since,
        request: json::from_text("request of a run", &row.request)?,
        limits: json::from_text("limits of a run", &row.limits)?,
        session_id: row.session_id,
        isolation: row.isolation,
        depth: row.depth.map_or(Ok(0), number)?,
        pool: Some(row.pool).filter(|pool| !pool.is_empty()),
        priority: i32::try_from(row.priority)
            .map_err(|_| Error::Corrupt { what: "priority of a run" })?,
        not_before: row.not_before.map(Timestamp),
        counted_by: limit_keys(row.flow, row.api_key, row.concurrency_key),
        parent: parent(row.parent_run, row.parent_task, row.parent_attempt)?,
        user: row.submitted_by.map(UserId),
        created: Timestamp(row.created),
        started: row.started.map(Timestamp),
        operations: json::from_optional("operations of a run", row.operations.as_deref())?
            .unwrap_or_default(),
        context: json::from_optional("context of a run", row.context.as_deref())?
            .unwrap_or_default(),
        plan: json::from_optional("plan of a run", row.plan.as_deref())?,
    })
}

fn parent(
    run: Option<Uuid>,
    task: Option<i64>,
    attempt: Option<i64>,
) -> Result<Option<AttemptRef>, Error> {
    let (Some(run), Some(task), Some(attempt)) = (run, task, attempt) else { return Ok(None) };
    Ok(Some(AttemptRef { run: RunId(run), task: number(task)?, attempt: number(attempt)? }))
}

fn task_state(row: &task::Model) -> Result<Task, Error> {
    Ok(Task {
        index: number(row.position)?,
        depends_on: json::from_text("dependencies of a task", &row.depends_on)?,
        state: TaskState::named(&row.state).ok_or(Error::Corrupt { what: "state of a task" })?,
        attempt: number(row.attempt)?,
        pauses: number(row.pauses)?,
        dispatches: number(row.dispatches)?,
        dispatched: row.dispatched.map(Timestamp),
        not_before: row.not_before.map(Timestamp),
        lease: match (row.lease_worker, row.lease_since) {
            (Some(worker), Some(since)) => {
                Some(Lease { worker: WorkerEpoch(worker), since: Timestamp(since) })
            }
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                return Err(Error::Corrupt { what: "lease of a task" });
            }
        },
        failure: json::from_optional("failure of a task", row.failure.as_deref())?,
        terms: TaskTerms {
            retry: json::from_optional("retry policy of a task", row.retry.as_deref())?,
            pool: row.pool.clone(),
        },
    })
}

/// A small number from its column.
pub(crate) fn number(value: i64) -> Result<u32, Error> {
    u32::try_from(value).map_err(|_| Error::Corrupt { what: "number" })
}
