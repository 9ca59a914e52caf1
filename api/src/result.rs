//! Langflow's run response, put together from what the cells of a run gave.

use std::borrow::Cow;

use domain::id::RunId;
use domain::plan::{Plan, UnknownIsolation};
use domain::selection::{self, OutputType};
use proto::run::RunRequest;
use serde_json::{Value, json};
use store::{RunView, Tenant};

use crate::app::App;
use crate::error::{Error, internal};
use crate::versions::Version;

/// `{"session_id", "outputs": [{"inputs", "outputs": [ResultData, …]}]}` of a completed run.
pub(crate) async fn response(app: &App, tenant: &Tenant, run: RunId) -> Result<Value, Error> {
    let view = tenant.run(run).await?;
    of(app, tenant, &view).await
}

/// The same, of a run that is loaded already.
pub(crate) async fn of(app: &App, tenant: &Tenant, view: &RunView) -> Result<Value, Error> {
    let request: RunRequest = serde_json::from_value(view.request.clone())
        .map_err(|error| internal("reading a stored run request", &error))?;
    let version = app.versions.get(tenant, view.header.version).await?;
    let plan = plan_of(&version, view.plan.as_ref(), &view.header.isolation)?;
    let component = Some(request.output_component.as_str());
    let nodes = selection::outputs(&version.graph, component, output_type(&request.output_type));
    let mut cells: Vec<String> = Vec::new();
    for cell in nodes.iter().filter_map(|node| plan.cell_of(node)) {
        if !cells.contains(&cell.id) {
            cells.push(cell.id.clone());
        }
    }
    let mut results = tenant.results(view.header.id, &cells).await?;
    // Nodes that were not built (an untaken branch) are left out, as in Langflow.
    let built = nodes.iter().filter_map(|node| {
        let cell = plan.cell_of(node)?;
        Some(results.get_mut(&cell.id)?.nodes.remove(node)?.result)
    });
    let outputs: Vec<Value> = built.collect();
    let inputs = match &request.input_value {
        Some(value) => json!({"input_value": value}),
        None => json!({}),
    };
    let outputs = json!([{"inputs": inputs, "outputs": outputs}]);
    Ok(json!({"session_id": request.session_id, "outputs": outputs}))
}

/// The plan that a run follows: its own once it was planned anew, else its version's.
pub(crate) fn plan_of<'v>(
    version: &'v Version,
    own: Option<&Value>,
    isolation: &str,
) -> Result<Cow<'v, Plan>, Error> {
    if let Some(plan) = own {
        let plan = serde_json::from_value(plan.clone());
        return plan.map(Cow::Owned).map_err(|error| internal("reading the plan of a run", &error));
    }
    let unknown = |error: UnknownIsolation| internal("reading a run", &error);
    let isolation = isolation.parse().map_err(unknown)?;
    Ok(Cow::Borrowed(version.plans.under(isolation)))
}

/// The output type of this name. Names are checked where requests are read.
fn output_type(name: &str) -> OutputType {
    match name {
        "text" => OutputType::Text,
        "any" => OutputType::Any,
        "debug" => OutputType::Debug,
        _ => OutputType::Chat,
    }
}
