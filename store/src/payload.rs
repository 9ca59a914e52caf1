//! Values too large for a row, stored once per tenant under their hash.

use std::collections::BTreeMap;

use domain::id::TenantId;
use sea_orm::ActiveValue::Set;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder,
    TryInsertResult,
};
use sha2::{Digest, Sha256};

use crate::clock;
use crate::entity::{payload, payload_chunk};
use crate::error::{Doing, Error};

/// Both databases handle rows of this size well; larger ones would be copied in one piece.
const CHUNK_BYTES: usize = 1024 * 1024;

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
) -> Result<(), Error> {
    const DOING: &str = "storing a payload";
    let sorted: BTreeMap<_, _> =
        payloads.into_iter().map(|new| ((new.tenant, new.sha256), new.bytes)).collect();
    for ((tenant, sha256), bytes) in sorted {
        let row = payload::ActiveModel {
            tenant: Set(tenant.uuid()),
            sha256: Set(sha256.clone()),
            length: Set(i64::try_from(bytes.len()).unwrap_or(i64::MAX)),
            created: Set(clock::now().millis()),
        };
        let inserted = payload::Entity::insert(row)
            .on_conflict_do_nothing_on([payload::Column::Tenant, payload::Column::Sha256])
            .exec_without_returning(tx)
            .await
            .doing(DOING)?;
        if !matches!(inserted, TryInsertResult::Inserted(rows) if rows > 0) {
            continue;
        }
        for (position, chunk) in (0i64..).zip(bytes.chunks(CHUNK_BYTES)) {
            let row = payload_chunk::ActiveModel {
                tenant: Set(tenant.uuid()),
                sha256: Set(sha256.clone()),
                position: Set(position),
                bytes: Set(chunk.to_vec()),
            };
            payload_chunk::Entity::insert(row).exec_without_returning(tx).await.doing(DOING)?;
        }
    }
    Ok(())
}

/// Reads a payload and verifies that it is what its name says.
pub(crate) async fn read<C: ConnectionTrait>(
    connection: &C,
    tenant: TenantId,
    sha256: &[u8],
) -> Result<Vec<u8>, Error> {
    let chunks = payload_chunk::Entity::find()
        .filter(payload_chunk::Column::Tenant.eq(tenant.uuid()))
        .filter(payload_chunk::Column::Sha256.eq(sha256))
        .order_by_asc(payload_chunk::Column::Position)
        .all(connection)
        .await
        .doing("reading a payload")?;
    let bytes = chunks.into_iter().map(|chunk| chunk.bytes).collect::<Vec<_>>().concat();
    if Sha256::digest(&bytes).as_slice() != sha256 {
        return Err(Error::Corrupt { what: "payload" });
    }
    Ok(bytes)
}
