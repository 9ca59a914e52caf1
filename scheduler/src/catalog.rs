//! Flow versions, read once: they never change, and reading a large graph takes milliseconds.

use std::borrow::Cow;
use std::sync::Arc;

use domain::flow::Graph;
use domain::id::VersionId;
use domain::plan::{Isolation, PLAN_VERSION, Plan, Plans, UnknownIsolation};
use domain::runtime::{Needs, Runtimes};
use moka::future::Cache;
use store::{Flow, NewVersion, RunRecord, Store, Tenant};

use crate::error::Error;

/// Versions kept in memory: a few megabytes each at worst.
const VERSIONS_MAX: u64 = 256;

/// A version ready for use.
#[derive(Debug)]
pub(crate) struct Version {
    /// Its graph, groups flattened.
    pub(crate) graph: Graph,
    /// What it needs of its runtime.
    pub(crate) needs: Needs,
    /// Its plans.
    plans: Plans,
}

impl Version {
    /// Whether this program planned it, or one that plans alike.
    pub(crate) fn is_current(&self) -> bool {
        self.plans.version() == PLAN_VERSION
    }

    /// The plan under an isolation.
    pub(crate) fn under(&self, isolation: Isolation) -> &Plan {
        self.plans.under(isolation)
    }

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
    runtimes: Runtimes,
    versions: Cache<VersionId, Arc<Version>>,
}

impl Catalog {
    pub(crate) fn new(store: Store, runtimes: Runtimes) -> Self {
        Self { store, runtimes, versions: Cache::new(VERSIONS_MAX) }
    }

    /// The version of a flow that runs now, with its id. A flow whose graph or needs changed since
    /// is planned first; `Err` inside says why it cannot run.
    pub(crate) async fn current(
        &self,
        tenant: &Tenant,
        flow: &Flow,
    ) -> Result<Result<(VersionId, Arc<Version>), String>, Error> {
        let needs = self.runtimes.needs(&flow.export, &flow.data, &flow.requirements);
        if let Some(id) = flow.header.current_version {
            let version = self.version(id).await?;
            if version.is_current() && version.needs == needs {
                return Ok(Ok((id, version)));
            }
        }
        let graph = match Graph::read(&flow.data) {
            Ok(graph) => graph,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let plans = match Plans::with_observed(&graph, &tenant.observed(&graph).await?) {
            Ok(plans) => plans,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let stored = serde_json::to_value(&plans)?;
        let new = NewVersion { data: &flow.data, plan: &stored, needs: &needs };
        let id = tenant.put_new_version(flow.header.id, new).await?;
        let version = Arc::new(Version { graph, needs, plans });
        self.versions.insert(id, Arc::clone(&version)).await;
        Ok(Ok((id, version)))
    }

    /// The version.
    pub(crate) async fn version(&self, id: VersionId) -> Result<Arc<Version>, Error> {
        if let Some(version) = self.versions.get(&id).await {
            return Ok(version);
        }
        let (data, plan, needs) = self.store.engine().version_data(id).await?;
        let unusable = |why: String| Error::Version { version: id, why };
        let graph = Graph::read(&data).map_err(|error| unusable(error.to_string()))?;
        let plans: Plans =
            serde_json::from_value(plan).map_err(|error| unusable(error.to_string()))?;
        let version = Arc::new(Version { graph, needs, plans });
        self.versions.insert(id, Arc::clone(&version)).await;
        Ok(version)
    }
}
