//! Flows: make, list, read, change, delete.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use domain::id::FlowId;
use serde_json::{Map, Value, json};
use store::{Flow, FlowFilter, FlowPatch, NewFlow, Page, Tenant};

use super::flow_body;
use crate::app::App;
use crate::auth::Principal;
use crate::error::Error;
use crate::extract::{Params, Raw, path_id};
use crate::versions::{Version, planned_for};

/// Entries of a page that names no size, and the most of any page: fastapi-pagination's.
const PAGE_SIZE: u64 = 50;
const PAGE_SIZE_MAX: u64 = 100;

/// `POST /api/v1/flows/`.
pub(crate) async fn create(
    State(app): State<App>,
    principal: Principal,
    body: Raw,
) -> Result<(StatusCode, Json<Value>), Error> {
    let new = flow_body::new_flow(&principal, body.object()?)?;
    let flow = store_new(&app, &app.tenant(&principal), new).await?;
    Ok((StatusCode::CREATED, Json(flow_body::read(&flow))))
}

/// Stores a new flow with its first version. A flow that has nodes must be one that can run.
pub(super) async fn store_new(app: &App, tenant: &Tenant, new: NewFlow) -> Result<Flow, Error> {
    let plan = match flow_body::is_empty(&new.data) {
        true => None,
        false => Some(planned_for(tenant, &new.data).await?),
    };
    let flow = tenant.create_flow(new).await?;
    if let Some(plan) = plan {
        app.versions.put(tenant, &flow, plan).await?;
    }
    Ok(flow)
}

/// `GET /api/v1/flows/`: everything (`get_all`, the default), or a page of one project.
pub(crate) async fn list(
    State(app): State<App>,
    principal: Principal,
    params: Params,
) -> Result<Json<Value>, Error> {
    let tenant = app.tenant(&principal);
    let headers_only = params.flag("header_flows", false)?;
    let mut filter = FlowFilter { project: params.id("folder_id")? };
    if params.flag("get_all", true)? {
        // Langflow ignores the project here.
        let (items, _) = items(&tenant, &FlowFilter::default(), Page::all(), headers_only).await?;
        return Ok(Json(Value::Array(items)));
    }
    if filter.project.is_none() {
        filter.project = Some(tenant.starter_project().await?.id);
    }
    let number = params.number("page")?.unwrap_or(1).max(1);
    let size = params.number("size")?.unwrap_or(PAGE_SIZE).clamp(1, PAGE_SIZE_MAX);
    let page = Page { limit: size, offset: (number - 1).saturating_mul(size) };
    let (items, total) = items(&tenant, &filter, page, headers_only).await?;
    let pages = total.div_ceil(size);
    let page =
        json!({"items": items, "total": total, "page": number, "size": size, "pages": pages});
    Ok(Json(page))
}

/// `GET /api/v1/flows/{id}`.
pub(crate) async fn get(
    State(app): State<App>,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<Json<Value>, Error> {
    let flow = app.tenant(&principal).flow(path_id("flow_id", &id)?).await?;
    Ok(Json(flow_body::read(&flow)))
}

/// `PATCH /api/v1/flows/{id}`.
pub(crate) async fn update(
    State(app): State<App>,
    principal: Principal,
    Path(id): Path<String>,
    body: Raw,
) -> Result<Json<Value>, Error> {
    let id: FlowId = path_id("flow_id", &id)?;
    let tenant = app.tenant(&principal);
    let stored = tenant.flow(id).await?;
    let patch = patch(&stored, body.object()?)?;
    let (flow, _) = apply(&app, &tenant, id, patch).await?;
    Ok(Json(flow_body::read(&flow)))
}

/// Changes a flow; a new graph becomes its current version.
pub(super) async fn apply(
    app: &App,
    tenant: &Tenant,
    id: FlowId,
    patch: FlowPatch,
) -> Result<(Flow, Option<std::sync::Arc<Version>>), Error> {
    let data = patch.data.as_ref().filter(|data| !flow_body::is_empty(data));
    let plan = match data {
        Some(data) => Some(planned_for(tenant, data).await?),
        None => None,
    };
    let flow = tenant.update_flow(id, patch).await?;
    let version = match plan {
        Some(plan) => Some(app.versions.put(tenant, &flow, plan).await?),
        None => None,
    };
    Ok((flow, version))
}

/// `DELETE /api/v1/flows/{id}`.
pub(crate) async fn delete(
    State(app): State<App>,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<Json<Value>, Error> {
    app.tenant(&principal).delete_flow(path_id("flow_id", &id)?).await?;
    Ok(Json(json!({"message": "Flow deleted successfully"})))
}

async fn items(
    tenant: &Tenant,
    filter: &FlowFilter,
    page: Page,
    headers_only: bool,
) -> Result<(Vec<Value>, u64), Error> {
    if headers_only {
        let listing = tenant.flows(filter, page).await?;
        return Ok((listing.items.iter().map(flow_body::read_header).collect(), listing.total));
    }
    let listing = tenant.whole_flows(filter, page).await?;
    Ok((listing.items.iter().map(flow_body::read).collect(), listing.total))
}

/// As in Langflow, null means "leave it" except where a field can be emptied.
fn patch(stored: &Flow, body: Map<String, Value>) -> Result<FlowPatch, Error> {
    let data = body.get("data").filter(|data| !data.is_null()).cloned();
    if let Some(data) = &data {
        flow_body::check_data(data)?;
    }
    let given = |field: &str| body.contains_key(field);
    let endpoint_name = flow_body::endpoint_name(&body)?;
    let description = flow_body::text(&body, "description")?;
    let icon = flow_body::text(&body, "icon")?;
    let mut patch = FlowPatch {
        name: flow_body::text(&body, "name")?.filter(|name| !name.is_empty()),
        endpoint_name: given("endpoint_name").then_some(endpoint_name),
        description: given("description").then_some(description),
        icon: given("icon").then_some(icon),
        tags: given("tags").then(|| flow_body::texts(&body, "tags")),
        project: flow_body::project(&body)?,
        data,
        export: None,
    };
    if let Value::Object(others) = flow_body::others(body)
        && !others.is_empty()
    {
        let mut export = stored.export.as_object().cloned().unwrap_or_default();
        export.extend(others);
        patch.export = Some(Value::Object(export));
    }
    Ok(patch)
}
