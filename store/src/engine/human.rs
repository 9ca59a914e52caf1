//! What runs ask of people, as the engine writes and reads it.

use std::collections::BTreeMap;

use domain::id::{FlowId, MessageId, RunId, TenantId};
use domain::run::TaskState;
use domain::time::Timestamp;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict, Query};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect,
};
use serde_json::Value;
use uuid::Uuid;

use super::load::number;
use super::{Engine, Transition};
use crate::clock;
use crate::entity::{human_request, message, task};
use crate::error::{Doing, Error};
use crate::json;
use crate::payload::{self, NewPayload};

/// A question, with the chat message that shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// The task that asks.
    pub task: u32,
    /// Its attempt.
    pub attempt: u32,
    /// The node that asks.
    pub node: String,
    /// The question's id within the run.
    pub request_id: String,
    /// The question.
    pub request: Value,
    /// What the next attempt needs, sealed: kind → text.
    pub saved: BTreeMap<String, String>,
    /// The id of the message.
    pub card: MessageId,
    /// The flow it belongs to.
    pub flow: FlowId,
    /// Its chat session.
    pub session_id: String,
    /// The message as Langflow dumps it.
    pub shown: Value,
}

/// A stored question, and its answer once there is one.
#[derive(Clone, Debug, PartialEq)]
pub struct HumanRequest {
    /// Its id within the run.
    pub request_id: String,
    /// The task that asked.
    pub task: u32,
    /// Its attempt.
    pub attempt: u32,
    /// The node that asked.
    pub node: String,
    /// The question, as lfx made it.
    pub request: Value,
    /// When.
    pub asked: Timestamp,
    /// What was decided.
    pub decision: Option<Value>,
    /// When.
    pub decided: Option<Timestamp>,
}

impl Engine {
    /// Everything that a run asked, in order.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Corrupt`].
    pub async fn human_requests(&self, run: RunId) -> Result<Vec<HumanRequest>, Error> {
        of_run(self.store.read(), run).await
    }

    /// What a task left behind when it last asked, sealed as it was handed in.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Corrupt`].
    pub async fn saved(&self, run: RunId, task: u32) -> Result<BTreeMap<String, String>, Error> {
        let db = self.store.read();
        let row = human_request::Entity::find()
            .filter(human_request::Column::Run.eq(run.uuid()))
            .filter(human_request::Column::Task.eq(i64::from(task)))
            .order_by_desc(human_request::Column::Attempt)
            .one(db)
            .await
            .doing("reading what a cell left behind")?;
        let Some((tenant, sha256)) = row.and_then(|row| Some((row.tenant, row.saved?))) else {
            return Ok(BTreeMap::new());
        };
        let bytes = payload::read(&self.store, TenantId(tenant), &sha256, run).await?;
        serde_json::from_slice(&bytes).map_err(|_| Error::Corrupt { what: "state of a cell" })
    }

    /// Runs with a task that waits although its question is answered: their message was lost.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn runs_answered(&self, limit: u64) -> Result<Vec<RunId>, Error> {
        let is =
            |left, right| Expr::col((human_request::Entity, left)).equals((task::Entity, right));
        let answered = Query::select()
            .expr(Expr::val(1))
            .from(human_request::Entity)
            .and_where(is(human_request::Column::Run, task::Column::Run))
            .and_where(is(human_request::Column::Task, task::Column::Position))
            .and_where(is(human_request::Column::Attempt, task::Column::Attempt))
            .and_where(human_request::Column::Decided.is_not_null())
            .take();
        // The state is written out in the SQL: only then does the partial index apply.
        let paused = Expr::cust(format!("state = '{}'", TaskState::Paused.name()));
        let runs: Vec<Uuid> = task::Entity::find()
            .select_only()
            .column(task::Column::Run)
            .distinct()
            .filter(paused)
            .filter(Expr::exists(answered))
            .limit(limit)
            .into_tuple()
            .all(self.store.read())
            .await
            .doing("looking for answered questions")?;
        Ok(runs.into_iter().map(RunId).collect())
    }
}

/// Everything that a run asked. The caller has made sure that the run may be seen.
pub(crate) async fn of_run<C: ConnectionTrait>(
    connection: &C,
    run: RunId,
) -> Result<Vec<HumanRequest>, Error> {
    let rows = human_request::Entity::find()
        .filter(human_request::Column::Run.eq(run.uuid()))
        .order_by_asc(human_request::Column::Asked)
        .order_by_asc(human_request::Column::RequestId)
        .all(connection)
        .await
        .doing("reading questions")?;
    rows.into_iter().map(view).collect()
}

pub(crate) fn view(row: human_request::Model) -> Result<HumanRequest, Error> {
    Ok(HumanRequest {
        request_id: row.request_id,
        task: number(row.task)?,
        attempt: number(row.attempt)?,
        node: row.node,
        request: json::from_text("question", &row.request)?,
        asked: Timestamp(row.asked),
        decision: json::from_optional("decision", row.decision.as_deref())?,
        decided: row.decided.map(Timestamp),
    })
}

/// What the next attempt needs, as it is stored.
pub(super) fn saved_text(asked: &Asked) -> Option<String> {
    (!asked.saved.is_empty()).then(|| json::to_text(&asked.saved))
}

/// The questions of a batch of transitions.
#[derive(Default)]
pub(super) struct NewRequests {
    requests: Vec<human_request::ActiveModel>,
    cards: Vec<message::ActiveModel>,
}

impl NewRequests {
    /// Notes a question; gives the payload that it refers to.
    pub(super) fn add(
        &mut self,
        tenant: TenantId,
        transition: &Transition,
        asked: Asked,
    ) -> Option<NewPayload> {
        let saved = saved_text(&asked).map(|text| NewPayload::new(tenant, text.into_bytes()));
        let now = transition.now.millis();
        self.requests.push(human_request::ActiveModel {
            run: Set(transition.run().uuid()),
            request_id: Set(asked.request_id),
            tenant: Set(tenant.uuid()),
            task: Set(i64::from(asked.task)),
            attempt: Set(i64::from(asked.attempt)),
            node: Set(asked.node),
            request: Set(json::to_text(&asked.request)),
            saved: Set(saved.as_ref().map(|payload| payload.sha256.clone())),
            card: Set(asked.card.uuid()),
            asked: Set(now),
            decision: Set(None),
            decided: Set(None),
        });
        let sender = |key: &str| asked.shown.get(key).and_then(Value::as_str).unwrap_or_default();
        self.cards.push(message::ActiveModel {
            id: Set(asked.card.uuid()),
            tenant: Set(tenant.uuid()),
            flow: Set(asked.flow.uuid()),
            session_id: Set(asked.session_id),
            run: Set(Some(transition.run().uuid())),
            task: Set(Some(i64::from(asked.task))),
            sender: Set(sender("sender").to_owned()),
            sender_name: Set(sender("sender_name").to_owned()),
            said: Set(now),
            arrival: Set(clock::id_in_order()),
            data: Set(json::to_text(&asked.shown)),
        });
        saved
    }

    pub(super) async fn write(self, tx: &DatabaseTransaction) -> Result<(), Error> {
        const DOING: &str = "storing a question";
        if self.requests.is_empty() {
            return Ok(());
        }
        use human_request::Column;
        let replace = OnConflict::columns([Column::Run, Column::RequestId])
            .update_columns([
                Column::Task,
                Column::Attempt,
                Column::Node,
                Column::Request,
                Column::Saved,
                Column::Card,
                Column::Asked,
                Column::Decision,
                Column::Decided,
            ])
            .to_owned();
        human_request::Entity::insert_many(self.requests)
            .on_conflict(replace)
            .exec_without_returning(tx)
            .await
            .doing(DOING)?;
        message::Entity::insert_many(self.cards)
            .exec_without_returning(tx)
            .await
            .doing(DOING)
            .map(drop)
    }
}
