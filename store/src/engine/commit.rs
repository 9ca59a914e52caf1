//! Writing transitions.
//!
//! The guarded update of the run comes first: it locks the row, and a transition that lost the
//! race writes nothing else. Payloads come before the rows that refer to them.

use std::collections::{BTreeSet, HashMap, HashSet};

use domain::id::{RunId, TenantId};
use domain::limits::INLINE_BYTES_MAX;
use domain::run::{Event, Task};
use sea_orm::ActiveValue::Set;
use sea_orm::{
    ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Value,
};
use uuid::Uuid;

use super::{BatchOutcome, Engine, Transition, attempts, human, outbox, replan};
use crate::bulk::BulkUpdate;
use crate::entity::{result, run};
use crate::error::{Doing, Error};
use crate::json;
use crate::objects::{OBJECT_BYTES_MIN, Uploaded, upload};
use crate::payload::{self, NewPayload};

const DOING: &str = "committing a transition";

const RUNS: BulkUpdate = BulkUpdate {
    table: "runs",
    set: "version = runs.version + 1, state = v.column3, \
          started = COALESCE(runs.started, v.column4), ended = COALESCE(runs.ended, v.column5), \
          failure = v.column6, operations = COALESCE(v.column7, runs.operations), \
          context = COALESCE(v.column8, runs.context), plan = COALESCE(v.column9, runs.plan), \
          deadline = v.column10, suspended = v.column11",
    on: "runs.id = v.column1 AND runs.version = v.column2",
};

const TASKS: BulkUpdate = BulkUpdate {
    table: "tasks",
    set: "state = v.column3, attempt = v.column4, dispatches = v.column5, \
          dispatched = v.column6, not_before = v.column7, lease_worker = v.column8, \
          lease_since = v.column9, failure = v.column10, pauses = v.column11, \
          queue = v.column12, tenant = v.column13, priority = v.column14, \
          ready_since = COALESCE(v.column15, tasks.ready_since)",
    on: "tasks.run = v.column1 AND tasks.position = v.column2",
};

impl Engine {
    /// Writes transitions of several runs in one transaction, a few statements in all. Each one
    /// wins or loses for itself; the answers are in the order of the transitions. Two transitions
    /// of the same run are written one after the other.
    ///
    /// # Errors
    /// [`Error::Database`]: then nothing of the batch was written. A caller that wants to know
    /// which transition the database refuses commits them one by one.
    pub async fn commit_batch(
        &self,
        transitions: Vec<Transition>,
    ) -> Result<Vec<BatchOutcome>, Error> {
        let mut outcomes = vec![BatchOutcome::VersionConflict; transitions.len()];
        let uploaded = self.upload_large(&transitions).await?;
        let tx = self.store.begin(DOING).await?;
        if transitions.len() > 1 {
            lock(&tx, &transitions).await?;
        }
        let mut waiting: Vec<(usize, Transition)> = transitions.into_iter().enumerate().collect();
        while !waiting.is_empty() {
            let mut seen = HashSet::new();
            let (now, later): (Vec<_>, Vec<_>) =
                waiting.into_iter().partition(|(_, transition)| seen.insert(transition.run()));
            waiting = later;
            let tenants = guard(&tx, &now).await?;
            let mut won = Vec::new();
            for (index, transition) in now {
                if let Some(tenant) = tenants.get(&transition.run()) {
                    if let Some(outcome) = outcomes.get_mut(index) {
                        *outcome = BatchOutcome::Committed;
                    }
                    won.push((*tenant, transition));
                }
            }
            write(&tx, won, &uploaded).await?;
        }
        tx.commit().await.doing(DOING)?;
        Ok(outcomes)
    }

    /// Keeps the event log of a run. A second log for the same run changes nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such run.
    pub async fn archive_event_log(&self, run: RunId, log: &[u8]) -> Result<(), Error> {
        const DOING: &str = "archiving an event log";
        let tenant: Option<Uuid> = run::Entity::find_by_id(run.uuid())
            .select_only()
            .column(run::Column::Tenant)
            .into_tuple()
            .one(self.store.read())
            .await
            .doing(DOING)?;
        let tenant = TenantId(tenant.ok_or(Error::NotFound { what: "run" })?);
        let new = vec![NewPayload::new(tenant, log.to_vec())];
        let uploaded = upload::upload(&self.store, &new).await?;
        let sha256 = new.first().map(|new| new.sha256.clone());
        let tx = self.store.begin(DOING).await?;
        payload::insert(&tx, new, &uploaded).await?;
        run::Entity::update_many()
            .col_expr(run::Column::EventLog, sha256.into())
            .filter(run::Column::Id.eq(run.uuid()))
            .filter(run::Column::EventLog.is_null())
            .exec(&tx)
            .await
            .doing(DOING)?;
        tx.commit().await.doing(DOING)
    }

    /// Puts what is large into object storage, where there is any, before the transaction begins:
    /// no lock is held while another service is waited for. What a lost race leaves is removed as
    /// any loose object.
    async fn upload_large(&self, transitions: &[Transition]) -> Result<Uploaded, Error> {
        if self.store.objects().is_none() {
            return Ok(Uploaded::new());
        }
        let large: Vec<(Uuid, Vec<u8>)> = transitions.iter().flat_map(large_values).collect();
        if large.is_empty() {
            return Ok(Uploaded::new());
        }
        let tenants: Vec<(Uuid, Uuid)> = run::Entity::find()
            .select_only()
            .columns([run::Column::Id, run::Column::Tenant])
            .filter(run::Column::Id.is_in(large.iter().map(|(run, _)| *run)))
            .into_tuple()
            .all(self.store.read())
            .await
            .doing(DOING)?;
        let tenants: HashMap<Uuid, Uuid> = tenants.into_iter().collect();
        let of_tenant = |(run, bytes): (Uuid, Vec<u8>)| {
            Some(NewPayload::new(TenantId(*tenants.get(&run)?), bytes))
        };
        let payloads: Vec<_> = large.into_iter().filter_map(of_tenant).collect();
        upload::upload(&self.store, &payloads).await
    }
}

/// What a transition stores outside of rows, if object storage takes it.
fn large_values(transition: &Transition) -> Vec<(Uuid, Vec<u8>)> {
    let results = transition.results.iter().map(|given| json::to_text(&given.result));
    let saved = transition.asked.iter().filter_map(human::saved_text);
    let large = results.chain(saved).filter(|text| text.len() > OBJECT_BYTES_MIN);
    large.map(|text| (transition.run().uuid(), text.into_bytes())).collect()
}

/// Locks the runs of a batch in one order, so that two batches wait for each other instead of
/// blocking each other. SQLite has one writer anyway and ignores the lock.
async fn lock(tx: &DatabaseTransaction, transitions: &[Transition]) -> Result<(), Error> {
    run::Entity::find()
        .select_only()
        .column(run::Column::Id)
        .filter(run::Column::Id.is_in(transitions.iter().map(|t| t.run().uuid())))
        .order_by_asc(run::Column::Id)
        .lock(sea_orm::sea_query::LockType::NoKeyUpdate)
        .into_tuple::<Uuid>()
        .all(tx)
        .await
        .doing(DOING)
        .map(drop)
}

/// Moves each run to its next version, if it still is at the expected one; gives the tenants of
/// the runs that moved.
async fn guard(
    tx: &DatabaseTransaction,
    transitions: &[(usize, Transition)],
) -> Result<HashMap<RunId, TenantId>, Error> {
    let rows = transitions.iter().map(|(_, transition)| run_row(transition)).collect();
    let moved = RUNS.returning(tx, rows, "id, tenant").await.doing(DOING)?;
    let ids = |row: &sea_orm::QueryResult| {
        Ok((RunId(row.try_get_by_index(0)?), TenantId(row.try_get_by_index(1)?)))
    };
    moved.iter().map(ids).collect::<Result<_, sea_orm::DbErr>>().doing(DOING)
}

fn run_row(transition: &Transition) -> Vec<Value> {
    let after = &transition.after;
    let now = transition.now.millis();
    let started = transition.events.contains(&Event::RunStarted).then_some(now);
    let ended = after.state.is_terminal().then_some(now);
    vec![
        after.id.uuid().into(),
        i64::try_from(transition.expected_version).unwrap_or(i64::MAX).into(),
        after.state.name().into(),
        started.into(),
        ended.into(),
        after.failure.as_ref().map(json::to_text).into(),
        transition.operations.as_ref().map(json::to_text).into(),
        transition.context.as_ref().map(json::to_text).into(),
        transition.plan.as_ref().map(json::to_text).into(),
        after.deadline.millis().into(),
        after.suspended.map(|at| at.millis()).into(),
    ]
}

/// Writes what the transitions change beside the run's own row.
async fn write(
    tx: &DatabaseTransaction,
    won: Vec<(TenantId, Transition)>,
    uploaded: &Uploaded,
) -> Result<(), Error> {
    let mut payloads = Vec::new();
    let mut results = Vec::new();
    let mut tasks = Vec::new();
    let mut messages = Vec::new();
    let mut asked = human::NewRequests::default();
    let mut changes = attempts::Changes::default();
    replan::write(tx, won.iter().map(|(_, transition)| transition)).await?;
    for (tenant, mut transition) in won {
        for given in std::mem::take(&mut transition.results) {
            let (row, payload) = result_row(tenant, &transition, given);
            results.push(row);
            payloads.extend(payload);
        }
        if let Some(new) = transition.asked.take() {
            payloads.extend(asked.add(tenant, &transition, new));
        }
        let changed: BTreeSet<u32> = transition.events.iter().flat_map(tasks_of).collect();
        for task in changed.into_iter().filter_map(|index| transition.after.task(index)) {
            tasks.push(task_row(tenant, &transition, task));
        }
        messages.append(&mut transition.outbox);
        changes.add(&transition);
    }
    payload::insert(tx, payloads, uploaded).await?;
    if !results.is_empty() {
        // A repeated report gives the same result again; the first one stays.
        result::Entity::insert_many(results)
            .on_conflict_do_nothing_on([result::Column::Run, result::Column::Task])
            .exec_without_returning(tx)
            .await
            .doing("storing results")?;
    }
    let expected = tasks.len();
    let updated = TASKS.execute(tx, tasks).await.doing(DOING)?;
    if usize::try_from(updated) != Ok(expected) {
        return Err(Error::Corrupt { what: "run (it lacks tasks of its plan)" });
    }
    changes.write(tx).await?;
    asked.write(tx).await?;
    outbox::insert(tx, messages).await
}

fn result_row(
    tenant: TenantId,
    transition: &Transition,
    given: super::TaskResult,
) -> (result::ActiveModel, Option<NewPayload>) {
    let text = json::to_text(&given.result);
    let usage = given.result.usage_by_node();
    let (inline, payload) = if text.len() <= INLINE_BYTES_MAX {
        (Some(text), None)
    } else {
        (None, Some(NewPayload::new(tenant, text.into_bytes())))
    };
    let row = result::ActiveModel {
        run: Set(transition.run().uuid()),
        task: Set(i64::from(given.task)),
        tenant: Set(tenant.uuid()),
        inline: Set(inline),
        payload: Set(payload.as_ref().map(|payload| payload.sha256.clone())),
        usage: Set((!usage.is_empty()).then(|| json::to_text(&usage))),
        created: Set(transition.now.millis()),
    };
    (row, payload)
}

fn task_row(tenant: TenantId, transition: &Transition, task: &Task) -> Vec<Value> {
    vec![
        transition.run().uuid().into(),
        i64::from(task.index).into(),
        task.state.name().into(),
        i64::from(task.attempt).into(),
        i64::from(task.dispatches).into(),
        task.dispatched.map(|at| at.millis()).into(),
        task.not_before.map(|at| at.millis()).into(),
        task.lease.map(|lease| lease.worker.uuid()).into(),
        task.lease.map(|lease| lease.since.millis()).into(),
        task.failure.as_ref().map(json::to_text).into(),
        i64::from(task.pauses).into(),
        transition.queues.get(&task.index).unwrap_or(&transition.queue).clone().into(),
        tenant.uuid().into(),
        i64::from(transition.priority).into(),
        ready_since(transition, task.index).into(),
    ]
}

/// Since when the task may be taken, if this transition says so.
fn ready_since(transition: &Transition, index: u32) -> Option<i64> {
    transition.events.iter().find_map(|event| match event {
        Event::TaskReady { task, not_before } if *task == index => {
            Some(not_before.map_or(transition.now, |at| at.max(transition.now)).millis())
        }
        _ => None,
    })
}

/// The tasks that an event changes, or makes.
fn tasks_of(event: &Event) -> Vec<u32> {
    match event {
        Event::Replanned { replaced, planned } => {
            replaced.iter().copied().chain(planned.iter().map(|task| task.task)).collect()
        }
        Event::TaskReady { task, .. }
        | Event::TaskDispatched { task, .. }
        | Event::TaskLeased { task, .. }
        | Event::TaskRunning { task, .. }
        | Event::TaskDone { task, .. }
        | Event::TaskPaused { task, .. }
        | Event::AttemptFailed { task, .. }
        | Event::TaskFailed { task }
        | Event::TaskSkipped { task }
        | Event::TaskHeld { task }
        | Event::TaskCancelled { task } => vec![*task],
        Event::RunStarted
        | Event::RunSuspended { .. }
        | Event::RunResumed { .. }
        | Event::RunPaused { .. }
        | Event::RunUnpaused { .. }
        | Event::RunCompleted
        | Event::RunFailed { .. }
        | Event::RunCancelled
        | Event::RunTimedOut => Vec::new(),
    }
}
