//! Values too large for a row, stored once per tenant under their hash.
//!
//! # A payload that goes while somebody comes to refer to it
//! A writer that finds its payload stored already does not store it again. If that payload is one
//! that nobody refers to any more, [`remove`] may be about to take it away:
//!
//! ```text
//! writer   finds it ─▶ touches the row (locks it) ─▶ refers to it ─▶ commits
//! remover  locks the row unless it is locked ─▶ looks again, with the lock ─▶ deletes ─▶ commits
//! ```
//!
//! - The writer is first: the remover passes the locked row over; or it comes after the commit, and
//!   the row was touched a moment ago, which is less than the grace of an hour.
//! - The remover is first: the writer waits for its commit, finds that its touch changed no row, and
//!   stores the payload anew.
//! - A writer from before the column `touched` locks nothing. Then the foreign keys of the rows that
//!   refer to payloads refuse one of the two transactions: something fails, and nothing dangles.
//!
//! The grace is not what makes this right; it spares what is often stored, referred to and left.
//! On SQLite there is one writer at a time and nothing of this can happen.

use std::collections::BTreeMap;

use domain::id::{RunId, TenantId};
use domain::time::Timestamp;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{
    Expr, ExprTrait, IntoColumnRef, LockBehavior, LockType, Query, SelectStatement,
};
use sea_orm::{
    ColumnTrait, Condition, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    TryInsertResult,
};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::clock;
use crate::connect::Store;
use crate::entity::{human_request, payload, payload_chunk, result, run};
use crate::error::{Doing, Error};
use crate::objects::{Name, Uploaded, upload};

/// Both databases handle rows of this size well; larger ones would be copied in one piece.
const CHUNK_BYTES: usize = 1024 * 1024;

/// Why results cannot be referred to any more.
pub(crate) const REMOVED: &str = "the run's results were removed meanwhile";

/// Bytes on their way into the store.
pub(crate) struct NewPayload {
    pub(crate) tenant: TenantId,
    pub(crate) sha256: Vec<u8>,
    pub(crate) bytes: Vec<u8>,
}

impl NewPayload {
    pub(crate) fn new(tenant: TenantId, bytes: Vec<u8>) -> Self {
        Self { tenant, sha256: Sha256::digest(&bytes).to_vec(), bytes }
    }
}

/// Stores payloads that are not there yet. They are stored in the order of their keys, so that two
/// transactions with the same payloads wait for each other instead of blocking each other.
pub(crate) async fn insert(
    tx: &DatabaseTransaction,
    payloads: Vec<NewPayload>,
    uploaded: &Uploaded,
) -> Result<(), Error> {
    let sorted: BTreeMap<_, _> =
        payloads.into_iter().map(|new| ((new.tenant, new.sha256), new.bytes)).collect();
    for ((tenant, sha256), bytes) in sorted {
        // Each turn but the last one means that somebody removed the payload in between.
        loop {
            let key = (tenant, sha256.clone());
            let object = match uploaded.get(&key) {
                Some(object) if upload::take(tx, *object).await? => Some(*object),
                Some(_) | None => None,
            };
            if insert_row(tx, &key, bytes.len(), object).await? {
                if object.is_none() {
                    insert_chunks(tx, tenant, &sha256, &bytes).await?;
                }
                break;
            }
            if let Some(object) = object {
                upload::give_back(tx, tenant, &sha256, object).await?;
            }
            if touch(tx, tenant, &sha256).await? {
                break;
            }
        }
    }
    Ok(())
}

/// Whether there was no such payload. On Postgres this waits for a transaction that is storing or
/// removing it.
async fn insert_row(
    tx: &DatabaseTransaction,
    (tenant, sha256): &(TenantId, Vec<u8>),
    length: usize,
    object: Option<Uuid>,
) -> Result<bool, Error> {
    let row = payload::ActiveModel {
        tenant: Set(tenant.uuid()),
        sha256: Set(sha256.clone()),
        length: Set(i64::try_from(length).unwrap_or(i64::MAX)),
        created: Set(clock::now().millis()),
        touched: Set(None),
        object: Set(object),
    };
    let inserted = payload::Entity::insert(row)
        .on_conflict_do_nothing_on([payload::Column::Tenant, payload::Column::Sha256])
        .exec_without_returning(tx)
        .await
        .doing("storing a payload")?;
    Ok(matches!(inserted, TryInsertResult::Inserted(rows) if rows > 0))
}

async fn insert_chunks(
    tx: &DatabaseTransaction,
    tenant: TenantId,
    sha256: &[u8],
    bytes: &[u8],
) -> Result<(), Error> {
    for (position, chunk) in (0i64..).zip(bytes.chunks(CHUNK_BYTES)) {
        let row = payload_chunk::ActiveModel {
            tenant: Set(tenant.uuid()),
            sha256: Set(sha256.to_vec()),
            position: Set(position),
            bytes: Set(chunk.to_vec()),
        };
        payload_chunk::Entity::insert(row)
            .exec_without_returning(tx)
            .await
            .doing("storing a payload")?;
    }
    Ok(())
}

/// Marks a payload as wanted just now; false when it is gone.
async fn touch(tx: &DatabaseTransaction, tenant: TenantId, sha256: &[u8]) -> Result<bool, Error> {
    let touched = payload::Entity::update_many()
        .col_expr(payload::Column::Touched, clock::now().millis().into())
        .filter(payload::Column::Tenant.eq(tenant.uuid()))
        .filter(payload::Column::Sha256.eq(sha256))
        .exec(tx)
        .await
        .doing("storing a payload")?;
    Ok(touched.rows_affected > 0)
}

/// Holds the payloads of these results, in the order of their keys, until rows of this transaction
/// refer to them.
pub(crate) async fn hold(
    tx: &DatabaseTransaction,
    tenant: TenantId,
    results: Expr,
) -> Result<(), Error> {
    let hashes: Vec<Vec<u8>> = result::Entity::find()
        .select_only()
        .column(result::Column::Payload)
        .distinct()
        .filter(results)
        .filter(result::Column::Payload.is_not_null())
        .order_by_asc(result::Column::Payload)
        .into_tuple()
        .all(tx)
        .await
        .doing("holding payloads")?;
    for sha256 in hashes {
        if !touch(tx, tenant, &sha256).await? {
            return Err(Error::Conflict { what: REMOVED });
        }
    }
    Ok(())
}

/// Reads a payload and verifies that it is what its name says; the run is the one that refers to
/// it.
pub(crate) async fn read(
    store: &Store,
    tenant: TenantId,
    sha256: &[u8],
    run: RunId,
) -> Result<Vec<u8>, Error> {
    const DOING: &str = "reading a payload";
    let chunks = payload_chunk::Entity::find()
        .filter(payload_chunk::Column::Tenant.eq(tenant.uuid()))
        .filter(payload_chunk::Column::Sha256.eq(sha256))
        .order_by_asc(payload_chunk::Column::Position)
        .all(store.read())
        .await
        .doing(DOING)?;
    if chunks.is_empty() {
        let row = payload::Entity::find_by_id((tenant.uuid(), sha256.to_vec()))
            .one(store.read())
            .await
            .doing(DOING)?;
        if let Some(object) = row.and_then(|row| row.object) {
            return upload::read(store, Name { tenant, sha256: sha256.to_vec(), object }, run)
                .await;
        }
    }
    let bytes = chunks.into_iter().map(|chunk| chunk.bytes).collect::<Vec<_>>().concat();
    if Sha256::digest(&bytes).as_slice() != sha256 {
        return Err(Error::Corrupt { what: "payload" });
    }
    Ok(bytes)
}

/// Removes those of these payloads that nobody refers to, and that nobody wanted since
/// `untouched_since`; tells how many.
pub(crate) async fn remove(
    tx: &DatabaseTransaction,
    tenant: TenantId,
    hashes: &[Vec<u8>],
    untouched_since: Timestamp,
) -> Result<u64, Error> {
    const DOING: &str = "removing payloads";
    let locked: Vec<Vec<u8>> = payload::Entity::find()
        .select_only()
        .column(payload::Column::Sha256)
        .filter(unreferred(tenant, hashes, untouched_since))
        .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
        .into_tuple()
        .all(tx)
        .await
        .doing(DOING)?;
    if locked.is_empty() {
        return Ok(0);
    }
    // A statement of its own: it sees what was committed until the rows were locked.
    let removed = payload::Entity::delete_many()
        .filter(unreferred(tenant, &locked, untouched_since))
        .exec_with_returning(tx)
        .await
        .doing(DOING)?;
    let count = u64::try_from(removed.len()).unwrap_or(u64::MAX);
    for payload in removed {
        if let Some(object) = payload.object {
            upload::give_back(tx, tenant, &payload.sha256, object).await?;
        }
    }
    Ok(count)
}

fn unreferred(tenant: TenantId, hashes: &[Vec<u8>], untouched_since: Timestamp) -> Condition {
    let touched =
        Expr::cust("COALESCE(payloads.touched, payloads.created)").lt(untouched_since.millis());
    let condition = Condition::all()
        .add(payload::Column::Tenant.eq(tenant.uuid()))
        .add(payload::Column::Sha256.is_in(hashes.iter().cloned()))
        .add(touched);
    references()
        .into_iter()
        .fold(condition, |condition, reference| condition.add(Expr::exists(reference).not()))
}

/// Whoever may refer to a payload.
fn references() -> [SelectStatement; 3] {
    let logs = Query::select()
        .expr(Expr::val(1))
        .from(run::Entity)
        .and_where(is_tenant((run::Entity, run::Column::Tenant)))
        .and_where(is_hash((run::Entity, run::Column::EventLog)))
        .take();
    let results = Query::select()
        .expr(Expr::val(1))
        .from(result::Entity)
        .and_where(is_tenant((result::Entity, result::Column::Tenant)))
        .and_where(is_hash((result::Entity, result::Column::Payload)))
        .take();
    let saved = Query::select()
        .expr(Expr::val(1))
        .from(human_request::Entity)
        .and_where(is_tenant((human_request::Entity, human_request::Column::Tenant)))
        .and_where(is_hash((human_request::Entity, human_request::Column::Saved)))
        .take();
    [logs, results, saved]
}

fn is_tenant(column: impl IntoColumnRef) -> Expr {
    Expr::col(column).equals((payload::Entity, payload::Column::Tenant))
}

fn is_hash(column: impl IntoColumnRef) -> Expr {
    Expr::col(column).equals((payload::Entity, payload::Column::Sha256))
}
