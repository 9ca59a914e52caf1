//! The bytes of files, in pieces.

use domain::id::FileId;
use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter};
use uuid::Uuid;

use crate::connect::Store;
use crate::entity::file_chunk;
use crate::error::{Doing, Error};

/// Both databases handle rows of this size well, and so does a message on the bus.
pub(super) const CHUNK_BYTES: usize = 1024 * 1024;

pub(super) async fn write(
    tx: &DatabaseTransaction,
    file: FileId,
    content: Uuid,
    bytes: Vec<u8>,
) -> Result<(), Error> {
    for (position, chunk) in (0i64..).zip(bytes.chunks(CHUNK_BYTES)) {
        let row = file_chunk::ActiveModel {
            file: Set(file.uuid()),
            content: Set(content),
            position: Set(position),
            bytes: Set(chunk.to_vec()),
        };
        file_chunk::Entity::insert(row)
            .exec_without_returning(tx)
            .await
            .doing("storing a file's content")?;
    }
    Ok(())
}

pub(super) async fn read(
    store: &Store,
    file: FileId,
    content: Uuid,
    position: i64,
) -> Result<Option<Vec<u8>>, Error> {
    let row = file_chunk::Entity::find_by_id((file.uuid(), content, position))
        .one(store.read())
        .await
        .doing("reading a file's content")?;
    Ok(row.map(|row| row.bytes))
}

pub(super) async fn delete(
    tx: &DatabaseTransaction,
    file: FileId,
    content: Uuid,
) -> Result<(), Error> {
    file_chunk::Entity::delete_many()
        .filter(file_chunk::Column::File.eq(file.uuid()))
        .filter(file_chunk::Column::Content.eq(content))
        .exec(tx)
        .await
        .doing("deleting a file's old content")?;
    Ok(())
}
