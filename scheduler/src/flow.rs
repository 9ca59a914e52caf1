//! A run's own view of its flow: tweaked by the caller, then filled in from variables, and the
//! part of it that is built.

use domain::flow::Graph;
use domain::selection::Scope;
use domain::{defaults, tweaks};
use proto::run::RunRequest;
use store::Tenant;

use crate::error::Error;

/// The graph from which the cells of a run are cut.
pub(crate) async fn of_run(
    tenant: &Tenant,
    graph: &Graph,
    request: &RunRequest,
) -> Result<Result<Graph, tweaks::Error>, Error> {
    let mut graph = graph.clone();
    if let Err(refused) = tweaks::apply(&mut graph, &request.tweaks, request.stream) {
        return Ok(Err(refused));
    }
    let variables = tenant.variables().await?;
    let with_defaults = variables.iter().map(|v| (v.name.as_str(), v.default_fields.as_slice()));
    defaults::apply(&mut graph, with_defaults);
    Ok(Ok(graph))
}

/// The part of the flow that the run builds.
pub(crate) fn scope(request: &RunRequest) -> Scope<'_> {
    Scope::of(request.start_component_id.as_deref(), request.stop_component_id.as_deref())
}
