//! The outbox: messages that were promised in a transaction and are published after it.

use domain::time::Timestamp;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{
    ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};
use uuid::Uuid;

use super::Engine;
use crate::clock;
use crate::entity::{outbox, session, task, worker};
use crate::error::{Doing, Error};

/// Rows per statement.
const IDS_MAX: usize = 1_000;

/// A message to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxMessage {
    /// The row's id; known before the commit, so that whoever commits can publish at once and
    /// mark it.
    pub id: Uuid,
    /// The queue or subject, as the bus calls it.
    pub queue: String,
    /// The message's fixed id: publishing it twice is publishing it once.
    pub message_id: String,
    /// The message.
    pub body: Vec<u8>,
    /// When it was promised.
    pub created: Timestamp,
}

/// How many rows a pruning removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Published messages.
    pub outbox: u64,
    /// Workers that are gone and hold nothing.
    pub workers: u64,
    /// Sessions that ended.
    pub sessions: u64,
}

impl OutboxMessage {
    /// A new message.
    #[must_use]
    pub fn new(
        queue: impl Into<String>,
        message_id: impl Into<String>,
        body: Vec<u8>,
        created: Timestamp,
    ) -> Self {
        Self {
            id: clock::id_in_order(),
            queue: queue.into(),
            message_id: message_id.into(),
            body,
            created,
        }
    }
}

impl Engine {
    /// Messages that were promised before `created_before` and are not marked as published,
    /// oldest first.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn unpublished(
        &self,
        limit: u64,
        created_before: Timestamp,
    ) -> Result<Vec<OutboxMessage>, Error> {
        let rows = outbox::Entity::find()
            .filter(outbox::Column::Published.is_null())
            .filter(outbox::Column::Created.lt(created_before.millis()))
            .order_by_asc(outbox::Column::Created)
            .order_by_asc(outbox::Column::Id)
            .limit(limit)
            .all(self.store.read())
            .await
            .doing("reading the outbox")?;
        let message = |row: outbox::Model| OutboxMessage {
            id: row.id,
            queue: row.queue,
            message_id: row.message_id,
            body: row.body,
            created: Timestamp(row.created),
        };
        Ok(rows.into_iter().map(message).collect())
    }

    /// Marks messages as published.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn mark_published(&self, ids: &[Uuid], now: Timestamp) -> Result<(), Error> {
        const DOING: &str = "marking messages as published";
        if ids.is_empty() {
            return Ok(());
        }
        // In one order, so that two relays wait for each other instead of blocking each other.
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        let tx = self.store.begin(DOING).await?;
        for ids in ids.chunks(IDS_MAX) {
            outbox::Entity::update_many()
                .col_expr(outbox::Column::Published, now.millis().into())
                .filter(outbox::Column::Id.is_in(ids.iter().copied()))
                .filter(outbox::Column::Published.is_null())
                .exec(&tx)
                .await
                .doing(DOING)?;
        }
        tx.commit().await.doing(DOING)
    }

    /// Removes published messages, workers that are gone and hold nothing, and ended sessions,
    /// all from before `before`.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn prune(&self, before: Timestamp) -> Result<Pruned, Error> {
        const DOING: &str = "pruning";
        let tx = self.store.begin(DOING).await?;
        let outbox = outbox::Entity::delete_many()
            .filter(outbox::Column::Published.lt(before.millis()))
            .exec(&tx)
            .await
            .doing(DOING)?
            .rows_affected;
        let holding = Query::select()
            .expr(Expr::val(1))
            .from(task::Entity)
            .and_where(
                Expr::col((task::Entity, task::Column::LeaseWorker))
                    .equals((worker::Entity, worker::Column::Epoch)),
            )
            .take();
        let workers = worker::Entity::delete_many()
            .filter(worker::Column::LeaseUntil.lt(before.millis()))
            .filter(Expr::exists(holding).not())
            .exec(&tx)
            .await
            .doing(DOING)?
            .rows_affected;
        let sessions = session::Entity::delete_many()
            .filter(
                session::Column::Expires
                    .lt(before.millis())
                    .or(session::Column::Revoked.lt(before.millis())),
            )
            .exec(&tx)
            .await
            .doing(DOING)?
            .rows_affected;
        tx.commit().await.doing(DOING)?;
        Ok(Pruned { outbox, workers, sessions })
    }
}

/// Stores messages in the transaction that promises them.
pub(crate) async fn insert(
    tx: &DatabaseTransaction,
    messages: Vec<OutboxMessage>,
) -> Result<(), Error> {
    for messages in messages.chunks(IDS_MAX) {
        let rows = messages.iter().map(|message| outbox::ActiveModel {
            id: Set(message.id),
            queue: Set(message.queue.clone()),
            message_id: Set(message.message_id.clone()),
            body: Set(message.body.clone()),
            created: Set(message.created.millis()),
            published: Set(None),
        });
        outbox::Entity::insert_many(rows)
            .exec_without_returning(tx)
            .await
            .doing("promising messages")?;
    }
    Ok(())
}
