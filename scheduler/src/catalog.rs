//! Flow versions, read once: they never change, and reading a large graph takes milliseconds.

use std::borrow::Cow;
use std::sync::Arc;

use domain::flow::Graph;
use domain::id::VersionId;
use domain::plan::{Isolation, Plan, Plans, UnknownIsolation};
use moka::future::Cache;
use store::{RunRecord, Store};

use crate::error::Error;

/// Versions kept in memory: a few megabytes each at worst.
const VERSIONS_MAX: u64 = 256;

/// A version ready for use.
#[derive(Debug)]
pub(crate) struct Version {
    /// Its graph, groups flattened.
    pub(crate) graph: Graph,
    /// Its plans.
    plans: Plans,
}

impl Version {
    /// The plan that a run follows: its own, once it was planned anew.
    pub(crate) fn plan(&self, record: &RunRecord) -> Result<Cow<'_, Plan>, Error> {
        match &record.plan {
            Some(plan) => Ok(Cow::Owned(serde_json::from_value(plan.clone())?)),
            None => Ok(Cow::Borrowed(self.plans.under(isolation(record)?))),
        }
    }
}

/// The isolation under which a run was planned.
pub(crate) fn isolation(record: &RunRecord) -> Result<Isolation, Error> {
    let version = record.flow_version;
    let unusable = |error: UnknownIsolation| Error::Version { version, why: error.to_string() };
    record.isolation.parse().map_err(unusable)
}

/// The versions in use.
#[derive(Debug)]
pub(crate) struct Catalog {
    store: Store,
    versions: Cache<VersionId, Arc<Version>>,
}

impl Catalog {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, versions: Cache::new(VERSIONS_MAX) }
    }

    /// The version.
    pub(crate) async fn version(&self, id: VersionId) -> Result<Arc<Version>, Error> {
        if let Some(version) = self.versions.get(&id).await {
            return Ok(version);
        }
        let (data, plan) = self.store.engine().version_data(id).await?;
        let unusable = |why: String| Error::Version { version: id, why };
        let graph = Graph::read(&data).map_err(|error| unusable(error.to_string()))?;
        let plans: Plans =
            serde_json::from_value(plan).map_err(|error| unusable(error.to_string()))?;
        let version = Arc::new(Version { graph, plans });
        self.versions.insert(id, Arc::clone(&version)).await;
        Ok(version)
    }
}
