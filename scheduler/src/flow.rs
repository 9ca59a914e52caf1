//! A run's own view of its flow: tweaked by the caller, then filled in from variables, and the
//! part of it that is built.

use domain::flow::Graph;
use domain::selection::Scope;
use domain::{defaults, tweaks};
use proto::run::RunRequest;
use store::Variable;

/// The graph from which the cells of a run are cut; `variables` are all of the tenant's.
pub(crate) fn of_run(
    graph: &Graph,
    request: &RunRequest,
    variables: &[Variable],
) -> Result<Graph, tweaks::Error> {
    let mut graph = graph.clone();
    tweaks::apply(&mut graph, &request.tweaks, stream(request))?;
    let with_defaults = variables.iter().map(|v| (v.name.as_str(), v.default_fields.as_slice()));
    defaults::apply(&mut graph, with_defaults);
    Ok(graph)
}

/// What models are asked about streaming. Langflow asks nothing where a component runs a flow
/// without tweaks.
pub(crate) fn stream(request: &RunRequest) -> Option<bool> {
    let asks = request.child.is_none() || !request.tweaks.is_empty();
    asks.then_some(request.stream)
}

/// The part of the flow that the run builds.
pub(crate) fn scope(request: &RunRequest) -> Scope<'_> {
    Scope::of(request.start_component_id.as_deref(), request.stop_component_id.as_deref())
}
