//! How a flow is split into cells, and why.

use axum::Json;
use axum::extract::{Path, State};
use domain::id::{FlowId, VersionId};
use domain::plan::{Cell, Explanation, Isolation};
use domain::retry::RetryPolicy;
use domain::terms::{TaskTerms, Terms};
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
    /// How each cell is retried, and whose workers run it.
    terms: Vec<TermsView>,
    #[serde(flatten)]
    plan: Explanation,
}

/// On which terms a cell of a new run would run.
#[derive(Debug, Serialize)]
pub(crate) struct TermsView {
    /// The cell's index.
    cell: u32,
    /// The pool; none is the schedulers' own.
    pool: Option<String>,
    retry: RetryPolicy,
    /// Why it cannot run on what is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
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
    let (_, settings) = tenant.admission_for(flow.header.id).await?;
    let retry = app.config.retry.with(&settings.retry);
    let terms = Terms { graph: &version.graph, settings: &settings, retry: &retry };
    let plan = version.plans.under(isolation);
    Ok(Json(PlanView {
        flow_id: flow.header.id,
        flow_name: flow.header.name,
        version_id: version.id,
        isolation,
        terms: plan.cells.iter().map(|cell| of_cell(&terms, cell)).collect(),
        plan: plan.explain(&version.graph),
    }))
}

fn of_cell(terms: &Terms<'_>, cell: &Cell) -> TermsView {
    let problem = terms.of_cell(cell).err().map(|conflict| conflict.to_string());
    let TaskTerms { retry, pool } = terms.of_cell_anyhow(cell);
    TermsView {
        cell: cell.index,
        pool: pool.or_else(|| terms.settings.pool.clone()).filter(|_| problem.is_none()),
        retry: retry.unwrap_or_else(|| terms.retry.clone()),
        problem,
    }
}
