//! Bodies of payloads in object storage: a folder or a bucket, sealed with their tenant's data key.
//!
//! ```text
//! <prefix>/<tenant>/<SHA-256 of the body>/<object>      1 ‖ nonce ‖ ciphertext
//! ```
//! The last part is an id that is never used again: an object is written once, read, and deleted
//! once. So whoever deletes the object of a removed payload cannot hit the one that somebody else
//! has meanwhile written for the same content.
//!
//! # No object is lost and none is left behind
//! Objects and rows cannot change together, so the table `loose_objects` names every object that no
//! payload refers to, or may not:
//!
//! ```text
//! write    note it as loose ─▶ put the object ─▶ in one transaction: payload row, no longer loose
//! remove   in one transaction: payload row gone, loose ─▶ after a while: doom, delete, forget
//! ```
//! What dies on the way leaves a loose object. Whoever removes these first dooms them, so that an
//! upload that took longer than the grace finds its object doomed, and puts its body into the
//! database instead.

mod settings;
pub(crate) mod upload;

use std::collections::HashMap;
use std::sync::Arc;

use domain::id::TenantId;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use uuid::Uuid;

pub use settings::{PayloadStore, S3};

use crate::error::Error;

/// Smaller bodies stay in the database: there they cost less than a request, and most event logs
/// are such.
pub(crate) const OBJECT_BYTES_MIN: usize = domain::limits::INLINE_BYTES_MAX;

/// Uploads and removals at the same time, of one call.
const AT_ONCE: usize = 8;

/// An object store that is open.
#[derive(Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
}

/// Where one object is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Name {
    pub(crate) tenant: TenantId,
    pub(crate) sha256: Vec<u8>,
    pub(crate) object: Uuid,
}

/// Objects that were put ahead of the transaction that refers to them, by payload.
pub(crate) type Uploaded = HashMap<(TenantId, Vec<u8>), Uuid>;

impl std::fmt::Debug for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Objects").field("store", &self.store.to_string()).finish_non_exhaustive()
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/", self.tenant)?;
        self.sha256.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, "/{}", self.object)
    }
}

impl Objects {
    pub(crate) async fn put(&self, objects: Vec<(Name, Vec<u8>)>) -> Result<(), Error> {
        let put = objects.into_iter().map(|(name, bytes)| {
            let (store, path) = (Arc::clone(&self.store), self.path(&name));
            async move {
                let put = store.put(&path, PutPayload::from(bytes)).await;
                put.map(drop).map_err(|source| failed("writing a payload", source))
            }
        });
        futures::stream::iter(put).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// The bytes of an object, or `None` when there is none.
    pub(crate) async fn get(&self, name: &Name) -> Result<Option<Vec<u8>>, Error> {
        let read = async { self.store.get(&self.path(name)).await?.bytes().await };
        match read.await {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(failed("reading a payload", source)),
        }
    }

    /// Deletes objects; what is not there is deleted already.
    pub(crate) async fn delete(&self, names: &[Name]) -> Result<(), Error> {
        let paths: Vec<Path> = names.iter().map(|name| self.path(name)).collect();
        let delete = paths.into_iter().map(|path| {
            let store = Arc::clone(&self.store);
            async move {
                match store.delete(&path).await {
                    Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                    Err(source) => Err(failed("deleting payloads", source)),
                }
            }
        });
        futures::stream::iter(delete).buffer_unordered(AT_ONCE).try_collect().await
    }

    fn path(&self, name: &Name) -> Path {
        Path::from(format!("{}/{name}", self.prefix))
    }
}

fn failed(doing: &'static str, source: object_store::Error) -> Error {
    Error::Objects { doing, source: Box::new(source) }
}
