//! Chat messages, keyed by flow and session.

use domain::id::{FlowId, MessageId, RunId};
use domain::time::Timestamp;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait, LockType, OnConflict};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, EntityTrait, IntoActiveModel, QueryFilter,
    QueryOrder, QuerySelect, TryInsertResult,
};
use serde_json::Value;
use uuid::Uuid;

use super::Tenant;
use crate::clock;
use crate::entity::message;
use crate::error::{Doing, Error};
use crate::json::{from_text, storable, to_text};

/// A message to store.
#[derive(Clone, Debug, PartialEq)]
pub struct NewMessage {
    /// Its id; a new one when there is none.
    pub id: Option<MessageId>,
    /// The flow it belongs to.
    pub flow: FlowId,
    /// The chat session.
    pub session_id: String,
    /// The run that made it.
    pub run: Option<RunId>,
    /// The run's task that said it.
    pub task: Option<u32>,
    /// `User`, `Machine`, …
    pub sender: String,
    /// The name shown.
    pub sender_name: String,
    /// When it was said.
    pub timestamp: Timestamp,
    /// The whole message as Langflow dumps it, verbatim.
    pub data: Value,
}

/// A stored message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// The flow it belongs to.
    pub flow: FlowId,
    /// The chat session.
    pub session_id: String,
    /// The run that made it.
    pub run: Option<RunId>,
    /// `User`, `Machine`, …
    pub sender: String,
    /// The name shown.
    pub sender_name: String,
    /// When it was said.
    pub timestamp: Timestamp,
    /// The whole message as Langflow dumps it.
    pub data: Value,
}

/// Changes of a message; `None` leaves a field alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MessagePatch {
    /// Another session.
    pub session_id: Option<String>,
    /// Another sender.
    pub sender: Option<String>,
    /// Another name.
    pub sender_name: Option<String>,
    /// Members written over those of the stored message.
    pub data: serde_json::Map<String, Value>,
}

/// Which messages; fields that are `None` admit everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageFilter {
    /// Only of this flow.
    pub flow: Option<FlowId>,
    /// Only of this session.
    pub session_id: Option<String>,
    /// Only of this run.
    pub run: Option<RunId>,
    /// Only from this sender.
    pub sender: Option<String>,
    /// Only under this name.
    pub sender_name: Option<String>,
    /// Only these.
    pub ids: Option<Vec<MessageId>>,
    /// Not what this run has said too early for the reader.
    pub unheard: Option<Unheard>,
    /// Newest first instead of oldest first.
    pub newest_first: bool,
    /// At most this many.
    pub limit: Option<u64>,
}

/// What a run has said, and one of its tasks does not find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unheard {
    /// The run.
    pub run: RunId,
    /// Nothing of these tasks.
    pub tasks: Vec<u32>,
    /// Of this task only these: what else there is of it, a lost attempt has said.
    pub own: Option<(u32, Vec<MessageId>)>,
}

impl Tenant {
    /// Stores a message.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a foreign flow, [`Error::Duplicate`] when the id is in use.
    pub async fn store_message(&self, new: NewMessage) -> Result<Message, Error> {
        const DOING: &str = "storing a message";
        storable("session id", &new.session_id)?;
        storable("sender", &new.sender)?;
        storable("sender name", &new.sender_name)?;
        let tx = self.store.begin(DOING).await?;
        self.flow_row(&tx, new.flow, Some(LockType::KeyShare)).await?;
        let row = self.message_row(new);
        message::Entity::insert(row.clone().into_active_model())
            .exec_without_returning(&tx)
            .await
            .unique("message id", DOING)?;
        tx.commit().await.doing(DOING)?;
        view(row)
    }

    /// Stores a message under its id; what the same run stored under it before is replaced. So an
    /// attempt may repeat itself, and a further one says anew what a lost one has said.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a foreign flow, [`Error::Duplicate`] when the id is another run's.
    pub async fn put_message(&self, new: NewMessage) -> Result<Message, Error> {
        use message::Column as C;
        const DOING: &str = "storing a message";
        storable("session id", &new.session_id)?;
        storable("sender", &new.sender)?;
        storable("sender name", &new.sender_name)?;
        let tx = self.store.begin(DOING).await?;
        self.flow_row(&tx, new.flow, Some(LockType::KeyShare)).await?;
        let row = self.message_row(new);
        let mut replace = OnConflict::column(C::Id);
        replace
            .update_columns([C::Flow, C::SessionId, C::Sender, C::SenderName])
            .update_columns([C::Said, C::Arrival, C::Data])
            .action_and_where(Expr::col((message::Entity, C::Tenant)).eq(row.tenant))
            .action_and_where(Expr::col((message::Entity, C::Run)).eq(row.run));
        let stored = message::Entity::insert(row.clone().into_active_model())
            .on_conflict(replace)
            .try_insert()
            .exec_without_returning(&tx)
            .await
            .doing(DOING)?;
        if !matches!(stored, TryInsertResult::Inserted(rows) if rows > 0) {
            return Err(Error::Duplicate { field: "message id" });
        }
        tx.commit().await.doing(DOING)?;
        view(row)
    }

    fn message_row(&self, new: NewMessage) -> message::Model {
        message::Model {
            id: new.id.map_or_else(Uuid::new_v4, MessageId::uuid),
            tenant: self.id.uuid(),
            flow: new.flow.uuid(),
            session_id: new.session_id,
            run: new.run.map(RunId::uuid),
            task: new.task.map(i64::from),
            sender: new.sender,
            sender_name: new.sender_name,
            said: new.timestamp.millis(),
            arrival: clock::id_in_order(),
            data: to_text(&new.data),
        }
    }

    /// Changes a message.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn update_message(
        &self,
        id: MessageId,
        patch: MessagePatch,
    ) -> Result<Message, Error> {
        const DOING: &str = "changing a message";
        let tx = self.store.begin(DOING).await?;
        let row = message::Entity::find_by_id(id.uuid())
            .filter(message::Column::Tenant.eq(self.id.uuid()))
            .lock(LockType::NoKeyUpdate)
            .one(&tx)
            .await
            .doing(DOING)?
            .ok_or(Error::NotFound { what: "message" })?;
        if patch == MessagePatch::default() {
            return view(row);
        }
        let mut data: Value = from_text("message", &row.data)?;
        let mut changed = row.into_active_model();
        if let Some(session_id) = patch.session_id {
            storable("session id", &session_id)?;
            changed.session_id = Set(session_id);
        }
        if let Some(sender) = patch.sender {
            storable("sender", &sender)?;
            changed.sender = Set(sender);
        }
        if let Some(sender_name) = patch.sender_name {
            storable("sender name", &sender_name)?;
            changed.sender_name = Set(sender_name);
        }
        if !patch.data.is_empty() {
            match &mut data {
                Value::Object(members) => members.extend(patch.data),
                _ => data = Value::Object(patch.data),
            }
            changed.data = Set(to_text(&data));
        }
        let row = changed.update(&tx).await.doing(DOING)?;
        tx.commit().await.doing(DOING)?;
        view(row)
    }

    /// The messages that fit, in the order they were said.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn messages(&self, filter: &MessageFilter) -> Result<Vec<Message>, Error> {
        let order = if filter.newest_first { sea_orm::Order::Desc } else { sea_orm::Order::Asc };
        let rows = message::Entity::find()
            .filter(self.fits(filter))
            .order_by(message::Column::Said, order.clone())
            .order_by(message::Column::Arrival, order)
            .limit(filter.limit)
            .all(self.store.read())
            .await
            .doing("reading messages")?;
        rows.into_iter().map(view).collect()
    }

    /// Deletes the messages that fit (`limit` and order are ignored) and tells how many.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn delete_messages(&self, filter: &MessageFilter) -> Result<u64, Error> {
        const DOING: &str = "deleting messages";
        let tx = self.store.begin(DOING).await?;
        let deleted = message::Entity::delete_many()
            .filter(self.fits(filter))
            .exec(&tx)
            .await
            .doing(DOING)?;
        tx.commit().await.doing(DOING)?;
        Ok(deleted.rows_affected)
    }

    /// The sessions that have messages, of one flow or of all.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn sessions(&self, flow: Option<FlowId>) -> Result<Vec<String>, Error> {
        let of_flow = flow.map(|flow| message::Column::Flow.eq(flow.uuid()));
        message::Entity::find()
            .select_only()
            .column(message::Column::SessionId)
            .distinct()
            .filter(message::Column::Tenant.eq(self.id.uuid()))
            .filter(Condition::all().add_option(of_flow))
            .order_by_asc(message::Column::SessionId)
            .into_tuple()
            .all(self.store.read())
            .await
            .doing("listing sessions")
    }

    /// Moves the messages of one session to another and gives them back.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the session has no messages.
    pub async fn rename_session(&self, from: &str, to: &str) -> Result<Vec<Message>, Error> {
        const DOING: &str = "renaming a session";
        storable("session id", to)?;
        let filter = MessageFilter { session_id: Some(from.to_owned()), ..Default::default() };
        let tx = self.store.begin(DOING).await?;
        let rows = message::Entity::find()
            .filter(self.fits(&filter))
            .order_by_asc(message::Column::Said)
            .order_by_asc(message::Column::Arrival)
            .lock(LockType::NoKeyUpdate)
            .all(&tx)
            .await
            .doing(DOING)?;
        if rows.is_empty() {
            return Err(Error::NotFound { what: "session" });
        }
        let mut renamed = Vec::with_capacity(rows.len());
        for row in rows {
            let mut data: Value = from_text("message", &row.data)?;
            if let Some(session_id) = data.get_mut("session_id") {
                *session_id = Value::from(to);
            }
            let mut changed = row.into_active_model();
            changed.session_id = Set(to.to_owned());
            changed.data = Set(to_text(&data));
            renamed.push(view(changed.update(&tx).await.doing(DOING)?)?);
        }
        tx.commit().await.doing(DOING)?;
        Ok(renamed)
    }

    fn fits(&self, filter: &MessageFilter) -> Condition {
        use message::Column;
        // Postgres refuses to compare with a NUL character; no stored text has one.
        let text = |column: Column, wanted: &Option<String>| {
            wanted.as_ref().map(|wanted| column.eq(wanted.replace('\0', "\u{fffd}")))
        };
        let ids = filter.ids.as_ref().map(|ids| Column::Id.is_in(ids.iter().map(|id| id.uuid())));
        Condition::all()
            .add(Column::Tenant.eq(self.id.uuid()))
            .add_option(filter.flow.map(|flow| Column::Flow.eq(flow.uuid())))
            .add_option(text(Column::SessionId, &filter.session_id))
            .add_option(filter.run.map(|run| Column::Run.eq(run.uuid())))
            .add_option(text(Column::Sender, &filter.sender))
            .add_option(text(Column::SenderName, &filter.sender_name))
            .add_option(ids)
            .add_option(filter.unheard.as_ref().map(heard))
    }
}

/// A message without a run or a task is nobody's of these, and a comparison with NULL is not true.
fn heard(unheard: &Unheard) -> Condition {
    use message::Column;
    let others = unheard.tasks.iter().copied().map(i64::from);
    let mut of_run = Condition::all().add(Column::Task.is_not_in(others));
    if let Some((task, heard)) = &unheard.own {
        let said = Condition::any()
            .add(Column::Task.ne(i64::from(*task)))
            .add(Column::Id.is_in(heard.iter().map(|id| id.uuid())));
        of_run = of_run.add(said);
    }
    Condition::any()
        .add(Column::Run.is_null())
        .add(Column::Run.ne(unheard.run.uuid()))
        .add(Column::Task.is_null())
        .add(of_run)
}

fn view(row: message::Model) -> Result<Message, Error> {
    Ok(Message {
        id: MessageId(row.id),
        flow: FlowId(row.flow),
        session_id: row.session_id,
        run: row.run.map(RunId),
        sender: row.sender,
        sender_name: row.sender_name,
        timestamp: Timestamp(row.said),
        data: from_text("message", &row.data)?,
    })
}
