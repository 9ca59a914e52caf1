//! Knowledge bases of users: what flows have taken up, in segments that nobody here looks into.
//!
//! A segment belongs to an attempt. Those of a lost attempt go as soon as a further one adds its
//! first, and until then the further one does not see them: a task that is done again takes up
//! nothing twice.

use domain::id::{KnowledgeId, RunId, UserId};
use domain::time::Timestamp;
use proto::message::AttemptRef;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, LockType};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, DatabaseTransaction, EntityTrait, IntoActiveModel,
    QueryFilter, QueryOrder, QuerySelect, Select,
};
use serde_json::Value;
use uuid::Uuid;

use super::Tenant;
use super::files::within;
use crate::clock;
use crate::entity::{knowledge_base, knowledge_segment, task};
use crate::error::{Doing, Error};
use crate::json::{from_text, storable, to_text};

const NOT_FOUND: Error = Error::NotFound { what: "knowledge base" };
/// What a segment counts beside its chunks: rows and their indexes take room too.
const SEGMENT_BYTES: u64 = 256;
/// Segments looked at for one answer.
const SEGMENTS_MAX: u64 = 512;

/// A knowledge base to make.
#[derive(Clone, Debug, PartialEq)]
pub struct NewKnowledgeBase {
    /// Whose it is.
    pub user: UserId,
    /// Its name, of which a user has one each.
    pub name: String,
    /// How it was made: what its chunks are embedded with. Never changed.
    pub configuration: Value,
}

/// A knowledge base, without what is in it.
#[derive(Clone, Debug, PartialEq)]
pub struct KnowledgeBase {
    /// Its id.
    pub id: KnowledgeId,
    /// Whose it is.
    pub user: UserId,
    /// Its name.
    pub name: String,
    /// How it was made.
    pub configuration: Value,
    /// What was last told of its content: an object.
    pub figures: Value,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
}

/// Chunks that one attempt adds at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSegment {
    /// Who adds them.
    pub attempt: AttemptRef,
    /// The how-manieth of this attempt, from 0: the same one is stored once.
    pub nth: u64,
    /// The chunks, as JSON.
    pub chunks: String,
}

/// Segments in the order in which they were added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segments {
    /// The chunks of each, as JSON.
    pub chunks: Vec<String>,
    /// The place of the last one; where to go on.
    pub last: i64,
    /// Whether there are more.
    pub more: bool,
}

impl Tenant {
    /// Makes a knowledge base.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a foreign user, [`Error::Duplicate`] for a name that is taken.
    pub async fn create_knowledge_base(
        &self,
        new: NewKnowledgeBase,
    ) -> Result<KnowledgeBase, Error> {
        const DOING: &str = "making a knowledge base";
        storable("name", &new.name)?;
        let tx = self.store.begin(DOING).await?;
        self.check_user(&tx, new.user).await?;
        let now = clock::now().millis();
        let row = knowledge_base::Model {
            id: Uuid::now_v7(),
            tenant: self.id.uuid(),
            user_id: new.user.uuid(),
            name: new.name,
            configuration: to_text(&new.configuration),
            figures: "{}".to_owned(),
            created: now,
            updated: now,
        };
        knowledge_base::Entity::insert(row.clone().into_active_model())
            .exec_without_returning(&tx)
            .await
            .unique("knowledge base name", DOING)?;
        tx.commit().await.doing(DOING)?;
        view(row)
    }

    /// The knowledge bases of a user, oldest first.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn knowledge_bases(&self, user: UserId) -> Result<Vec<KnowledgeBase>, Error> {
        let rows = self
            .bases_of(user)
            .order_by_asc(knowledge_base::Column::Created)
            .order_by_asc(knowledge_base::Column::Id)
            .all(self.store.read())
            .await
            .doing("listing knowledge bases")?;
        rows.into_iter().map(view).collect()
    }

    /// The knowledge base of this name.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn knowledge_base(&self, user: UserId, name: &str) -> Result<KnowledgeBase, Error> {
        if name.contains('\0') {
            return Err(NOT_FOUND);
        }
        let found = self.bases_of(user).filter(knowledge_base::Column::Name.eq(name));
        let row = found.one(self.store.read()).await.doing("looking for a knowledge base")?;
        view(row.ok_or(NOT_FOUND)?)
    }

    /// Deletes a knowledge base with all that is in it.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn delete_knowledge_base(&self, user: UserId, id: KnowledgeId) -> Result<(), Error> {
        const DOING: &str = "deleting a knowledge base";
        let tx = self.store.begin(DOING).await?;
        let row = self.base(&tx, user, id).await?;
        let deleted = row.into_active_model().delete(&tx).await.doing(DOING)?;
        debug_assert_eq!(deleted.rows_affected, 1);
        tx.commit().await.doing(DOING)
    }

    /// Writes these figures over those that are kept.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn note_knowledge(
        &self,
        user: UserId,
        id: KnowledgeId,
        figures: &serde_json::Map<String, Value>,
    ) -> Result<KnowledgeBase, Error> {
        const DOING: &str = "noting figures of a knowledge base";
        let tx = self.store.begin(DOING).await?;
        let row = self.base(&tx, user, id).await?;
        let mut kept: serde_json::Map<String, Value> =
            from_text("figures of a knowledge base", &row.figures)?;
        kept.extend(figures.clone());
        let mut changed = row.into_active_model();
        changed.figures = Set(to_text(&kept));
        changed.updated = Set(clock::now().millis());
        let row = changed.update(&tx).await.doing(DOING)?;
        tx.commit().await.doing(DOING)?;
        view(row)
    }

    /// Adds a segment; one that was added before is not added again.
    ///
    /// # Errors
    /// [`Error::NotFound`], also when the attempt is not the task's present one;
    /// [`Error::TooLarge`] when all knowledge of the tenant would have more than `bytes_max` bytes.
    pub async fn add_knowledge(
        &self,
        user: UserId,
        id: KnowledgeId,
        new: NewSegment,
        bytes_max: u64,
    ) -> Result<(), Error> {
        const DOING: &str = "adding to a knowledge base";
        let tx = self.store.begin(DOING).await?;
        // Held for the sum and for the next place.
        self.lock(&tx).await?;
        self.base(&tx, user, id).await?;
        check_attempt(&tx, new.attempt).await?;
        let lost = knowledge_segment::Entity::delete_many()
            .filter(knowledge_segment::Column::Base.eq(id.uuid()))
            .filter(of_lost_attempts(new.attempt));
        lost.exec(&tx).await.doing(DOING)?;
        let length = SEGMENT_BYTES.saturating_add(new.chunks.len() as u64);
        let row = segment(id, &new, (self.next_place(&tx, id).await?, length));
        let found = knowledge_segment::Entity::find()
            .filter(knowledge_segment::Column::Base.eq(id.uuid()))
            .filter(knowledge_segment::Column::Run.eq(row.run))
            .filter(knowledge_segment::Column::Task.eq(row.task))
            .filter(knowledge_segment::Column::Attempt.eq(row.attempt))
            .filter(knowledge_segment::Column::Nth.eq(row.nth))
            .select_only()
            .column(knowledge_segment::Column::Position)
            .into_tuple::<i64>();
        if found.one(&tx).await.doing(DOING)?.is_none() {
            let bytes = self.knowledge_bytes(&tx).await?.saturating_add(length);
            within("sum of the tenant's knowledge", bytes, bytes_max)?;
            knowledge_segment::Entity::insert(row.into_active_model())
                .exec_without_returning(&tx)
                .await
                .doing(DOING)?;
        }
        tx.commit().await.doing(DOING)
    }

    /// Segments behind a place (-1 for all), as many as fit into `bytes_max` and at least one, as
    /// an attempt sees them.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn read_knowledge(
        &self,
        user: UserId,
        id: KnowledgeId,
        reader: AttemptRef,
        (after, bytes_max): (i64, u64),
    ) -> Result<Segments, Error> {
        use knowledge_segment::Column;
        const DOING: &str = "reading a knowledge base";
        let connection = self.store.read();
        let found = self.bases_of(user).filter(knowledge_base::Column::Id.eq(id.uuid()));
        found.one(connection).await.doing(DOING)?.ok_or(NOT_FOUND)?;
        let seen = || {
            knowledge_segment::Entity::find()
                .filter(Column::Base.eq(id.uuid()))
                .filter(Column::Position.gt(after))
                .filter(of_lost_attempts(reader).not())
                .order_by_asc(Column::Position)
        };
        let sizes: Vec<(i64, i64)> = seen()
            .select_only()
            .columns([Column::Position, Column::Length])
            .limit(SEGMENTS_MAX + 1)
            .into_tuple()
            .all(connection)
            .await
            .doing(DOING)?;
        let taken = fitting(&sizes, bytes_max);
        let Some(&(last, _)) = taken.last() else {
            return Ok(Segments { chunks: Vec::new(), last: after, more: false });
        };
        let chunks = seen()
            .filter(Column::Position.lte(last))
            .select_only()
            .column(Column::Chunks)
            .into_tuple()
            .all(connection)
            .await
            .doing(DOING)?;
        Ok(Segments { chunks, last, more: taken.len() < sizes.len() })
    }

    fn bases_of(&self, user: UserId) -> Select<knowledge_base::Entity> {
        knowledge_base::Entity::find()
            .filter(knowledge_base::Column::Tenant.eq(self.id.uuid()))
            .filter(knowledge_base::Column::UserId.eq(user.uuid()))
    }

    async fn base(
        &self,
        tx: &DatabaseTransaction,
        user: UserId,
        id: KnowledgeId,
    ) -> Result<knowledge_base::Model, Error> {
        self.bases_of(user)
            .filter(knowledge_base::Column::Id.eq(id.uuid()))
            .lock(LockType::NoKeyUpdate)
            .one(tx)
            .await
            .doing("locking a knowledge base")?
            .ok_or(NOT_FOUND)
    }

    async fn next_place(&self, tx: &DatabaseTransaction, id: KnowledgeId) -> Result<i64, Error> {
        let last: Option<i64> = knowledge_segment::Entity::find()
            .filter(knowledge_segment::Column::Base.eq(id.uuid()))
            .order_by_desc(knowledge_segment::Column::Position)
            .select_only()
            .column(knowledge_segment::Column::Position)
            .into_tuple()
            .one(tx)
            .await
            .doing("looking for the end of a knowledge base")?;
        Ok(last.map_or(0, |last| last + 1))
    }

    async fn knowledge_bytes(&self, tx: &DatabaseTransaction) -> Result<u64, Error> {
        // Postgres sums whole numbers to a decimal, which is none of ours.
        let sum = Expr::cust("CAST(COALESCE(SUM(length), 0) AS bigint)");
        let mine = knowledge_base::Entity::find()
            .select_only()
            .column(knowledge_base::Column::Id)
            .filter(knowledge_base::Column::Tenant.eq(self.id.uuid()));
        let sum: Option<i64> = knowledge_segment::Entity::find()
            .select_only()
            .column_as(sum, "bytes")
            .filter(
                knowledge_segment::Column::Base.in_subquery(sea_orm::QueryTrait::into_query(mine)),
            )
            .into_tuple()
            .one(tx)
            .await
            .doing("measuring knowledge")?;
        Ok(sum.and_then(|sum| u64::try_from(sum).ok()).unwrap_or(0))
    }
}

/// Whether the attempt is still held: it may have been lost since its worker asked.
async fn check_attempt(tx: &DatabaseTransaction, held: AttemptRef) -> Result<(), Error> {
    task::Entity::find_by_id((held.run.uuid(), i64::from(held.task)))
        .select_only()
        .column(task::Column::Attempt)
        .filter(task::Column::Attempt.eq(i64::from(held.attempt)))
        .filter(task::Column::LeaseWorker.is_not_null())
        .lock(LockType::Share)
        .into_tuple::<i64>()
        .one(tx)
        .await
        .doing("checking an attempt")?
        .map(drop)
        .ok_or(Error::NotFound { what: "attempt" })
}

/// What earlier attempts of the same task have added.
fn of_lost_attempts(present: AttemptRef) -> Condition {
    let AttemptRef { run: RunId(run), task, attempt } = present;
    Condition::all()
        .add(knowledge_segment::Column::Run.eq(run))
        .add(knowledge_segment::Column::Task.eq(i64::from(task)))
        .add(knowledge_segment::Column::Attempt.lt(i64::from(attempt)))
}

fn segment(
    id: KnowledgeId,
    new: &NewSegment,
    (position, length): (i64, u64),
) -> knowledge_segment::Model {
    knowledge_segment::Model {
        base: id.uuid(),
        position,
        run: new.attempt.run.uuid(),
        task: i64::from(new.attempt.task),
        attempt: i64::from(new.attempt.attempt),
        nth: i64::try_from(new.nth).unwrap_or(i64::MAX),
        length: i64::try_from(length).unwrap_or(i64::MAX),
        chunks: new.chunks.clone(),
    }
}

/// The first of these segments that have no more bytes together, and at least one.
fn fitting(sizes: &[(i64, i64)], bytes_max: u64) -> &[(i64, i64)] {
    let mut sum = 0_u64;
    let fit = sizes.iter().take_while(|(_, length)| {
        sum = sum.saturating_add(u64::try_from(*length).unwrap_or(0));
        sum <= bytes_max
    });
    let count = fit.count().max(1).min(usize::try_from(SEGMENTS_MAX).unwrap_or(usize::MAX));
    sizes.get(..count).unwrap_or(sizes)
}

fn view(row: knowledge_base::Model) -> Result<KnowledgeBase, Error> {
    Ok(KnowledgeBase {
        id: KnowledgeId(row.id),
        user: UserId(row.user_id),
        name: row.name,
        configuration: from_text("configuration of a knowledge base", &row.configuration)?,
        figures: from_text("figures of a knowledge base", &row.figures)?,
        created: Timestamp(row.created),
        updated: Timestamp(row.updated),
    })
}

#[cfg(test)]
mod tests {
    use super::fitting;

    #[test]
    fn an_answer_takes_what_fits_and_never_nothing() {
        let sizes = [(0, 400), (3, 300), (4, 400)];
        assert_eq!(fitting(&sizes, 700), &sizes[..2]);
        assert_eq!(fitting(&sizes, 10), &sizes[..1]);
        assert_eq!(fitting(&sizes, 5_000), &sizes);
        assert_eq!(fitting(&[], 10), &[]);
    }
}
