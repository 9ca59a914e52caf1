//! What rows and objects have to do with each other: uploads, loose objects, reading.

use domain::id::{RunId, TenantId};
use domain::time::Timestamp;
use sea_orm::ActiveValue::Set;
use sea_orm::{
    ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Name, OBJECT_BYTES_MIN, Uploaded};
use crate::clock;
use crate::connect::Store;
use crate::entity::{loose_object, payload, tenant};
use crate::error::{Doing, Error, ObjectFault};
use crate::payload::NewPayload;
use crate::seal::{DataKey, Place};

/// Puts the bodies of payloads that are not stored yet into object storage, where there is any.
/// A payload that is removed after this look at it is stored in the database.
pub(crate) async fn upload(store: &Store, payloads: &[NewPayload]) -> Result<Uploaded, Error> {
    let mut uploaded = Uploaded::new();
    let Some(objects) = store.objects() else { return Ok(uploaded) };
    let (mut put, mut loose) = (Vec::new(), Vec::new());
    for new in payloads {
        let key = (new.tenant, new.sha256.clone());
        let is_small = new.bytes.len() < OBJECT_BYTES_MIN;
        if is_small || uploaded.contains_key(&key) || is_stored(store, new).await? {
            continue;
        }
        let object = Uuid::now_v7();
        let sealed = data_key(store, new.tenant).await?.seal_bytes(
            new.tenant,
            Place::Payload(&new.sha256),
            &new.bytes,
        );
        let name = Name { tenant: new.tenant, sha256: new.sha256.clone(), object };
        loose.push(loose_row(&name));
        put.push((name, sealed));
        uploaded.insert(key, object);
    }
    if !put.is_empty() {
        const DOING: &str = "noting an upload";
        let tx = store.begin(DOING).await?;
        loose_object::Entity::insert_many(loose).exec_without_returning(&tx).await.doing(DOING)?;
        tx.commit().await.doing(DOING)?;
        objects.put(put).await?;
    }
    Ok(uploaded)
}

/// Makes an uploaded object the one of a payload; false when it is doomed or deleted already.
pub(crate) async fn take(tx: &DatabaseTransaction, object: Uuid) -> Result<bool, Error> {
    let taken = loose_object::Entity::delete_many()
        .filter(loose_object::Column::Object.eq(object))
        .filter(loose_object::Column::Doomed.eq(false))
        .exec(tx)
        .await
        .doing("storing a payload")?;
    Ok(taken.rows_affected > 0)
}

/// Notes that no payload refers to the object any more.
pub(crate) async fn give_back(
    tx: &DatabaseTransaction,
    tenant: TenantId,
    sha256: &[u8],
    object: Uuid,
) -> Result<(), Error> {
    let name = Name { tenant, sha256: sha256.to_vec(), object };
    loose_object::Entity::insert(loose_row(&name))
        .exec_without_returning(tx)
        .await
        .doing("noting a loose object")
        .map(drop)
}

/// Reads an object and verifies that it is what its name says.
pub(crate) async fn read(store: &Store, name: Name, run: RunId) -> Result<Vec<u8>, Error> {
    let unreadable = |fault| Error::PayloadUnreadable { run, object: name.to_string(), fault };
    let objects = store.objects().ok_or_else(|| unreadable(ObjectFault::NotConfigured))?;
    let sealed = objects.get(&name).await?.ok_or_else(|| unreadable(ObjectFault::Missing))?;
    let key = data_key(store, name.tenant).await?;
    let opened = key.open_bytes(name.tenant, Place::Payload(&name.sha256), &sealed);
    let bytes = opened.map_err(|_| unreadable(ObjectFault::Damaged))?.to_vec();
    if Sha256::digest(&bytes).as_slice() != name.sha256 {
        return Err(unreadable(ObjectFault::Damaged));
    }
    Ok(bytes)
}

/// Deletes objects that no payload refers to since `before`; tells how many.
pub(crate) async fn remove_loose(
    store: &Store,
    before: Timestamp,
    limit: u64,
) -> Result<u64, Error> {
    const DOING: &str = "removing loose objects";
    let Some(objects) = store.objects() else { return Ok(0) };
    let old: Vec<Uuid> = loose_object::Entity::find()
        .select_only()
        .column(loose_object::Column::Object)
        .filter(loose_object::Column::Since.lt(before.millis()))
        .order_by_asc(loose_object::Column::Since)
        .limit(limit)
        .into_tuple()
        .all(store.read())
        .await
        .doing(DOING)?;
    if old.is_empty() {
        return Ok(0);
    }
    let tx = store.begin(DOING).await?;
    let doomed = loose_object::Entity::update_many()
        .col_expr(loose_object::Column::Doomed, true.into())
        .filter(loose_object::Column::Object.is_in(old))
        .exec_with_returning(&tx)
        .await
        .doing(DOING)?;
    tx.commit().await.doing(DOING)?;
    let ids: Vec<Uuid> = doomed.iter().map(|row| row.object).collect();
    let name = |row: loose_object::Model| Name {
        tenant: TenantId(row.tenant),
        sha256: row.sha256,
        object: row.object,
    };
    objects.delete(&doomed.into_iter().map(name).collect::<Vec<_>>()).await?;
    let tx = store.begin(DOING).await?;
    let forgotten = loose_object::Entity::delete_many()
        .filter(loose_object::Column::Object.is_in(ids))
        .exec(&tx)
        .await
        .doing(DOING)?;
    tx.commit().await.doing(DOING)?;
    Ok(forgotten.rows_affected)
}

fn loose_row(name: &Name) -> loose_object::ActiveModel {
    loose_object::ActiveModel {
        object: Set(name.object),
        tenant: Set(name.tenant.uuid()),
        sha256: Set(name.sha256.clone()),
        since: Set(clock::now().millis()),
        doomed: Set(false),
    }
}

async fn is_stored(store: &Store, new: &NewPayload) -> Result<bool, Error> {
    let row = payload::Entity::find_by_id((new.tenant.uuid(), new.sha256.clone()))
        .one(store.read())
        .await
        .doing("looking for a payload")?;
    Ok(row.is_some())
}

async fn data_key(store: &Store, tenant: TenantId) -> Result<DataKey, Error> {
    let row = tenant::Entity::find_by_id(tenant.uuid())
        .one(store.read())
        .await
        .doing("reading a data key")?
        .ok_or(Error::NotFound { what: "tenant" })?;
    store.key().unwrap_key(tenant, &row.data_key).map_err(|_| Error::WrongKey)
}
