//! What people decide about the questions of a tenant's runs.

use domain::id::{FlowId, RunId};
use domain::run::TaskState;
use domain::time::Timestamp;
use proto::message::{RunOrder, VERSION};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait, LockType, Query};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, DatabaseTransaction, EntityTrait, IntoActiveModel,
    QueryFilter, QueryOrder, QuerySelect,
};
use serde_json::Value;

use super::Tenant;
use super::submit::RUNS_QUEUE;
use crate::engine::human::{self, HumanRequest};
use crate::engine::outbox::{self, OutboxMessage};
use crate::entity::{human_request, message, run, task};
use crate::error::{Doing, Error};
use crate::json::{from_text, to_text};

const DOING: &str = "recording a decision";

/// What became of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decided {
    /// It is the first: the run goes on with it.
    Now,
    /// The same was decided before.
    Before,
}

/// A question that nobody has answered, with its run.
#[derive(Clone, Debug, PartialEq)]
pub struct PendingRequest {
    /// The run.
    pub run: RunId,
    /// Its flow.
    pub flow: FlowId,
    /// Its chat session.
    pub session_id: String,
    /// When the run was accepted.
    pub created: Timestamp,
    /// The question.
    pub request: HumanRequest,
}

impl Tenant {
    /// Everything that a run asked, in order.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a foreign run.
    pub async fn human_requests(&self, run: RunId) -> Result<Vec<HumanRequest>, Error> {
        self.run_header(run).await?;
        human::of_run(self.store.read(), run).await
    }

    /// The questions that wait for an answer now: of one run or flow, or of all.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn pending_requests(
        &self,
        flow: Option<FlowId>,
        run: Option<RunId>,
    ) -> Result<Vec<PendingRequest>, Error> {
        const DOING: &str = "listing questions";
        let is =
            |left, right| Expr::col((human_request::Entity, left)).equals((task::Entity, right));
        let waits = Query::select()
            .expr(Expr::val(1))
            .from(task::Entity)
            .and_where(is(human_request::Column::Run, task::Column::Run))
            .and_where(is(human_request::Column::Task, task::Column::Position))
            .and_where(is(human_request::Column::Attempt, task::Column::Attempt))
            .and_where(task::Column::State.eq(TaskState::Paused.name()))
            .take();
        let of_flow = flow.map(|flow| {
            let mine = Query::select()
                .column(run::Column::Id)
                .from(run::Entity)
                .and_where(run::Column::Tenant.eq(self.id.uuid()))
                .and_where(run::Column::Flow.eq(flow.uuid()))
                .take();
            human_request::Column::Run.in_subquery(mine)
        });
        let of_run = run.map(|run| human_request::Column::Run.eq(run.uuid()));
        let rows = human_request::Entity::find()
            .filter(human_request::Column::Tenant.eq(self.id.uuid()))
            .filter(human_request::Column::Decided.is_null())
            .filter(Condition::all().add_option(of_flow).add_option(of_run))
            .filter(Expr::exists(waits))
            .order_by_asc(human_request::Column::Asked)
            .order_by_asc(human_request::Column::RequestId)
            .all(self.store.read())
            .await
            .doing(DOING)?;
        let runs = self.run_headers(rows.iter().map(|row| row.run)).await?;
        // A run that is gone since has nothing to be asked.
        let pending = rows.into_iter().filter_map(|row| Some((runs.get(&RunId(row.run))?, row)));
        pending
            .map(|(run, row)| {
                Ok(PendingRequest {
                    run: run.id,
                    flow: run.flow,
                    session_id: run.session_id.clone(),
                    created: run.created,
                    request: human::view(row)?,
                })
            })
            .collect()
    }

    /// Says in the chat that nobody waits for answers to the questions of a run any more.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn close_questions(&self, run: RunId) -> Result<(), Error> {
        const DOING: &str = "closing questions";
        let tx = self.store.begin(DOING).await?;
        let open = human_request::Entity::find()
            .filter(human_request::Column::Run.eq(run.uuid()))
            .filter(human_request::Column::Tenant.eq(self.id.uuid()))
            .filter(human_request::Column::Decided.is_null())
            .all(&tx)
            .await
            .doing(DOING)?;
        let cards = message::Entity::find()
            .filter(message::Column::Id.is_in(open.iter().map(|row| row.card)))
            .lock(LockType::NoKeyUpdate)
            .all(&tx)
            .await
            .doing(DOING)?;
        for card in cards {
            let mut data: Value = from_text("message", &card.data)?;
            change(&mut data, |content| {
                content.insert("superseded".to_owned(), Value::Bool(true));
            });
            let mut changed = card.into_active_model();
            changed.data = Set(to_text(&data));
            changed.update(&tx).await.doing(DOING)?;
        }
        tx.commit().await.doing(DOING)
    }

    /// Records what a person decided about a question, and promises the schedulers to hear of it.
    /// The first decision counts; the same one again changes nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the run asked no such question; [`Error::Conflict`] when something
    /// else was decided, or the question does not wait any more.
    pub async fn decide(
        &self,
        run: RunId,
        request_id: &str,
        decision: &Value,
        now: Timestamp,
    ) -> Result<Decided, Error> {
        let tx = self.store.begin(DOING).await?;
        let row = human_request::Entity::find_by_id((run.uuid(), request_id.replace('\0', "")))
            .filter(human_request::Column::Tenant.eq(self.id.uuid()))
            .lock(LockType::NoKeyUpdate)
            .one(&tx)
            .await
            .doing(DOING)?
            .ok_or(Error::NotFound { what: "question" })?;
        if let Some(before) = &row.decision {
            let before: Value = from_text("decision", before)?;
            return if before == *decision {
                Ok(Decided::Before)
            } else {
                Err(Error::Conflict { what: "something else was decided before" })
            };
        }
        if !waits(&tx, &row).await? {
            return Err(Error::Conflict { what: "nobody waits for this decision any more" });
        }
        answer_card(&tx, &row, decision).await?;
        let message_id = format!("answer:{run}:{}:{}", row.task, row.attempt);
        let mut changed = row.into_active_model();
        changed.decision = Set(Some(to_text(decision)));
        changed.decided = Set(Some(now.millis()));
        changed.update(&tx).await.doing(DOING)?;
        let order = RunOrder { v: VERSION, run, cancel: false, answered: true, hold: None };
        let message = OutboxMessage::new(RUNS_QUEUE, message_id, to_text(&order).into_bytes(), now);
        outbox::insert(&tx, vec![message]).await?;
        tx.commit().await.doing(DOING)?;
        Ok(Decided::Now)
    }
}

/// Changes the questions that a chat message shows.
fn change(data: &mut Value, change: impl Fn(&mut serde_json::Map<String, Value>)) {
    let blocks = data.get_mut("content_blocks").and_then(Value::as_array_mut);
    for block in blocks.into_iter().flatten() {
        let contents = block.get_mut("contents").and_then(Value::as_array_mut);
        contents.into_iter().flatten().filter_map(Value::as_object_mut).for_each(&change);
    }
}

/// Whether the attempt that asked is still the one that waits.
async fn waits(tx: &DatabaseTransaction, row: &human_request::Model) -> Result<bool, Error> {
    let task = task::Entity::find_by_id((row.run, row.task)).one(tx).await.doing(DOING)?;
    Ok(task
        .is_some_and(|task| task.state == TaskState::Paused.name() && task.attempt == row.attempt))
}

/// Says in the chat what was chosen, so that the question is not offered again there.
async fn answer_card(
    tx: &DatabaseTransaction,
    row: &human_request::Model,
    decision: &Value,
) -> Result<(), Error> {
    let card = message::Entity::find_by_id(row.card)
        .lock(LockType::NoKeyUpdate)
        .one(tx)
        .await
        .doing(DOING)?;
    // Somebody may have deleted it.
    let Some(card) = card else { return Ok(()) };
    let mut data: Value = from_text("message", &card.data)?;
    change(&mut data, |content| {
        if content.get("request_id").and_then(Value::as_str) == Some(row.request_id.as_str()) {
            let action = decision.get("action_id").cloned().unwrap_or_default();
            content.insert("submitted_action".to_owned(), action);
        }
    });
    let mut changed = card.into_active_model();
    changed.data = Set(to_text(&data));
    changed.update(tx).await.doing(DOING).map(drop)
}
