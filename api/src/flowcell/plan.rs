//! How a flow is split into cells, and why.

use axum::Json;
use axum::extract::{Path, State};
use domain::id::{FlowId, VersionId};
use domain::plan::{Explanation, Isolation};
use serde::Serialize;

use crate::app::App;
use crate::auth::Principal;
use crate::error::Error;
use crate::extract::Params;
use crate::flowcell::runs;

/// A flow's plan for reading.
#[derive(Debug, Serialize)]
pub(crate) struct PlanView {
    flow_id: FlowId,
    flow_name: String,
    version_id: VersionId,
    isolation: Isolation,
    #[serde(flatten)]
    plan: Explanation,
}

/// `GET /api/flowcell/v1/flows/{id_or_name}/plan?isolation=`.
pub(crate) async fn get(
    State(app): State<App>,
    principal: Principal,
    Path(name): Path<String>,
    params: Params,
) -> Result<Json<PlanView>, Error> {
    let isolation = match params.text("isolation") {
        Some(name) => runs::isolation(name)?,
        None => app.config.isolation,
    };
    let tenant = app.tenant(&principal);
    let flow = runs::find(&tenant, &name).await?;
    let version = app.versions.current(&tenant, &flow).await?;
    Ok(Json(PlanView {
        flow_id: flow.header.id,
        flow_name: flow.header.name,
        version_id: version.id,
        isolation,
        plan: version.plans.under(isolation).explain(&version.graph),
    }))
}
