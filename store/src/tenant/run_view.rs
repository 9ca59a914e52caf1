//! Runs as their tenant sees them.

use std::collections::BTreeMap;

use domain::failure::Failure;
use domain::id::{FlowId, RunId, UserId, VersionId, WorkerEpoch};
use domain::run::{RunState, TaskState};
use domain::time::Timestamp;
use proto::message::Figures;
use sea_orm::sea_query::{Asterisk, Expr, ExprTrait, Query};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DatabaseConnection, DerivePartialModel, EntityTrait,
    QueryFilter, QueryOrder, QuerySelect, QueryTrait,
};
use serde_json::Value;
use uuid::Uuid;

use super::Tenant;
use super::rerun::IS_DEAD_LETTER;
use crate::engine::load::number;
use crate::entity::{attempt, run, task};
use crate::error::{Doing, Error};
use crate::json::{from_optional, from_text};
use crate::page::Page;

/// What a list shows of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunHeader {
    /// Its id.
    pub id: RunId,
    /// The flow.
    pub flow: FlowId,
    /// The version that runs.
    pub version: VersionId,
    /// Where it stands.
    pub state: RunState,
    /// The chat session.
    pub session_id: String,
    /// The isolation policy's name.
    pub isolation: String,
    /// The run that started it, and that run's task, when a component did.
    pub parent: Option<(RunId, u32)>,
    /// The ended run that it took over from.
    pub rerun_of: Option<RunId>,
    /// Whether it failed while nobody waited for it, and was neither run again nor dismissed.
    pub dead_letter: bool,
    /// Who asked.
    pub submitted_by: Option<UserId>,
    /// When it was accepted.
    pub created: Timestamp,
    /// When it left the queue.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// When it must have ended.
    pub deadline: Timestamp,
    /// Why it failed.
    pub failure: Option<Failure>,
}

/// A run with its tasks.
#[derive(Clone, Debug, PartialEq)]
pub struct RunView {
    /// What a list shows.
    pub header: RunHeader,
    /// What was asked.
    pub request: Value,
    /// The plan that it follows instead of its version's, once it was planned anew.
    pub plan: Option<Value>,
    /// Its tasks, in the plan's order.
    pub tasks: Vec<TaskView>,
}

/// A task with its attempts.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskView {
    /// The cell's index in the plan.
    pub index: u32,
    /// The cell's id.
    pub cell: String,
    /// Where it stands.
    pub state: TaskState,
    /// Indexes of the tasks whose results it needs.
    pub depends_on: Vec<u32>,
    /// How many attempts were started.
    pub attempt: u32,
    /// How often it was offered to workers.
    pub dispatches: u32,
    /// When it was last offered.
    pub dispatched: Option<Timestamp>,
    /// Not to be offered before this time.
    pub not_before: Option<Timestamp>,
    /// Since when its last attempt could be taken.
    pub ready_since: Option<Timestamp>,
    /// Why its last attempt failed.
    pub failure: Option<Failure>,
    /// Its attempts, first to last.
    pub attempts: Vec<AttemptView>,
}

/// One try at a task.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptView {
    /// Its number, 1-based.
    pub attempt: u32,
    /// The worker process that took it.
    pub worker: WorkerEpoch,
    /// The container it ran in.
    pub container: Option<String>,
    /// When it was taken.
    pub leased: Timestamp,
    /// When its container had the task.
    pub began: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// `done`, `failed` or `cancelled`, once it ended.
    pub outcome: Option<String>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// What it took.
    pub figures: Option<Figures>,
}

/// A place in a list of runs, newest first. It stays where it is when runs come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunCursor {
    /// When the run before it was accepted.
    pub created: Timestamp,
    /// That run.
    pub id: RunId,
}

/// A part of a list of runs.
#[derive(Clone, Debug, PartialEq)]
pub struct RunListing {
    /// The entries of the page.
    pub items: Vec<RunHeader>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<RunCursor>,
    /// How many runs the list has in all, counted up to [`RUNS_COUNTED_MAX`].
    pub total: u64,
}

/// How far the runs of a list are counted: counting all of a million would take longer than the
/// rest of the answer by far, and nobody pages that deep.
pub const RUNS_COUNTED_MAX: u64 = 1_000;

/// Which runs; fields that are `None` admit everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Only of this flow.
    pub flow: Option<FlowId>,
    /// Only in this state.
    pub state: Option<RunState>,
    /// Only of this session.
    pub session_id: Option<String>,
    /// Only those that components of this run started.
    pub parent: Option<RunId>,
    /// Only those that took over from this run.
    pub rerun_of: Option<RunId>,
    /// Only dead letters.
    pub dead_letter: bool,
    /// Only those that come after this place in the list. It costs the same however deep it is,
    /// where an offset passes over all runs before it.
    pub after: Option<RunCursor>,
}

/// The columns of a run that are always small.
#[derive(DerivePartialModel)]
#[sea_orm(entity = "run::Entity")]
struct RunRow {
    id: Uuid,
    flow: Uuid,
    flow_version: Uuid,
    state: String,
    session_id: String,
    isolation: String,
    submitted_by: Option<Uuid>,
    created: i64,
    started: Option<i64>,
    ended: Option<i64>,
    deadline: i64,
    failure: Option<String>,
    parent_run: Option<Uuid>,
    parent_task: Option<i64>,
    rerun_of: Option<Uuid>,
    detached: bool,
    settled: Option<i64>,
}

impl Tenant {
    /// One run with its tasks and attempts.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn run(&self, id: RunId) -> Result<RunView, Error> {
        const DOING: &str = "reading a run";
        let header = self.run_header(id).await?;
        let db = self.store.read();
        let row: Option<(String, Option<String>)> = run::Entity::find_by_id(id.uuid())
            .select_only()
            .column(run::Column::Request)
            .column(run::Column::Plan)
            .filter(run::Column::Tenant.eq(self.id.uuid()))
            .into_tuple()
            .one(db)
            .await
            .doing(DOING)?;
        let (request, plan) = row.ok_or(Error::NotFound { what: "run" })?;
        let tasks = task::Entity::find()
            .filter(task::Column::Run.eq(id.uuid()))
            .order_by_asc(task::Column::Position)
            .all(db)
            .await
            .doing(DOING)?;
        let attempts = attempt::Entity::find()
            .filter(attempt::Column::Run.eq(id.uuid()))
            .order_by_asc(attempt::Column::Task)
            .order_by_asc(attempt::Column::Attempt)
            .all(db)
            .await
            .doing(DOING)?;
        let tasks = tasks
            .into_iter()
            .map(|task| {
                let attempts = attempts.iter().filter(|attempt| attempt.task == task.position);
                task_view(&task, attempts)
            })
            .collect::<Result<_, _>>()?;
        let request = from_text("request of a run", &request)?;
        let plan = from_optional("plan of a run", plan.as_deref())?;
        Ok(RunView { header, request, plan, tasks })
    }

    /// One run without its tasks: cheap enough to ask on every poll.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn run_header(&self, id: RunId) -> Result<RunHeader, Error> {
        let row: Option<RunRow> = run::Entity::find_by_id(id.uuid())
            .filter(run::Column::Tenant.eq(self.id.uuid()))
            .into_partial_model()
            .one(self.store.read())
            .await
            .doing("reading a run")?;
        header(row.ok_or(Error::NotFound { what: "run" })?)
    }

    /// Those of these runs that are the tenant's.
    pub(super) async fn run_headers(
        &self,
        ids: impl IntoIterator<Item = Uuid>,
    ) -> Result<BTreeMap<RunId, RunHeader>, Error> {
        let rows: Vec<RunRow> = run::Entity::find()
            .filter(run::Column::Id.is_in(ids))
            .filter(run::Column::Tenant.eq(self.id.uuid()))
            .into_partial_model()
            .all(self.store.read())
            .await
            .doing("reading runs")?;
        rows.into_iter().map(|row| Ok((RunId(row.id), header(row)?))).collect()
    }

    /// Lists runs, newest first.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn runs(&self, filter: &RunFilter, page: Page) -> Result<RunListing, Error> {
        const DOING: &str = "listing runs";
        let db = self.store.read();
        let fits = self.is_listed(filter);
        let total = counted(db, fits.clone()).await?;
        // One more than asked for tells whether there is a next page.
        let rows: Vec<RunRow> = run::Entity::find()
            .filter(fits)
            .filter(Condition::all().add_option(filter.after.map(comes_after)))
            .order_by_desc(run::Column::Created)
            .order_by_desc(run::Column::Id)
            .limit(std::cmp::min(page.limit.saturating_add(1), Page::all().limit))
            .offset(page.offset)
            .into_partial_model()
            .all(db)
            .await
            .doing(DOING)?;
        let mut items = rows.into_iter().map(header).collect::<Result<Vec<_>, _>>()?;
        let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
        let is_last = items.len() <= limit;
        items.truncate(limit);
        let next = items.last().filter(|_| !is_last);
        let next = next.map(|run| RunCursor { created: run.created, id: run.id });
        Ok(RunListing { items, next, total })
    }

    fn is_listed(&self, filter: &RunFilter) -> Condition {
        use run::Column;
        let session = filter.session_id.as_ref();
        // In the words of the index by flow and state: with a value that is not known when the query
        // is planned, it would not apply. Without a flow the one by state is the better, and these
        // words would make it look worse.
        let of_flow = filter.flow.and(filter.state);
        let not_completed = of_flow.filter(|state| *state != RunState::Completed);
        let not_completed = not_completed.map(|_| Expr::cust("state <> 'completed'"));
        Condition::all()
            .add(Column::Tenant.eq(self.id.uuid()))
            .add_option(filter.flow.map(|flow| Column::Flow.eq(flow.uuid())))
            .add_option(filter.state.map(|state| Column::State.eq(state.name())))
            .add_option(not_completed)
            .add_option(filter.parent.map(|parent| Column::ParentRun.eq(parent.uuid())))
            .add_option(filter.rerun_of.map(|run| Column::RerunOf.eq(run.uuid())))
            .add_option(filter.dead_letter.then(|| Expr::cust(IS_DEAD_LETTER)))
            .add_option(session.map(|id| Column::SessionId.eq(id.replace('\0', "\u{fffd}"))))
    }
}

async fn counted(db: &DatabaseConnection, fits: Condition) -> Result<u64, Error> {
    const DOING: &str = "counting runs";
    let some = run::Entity::find()
        .select_only()
        .column(run::Column::Id)
        .filter(fits)
        .limit(RUNS_COUNTED_MAX)
        .into_query();
    let count =
        Query::select().expr(Expr::col(Asterisk).count()).from_subquery(some, "counted").take();
    let row = db.query_one(&count).await.doing(DOING)?;
    let row = row.ok_or(Error::Corrupt { what: "number of runs" })?;
    let count: i64 = row.try_get_by_index(0).doing(DOING)?;
    u64::try_from(count).map_err(|_| Error::Corrupt { what: "number of runs" })
}

fn comes_after(cursor: RunCursor) -> Expr {
    let row = [run::Column::Created, run::Column::Id].map(Expr::col);
    let place = [Expr::val(cursor.created.millis()), Expr::val(cursor.id.uuid())];
    Expr::tuple(row).lt(Expr::tuple(place))
}

fn header(row: RunRow) -> Result<RunHeader, Error> {
    let state = RunState::named(&row.state).ok_or(Error::Corrupt { what: "state of a run" })?;
    let failed = matches!(state, RunState::Failed | RunState::TimedOut);
    Ok(RunHeader {
        id: RunId(row.id),
        flow: FlowId(row.flow),
        version: VersionId(row.flow_version),
        state,
        session_id: row.session_id,
        isolation: row.isolation,
        parent: match (row.parent_run, row.parent_task) {
            (Some(run), Some(task)) => Some((RunId(run), number(task)?)),
            (Some(_), None) | (None, Some(_)) | (None, None) => None,
        },
        rerun_of: row.rerun_of.map(RunId),
        dead_letter: row.detached && row.settled.is_none() && failed,
        submitted_by: row.submitted_by.map(UserId),
        created: Timestamp(row.created),
        started: row.started.map(Timestamp),
        ended: row.ended.map(Timestamp),
        deadline: Timestamp(row.deadline),
        failure: from_optional("failure of a run", row.failure.as_deref())?,
    })
}

fn task_view<'a>(
    row: &task::Model,
    attempts: impl Iterator<Item = &'a attempt::Model>,
) -> Result<TaskView, Error> {
    Ok(TaskView {
        index: number(row.position)?,
        cell: row.cell.clone(),
        state: TaskState::named(&row.state).ok_or(Error::Corrupt { what: "state of a task" })?,
        depends_on: from_text("dependencies of a task", &row.depends_on)?,
        attempt: number(row.attempt)?,
        dispatches: number(row.dispatches)?,
        dispatched: row.dispatched.map(Timestamp),
        not_before: row.not_before.map(Timestamp),
        failure: from_optional("failure of a task", row.failure.as_deref())?,
        ready_since: row.ready_since.map(Timestamp),
        attempts: attempts.map(attempt_view).collect::<Result<_, _>>()?,
    })
}

fn attempt_view(row: &attempt::Model) -> Result<AttemptView, Error> {
    Ok(AttemptView {
        attempt: number(row.attempt)?,
        worker: WorkerEpoch(row.worker),
        container: row.container.clone(),
        leased: Timestamp(row.leased),
        began: row.began.map(Timestamp),
        ended: row.ended.map(Timestamp),
        outcome: row.outcome.clone(),
        failure: from_optional("failure of an attempt", row.failure.as_deref())?,
        figures: from_optional("figures of an attempt", row.figures.as_deref())?,
    })
}
