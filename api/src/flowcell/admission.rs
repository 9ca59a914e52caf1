//! What is set for admission: for a tenant and an API key by a superuser, for a flow by anybody
//! of its tenant.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use domain::admission::{FlowSettings, TenantSettings};
use domain::id::KeyId;
use serde::{Deserialize, Serialize};

use super::flow_terms;
use super::runs::{find, pool};
use crate::app::App;
use crate::auth::{Principal, Superuser};
use crate::error::Error;
use crate::extract::Raw;
use crate::governed::Governed;

/// Most weight of a tenant: a hundred times the usual.
const WEIGHT_MAX: u32 = 10_000;

/// Body and answer of the routes about a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct KeySettings {
    /// Most runs that the key started and that are open at once; more wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    runs_max: Option<u32>,
}

/// `GET /api/flowcell/v1/admission`.
pub(crate) async fn get(
    State(app): State<App>,
    Governed { tenant, .. }: Governed,
) -> Result<Json<TenantSettings>, Error> {
    Ok(Json(app.store.tenant(tenant).admission().await?))
}

/// `PUT /api/flowcell/v1/admission`: all that is set for the tenant; what is left out is unset.
pub(crate) async fn put(
    State(app): State<App>,
    Governed { principal, tenant }: Governed,
    body: Raw,
) -> Result<Json<TenantSettings>, Error> {
    let set: TenantSettings = known(&body, &TENANT_FIELDS)?;
    positive("weight", set.weight)?;
    if set.weight.is_some_and(|weight| weight > WEIGHT_MAX) {
        return Err(Error::BodyInvalid(format!("weight must be at most {WEIGHT_MAX}")));
    }
    positive("slots_max", set.slots_max)?;
    positive("runs_max", set.runs_max)?;
    positive("runs_per_minute", set.runs_per_minute)?;
    app.store.tenant(tenant).set_admission(&set).await?;
    tracing::info!(user.id = %principal.user, tenant.id = %tenant, "admission of a tenant set");
    Ok(Json(set))
}

/// `GET /api/flowcell/v1/flows/{flow}/admission`.
pub(crate) async fn get_flow(
    State(app): State<App>,
    principal: Principal,
    Path(name): Path<String>,
) -> Result<Json<FlowSettings>, Error> {
    let tenant = app.tenant(&principal);
    let flow = find(&tenant, &name).await?.header.id;
    Ok(Json(tenant.flow_admission(flow).await?))
}

/// `PUT /api/flowcell/v1/flows/{flow}/admission`.
pub(crate) async fn put_flow(
    State(app): State<App>,
    principal: Principal,
    Path(name): Path<String>,
    body: Raw,
) -> Result<Json<FlowSettings>, Error> {
    let tenant = app.tenant(&principal);
    let flow = find(&tenant, &name).await?;
    let set = flow_terms::read(&body)?;
    positive("runs_max", set.runs_max)?;
    let set = FlowSettings { pool: set.pool.as_deref().map(pool).transpose()?, ..set };
    if !set.nodes.is_empty() {
        let version = app.versions.current(&tenant, &flow).await?;
        flow_terms::check(&app.config, &version, &set)?;
    }
    let flow = flow.header.id;
    tenant.set_flow_admission(flow, &set).await?;
    tracing::info!(user.id = %principal.user, flow.id = %flow, "admission of a flow set");
    Ok(Json(set))
}

/// `GET /api/flowcell/v1/keys/{key}/admission`.
pub(crate) async fn get_key(
    State(app): State<App>,
    principal: Principal,
    Path(key): Path<String>,
) -> Result<Json<KeySettings>, Error> {
    let runs_max = app.tenant(&principal).key_runs_max(key_id(&key)?).await?;
    Ok(Json(KeySettings { runs_max }))
}

/// `PUT /api/flowcell/v1/keys/{key}/admission`.
pub(crate) async fn put_key(
    State(app): State<App>,
    Superuser(principal): Superuser,
    Path(key): Path<String>,
    body: Raw,
) -> Result<(StatusCode, Json<KeySettings>), Error> {
    let set: KeySettings = body.json()?;
    positive("runs_max", set.runs_max)?;
    let key = key_id(&key)?;
    app.tenant(&principal).set_key_runs_max(key, set.runs_max).await?;
    tracing::info!(user.id = %principal.user, key.id = %key, "admission of a key set");
    Ok((StatusCode::OK, Json(set)))
}

const TENANT_FIELDS: [&str; 5] =
    ["weight", "slots_max", "runs_max", "queued_max", "runs_per_minute"];

/// Reads settings. The stored form passes over keys that it does not know; a caller's spelling
/// mistake is told.
pub(super) fn known<T: serde::de::DeserializeOwned>(
    body: &Raw,
    fields: &[&str],
) -> Result<T, Error> {
    let object: serde_json::Map<String, serde_json::Value> = body.json()?;
    if let Some(unknown) = object.keys().find(|key| !fields.contains(&key.as_str())) {
        let text = format!("there is no field {unknown:?}; there are {}", fields.join(", "));
        return Err(Error::BodyInvalid(text));
    }
    body.json()
}

pub(super) fn positive(field: &str, value: Option<u32>) -> Result<(), Error> {
    match value {
        Some(0) => Err(Error::BodyInvalid(format!("{field} must be at least 1"))),
        _ => Ok(()),
    }
}

fn key_id(text: &str) -> Result<KeyId, Error> {
    text.parse().map_err(|_| Error::NotFound("API key"))
}
