//! From a flow to the version that runs: read, planned, stored when the content is new, and kept
//! in memory because a version never changes.

use std::sync::Arc;

use domain::flow::Graph;
use domain::id::{FlowId, TenantId, VersionId};
use domain::plan::{PLAN_VERSION, Plans};
use domain::runtime::{Needs, Runtimes, Warning};
use domain::time::Timestamp;
use moka::future::Cache;
use serde_json::Value;
use store::{Flow, FlowHeader, NewVersion, Tenant};

use crate::error::{Error, internal};

/// Most versions that are kept in memory: at about a megabyte each, a few hundred megabytes.
const VERSIONS_MAX: u64 = 256;

/// Most flows of which the current version is remembered: some hundred bytes each.
const FLOWS_MAX: u64 = 10_000;

/// A version ready to run.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) id: VersionId,
    pub(crate) graph: Graph,
    pub(crate) plans: Plans,
    /// What it needs of its runtime.
    pub(crate) needs: Needs,
    /// What its runtime changes for it, where that is not its own.
    pub(crate) warning: Option<Warning>,
    /// Nodes that another version of Langflow wrote, by its own reckoning.
    pub(crate) outdated: Vec<String>,
}

/// The version of Langflow whose answers these are; clients look at it.
pub(crate) const LANGFLOW_VERSION: &str = "1.13.0";

/// The versions in use.
#[derive(Clone, Debug)]
pub(crate) struct Versions {
    /// The key names the tenant, so none is ever served to another.
    cache: Cache<(TenantId, VersionId), Arc<Version>>,
    /// Flows whose current version was found to be what they need, at their last change.
    current: Cache<(TenantId, FlowId), (VersionId, Timestamp)>,
    runtimes: Arc<Runtimes>,
}

/// A version that was read or stored.
struct Known {
    id: VersionId,
    graph: Graph,
    plans: Plans,
    needs: Needs,
    outdated: Vec<String>,
}

impl Versions {
    pub(crate) fn new(runtimes: Runtimes) -> Self {
        let (cache, current) = (Cache::new(VERSIONS_MAX), Cache::new(FLOWS_MAX));
        Self { cache, current, runtimes: Arc::new(runtimes) }
    }

    /// The version of this id.
    pub(crate) async fn get(&self, tenant: &Tenant, id: VersionId) -> Result<Arc<Version>, Error> {
        if let Some(version) = self.cache.get(&(tenant.id(), id)).await {
            return Ok(version);
        }
        let stored = tenant.version(id).await?;
        let graph = Graph::read(&stored.data)?;
        let plans = serde_json::from_value(stored.plan)
            .map_err(|error| internal("reading a stored plan", &error))?;
        let (outdated, needs) = (outdated(&stored.data), stored.needs);
        Ok(self.keep(tenant, Known { id, graph, plans, needs, outdated }).await)
    }

    /// The version of a flow that runs now, without reading the flow's graph where nothing of the
    /// flow changed since the last run.
    pub(crate) async fn current_of(
        &self,
        tenant: &Tenant,
        flow: &FlowHeader,
    ) -> Result<Arc<Version>, Error> {
        let known = self.current.get(&(tenant.id(), flow.id)).await;
        match known.filter(|(id, at)| flow.current_version == Some(*id) && flow.updated == *at) {
            Some((id, _)) => self.get(tenant, id).await,
            None => self.current(tenant, &tenant.flow(flow.id).await?).await,
        }
    }

    /// The version of a flow that runs now. A flow whose graph or needs changed since is planned
    /// first.
    pub(crate) async fn current(
        &self,
        tenant: &Tenant,
        flow: &Flow,
    ) -> Result<Arc<Version>, Error> {
        let needs = self.runtimes.needs(&flow.export, &flow.data, &flow.requirements);
        if let Some(id) = flow.header.current_version {
            let version = self.get(tenant, id).await?;
            // A plan that an older program wrote may mean something else by now.
            if version.plans.version() == PLAN_VERSION && version.needs == needs {
                let key = (tenant.id(), flow.header.id);
                self.current.insert(key, (id, flow.header.updated)).await;
                return Ok(version);
            }
        }
        let planned = planned_for(tenant, &flow.data).await?;
        self.put(tenant, flow, planned).await
    }

    /// Stores a planned flow's current version.
    pub(crate) async fn put(
        &self,
        tenant: &Tenant,
        flow: &Flow,
        (graph, plans): (Graph, Plans),
    ) -> Result<Arc<Version>, Error> {
        let needs = self.runtimes.needs(&flow.export, &flow.data, &flow.requirements);
        let stored =
            serde_json::to_value(&plans).map_err(|error| internal("writing a plan", &error))?;
        let new = NewVersion { data: &flow.data, plan: &stored, needs: &needs };
        let id = tenant.put_new_version(flow.header.id, new).await?;
        let outdated = outdated(&flow.data);
        Ok(self.keep(tenant, Known { id, graph, plans, needs, outdated }).await)
    }

    async fn keep(&self, tenant: &Tenant, known: Known) -> Arc<Version> {
        let Known { id, graph, plans, needs, outdated } = known;
        let warning = self.runtimes.warning(&needs, &graph);
        let version = Arc::new(Version { id, graph, plans, needs, warning, outdated });
        self.cache.insert((tenant.id(), version.id), Arc::clone(&version)).await;
        version
    }
}

/// Reads and plans a graph, or says everything that is wrong with it.
pub(crate) fn planned(data: &Value) -> Result<(Graph, Plans), Error> {
    let graph = Graph::read(data)?;
    let plans = Plans::of(&graph)?;
    Ok((graph, plans))
}

/// The same, with what the tenant's runs have shown of the components.
pub(crate) async fn planned_for(tenant: &Tenant, data: &Value) -> Result<(Graph, Plans), Error> {
    let graph = Graph::read(data)?;
    let plans = Plans::with_observed(&graph, &tenant.observed(&graph).await?)?;
    Ok((graph, plans))
}

/// Nodes that name a version and not the current one, in the export's order.
fn outdated(data: &Value) -> Vec<String> {
    let nodes = data.get("nodes").and_then(Value::as_array);
    let is_outdated = |node: &&Value| {
        let version = node.pointer("/data/node").and_then(|node| node.get("lf_version"));
        version.is_some_and(|version| version != LANGFLOW_VERSION)
    };
    let id = |node: &Value| node.get("id").and_then(Value::as_str).map(str::to_owned);
    nodes.into_iter().flatten().filter(is_outdated).filter_map(id).collect()
}
