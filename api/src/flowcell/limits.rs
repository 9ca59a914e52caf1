//! What is set of the limits of cells: for a tenant by a superuser, for a flow by anybody of its
//! tenant as far as the tenant's own go.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use domain::limits::{CellLimits, Effective, Layers, Overrides, Setting, TenantLimits};
use proto::http::{LimitView, LimitsSet, LimitsView};
use serde::Deserialize;
use serde_json::{Map, Value};
use store::RunSettings;

use crate::app::App;
use crate::auth::Principal;
use crate::config::Config;
use crate::error::{Error, LimitProblem};
use crate::extract::Raw;
use crate::governed::Governed;

/// Longest wrong value that an answer repeats.
const VALUE_CHARS_MAX: usize = 100;

/// Body of `PUT /api/flowcell/v1/limits`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SetTenant {
    #[serde(default)]
    limits: Map<String, Value>,
    #[serde(default)]
    maximum: Map<String, Value>,
}

/// Body of `PUT /api/flowcell/v1/flows/{flow}/limits`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SetFlow {
    limits: Map<String, Value>,
}

/// What the cells of a new run of this flow may use.
pub(crate) fn of_run(config: &Config, set: &RunSettings) -> CellLimits {
    layers(config, &set.tenant_limits, &set.flow_limits).limits()
}

/// `GET /api/flowcell/v1/limits`.
pub(crate) async fn get(
    State(app): State<App>,
    Governed { tenant, .. }: Governed,
) -> Result<Json<LimitsView>, Error> {
    let limits = app.store.tenant(tenant).limits().await?;
    Ok(Json(tenant_view(&app.config, &limits)))
}

/// `PUT /api/flowcell/v1/limits`: all that is set for the tenant; what is left out is unset.
pub(crate) async fn put(
    State(app): State<App>,
    Governed { principal, tenant }: Governed,
    body: Raw,
) -> Result<Json<LimitsView>, Error> {
    let wanted: SetTenant = body.json()?;
    let mut problems = Vec::new();
    let platform = |setting: Setting| setting.of(&app.config.cell_max);
    let maximum = read("maximum", &wanted.maximum, platform, &mut problems);
    let most = |setting: Setting| maximum.get(setting).unwrap_or_else(|| platform(setting));
    let limits = read("limits", &wanted.limits, most, &mut problems);
    refuse(problems)?;
    let limits = TenantLimits { limits, maximum };
    app.store.tenant(tenant).set_limits(&limits).await?;
    tracing::info!(user.id = %principal.user, tenant.id = %tenant, "limits of a tenant set");
    Ok(Json(tenant_view(&app.config, &limits)))
}

/// `DELETE /api/flowcell/v1/limits`: nothing is set for the tenant any more.
pub(crate) async fn delete(
    State(app): State<App>,
    Governed { principal, tenant }: Governed,
) -> Result<StatusCode, Error> {
    app.store.tenant(tenant).set_limits(&TenantLimits::default()).await?;
    tracing::info!(user.id = %principal.user, tenant.id = %tenant, "limits of a tenant unset");
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /api/flowcell/v1/flows/{flow}/limits`.
pub(crate) async fn get_flow(
    State(app): State<App>,
    principal: Principal,
    Path(name): Path<String>,
) -> Result<Json<LimitsView>, Error> {
    let tenant = app.tenant(&principal);
    let flow = super::runs::find(&tenant, &name).await?.header.id;
    let (limits, set) = tenant.limits_for(flow).await?;
    Ok(Json(flow_view(layers(&app.config, &limits, &set), &principal)))
}

/// `PUT /api/flowcell/v1/flows/{flow}/limits`: all that is set for the flow.
pub(crate) async fn put_flow(
    State(app): State<App>,
    principal: Principal,
    Path(name): Path<String>,
    body: Raw,
) -> Result<Json<LimitsView>, Error> {
    let tenant = app.tenant(&principal);
    let flow = super::runs::find(&tenant, &name).await?.header.id;
    let wanted: SetFlow = body.json()?;
    let (limits, before) = tenant.limits_for(flow).await?;
    let mut problems = Vec::new();
    let layers_before = layers(&app.config, &limits, &before);
    let most = |setting| most_for(&layers_before, &principal, setting);
    let set = read("limits", &wanted.limits, most, &mut problems);
    refuse(problems)?;
    tenant.set_flow_limits(flow, &set).await?;
    tracing::info!(user.id = %principal.user, flow.id = %flow, "limits of a flow set");
    Ok(Json(flow_view(layers(&app.config, &limits, &set), &principal)))
}

/// `DELETE /api/flowcell/v1/flows/{flow}/limits`: the flow gets what its tenant's flows get.
pub(crate) async fn delete_flow(
    State(app): State<App>,
    principal: Principal,
    Path(name): Path<String>,
) -> Result<StatusCode, Error> {
    let tenant = app.tenant(&principal);
    let flow = super::runs::find(&tenant, &name).await?.header.id;
    tenant.set_flow_limits(flow, &Overrides::default()).await?;
    tracing::info!(user.id = %principal.user, flow.id = %flow, "limits of a flow unset");
    Ok(StatusCode::NO_CONTENT)
}

fn layers<'a>(config: &'a Config, tenant: &'a TenantLimits, flow: &'a Overrides) -> Layers<'a> {
    Layers { platform: &config.cell, platform_max: &config.cell_max, tenant, flow }
}

/// The most that this caller may set for a flow. What is set already may stay, whoever set it.
fn most_for(layers: &Layers<'_>, principal: &Principal, setting: Setting) -> u64 {
    let ceiling = layers.ceiling(setting).value;
    if principal.is_superuser {
        return ceiling;
    }
    layers.users_ceiling(setting).max(layers.flow.get(setting).unwrap_or(0))
}

fn tenant_view(config: &Config, limits: &TenantLimits) -> LimitsView {
    let flow = Overrides::default();
    let layers = layers(config, limits, &flow);
    let set =
        LimitsSet { limits: by_name(&limits.limits), maximum: Some(by_name(&limits.maximum)) };
    view(&layers, set, |_, effective| effective.ceiling.value)
}

fn flow_view(layers: Layers<'_>, principal: &Principal) -> LimitsView {
    let set = LimitsSet { limits: by_name(layers.flow), maximum: None };
    view(&layers, set, |setting, _| most_for(&layers, principal, setting))
}

fn view(
    layers: &Layers<'_>,
    set: LimitsSet,
    most: impl Fn(Setting, &Effective) -> u64,
) -> LimitsView {
    let limit = |setting: Setting| {
        let effective = layers.effective(setting);
        let view = LimitView {
            value: effective.value,
            from: effective.source.name().to_owned(),
            lowered_by: effective.is_lowered.then(|| effective.ceiling.source.name().to_owned()),
            least: setting.least(),
            most: most(setting, &effective),
        };
        (setting.name().to_owned(), view)
    };
    LimitsView { limits: Setting::ALL.into_iter().map(limit).collect(), set }
}

fn by_name(set: &Overrides) -> BTreeMap<String, u64> {
    set.0.iter().map(|(setting, value)| (setting.name().to_owned(), *value)).collect()
}

/// Reads the values of one object; what cannot be is a problem each.
fn read(
    object: &'static str,
    values: &Map<String, Value>,
    most: impl Fn(Setting) -> u64,
    problems: &mut Vec<LimitProblem>,
) -> Overrides {
    let mut read = Overrides::default();
    for (name, value) in values {
        let range = Setting::named(name).map(|setting| (setting, setting.least(), most(setting)));
        match (range, value.as_u64()) {
            (Some((setting, least, most)), Some(number)) if (least..=most).contains(&number) => {
                read.0.insert(setting, number);
            }
            (range, _) => problems.push(LimitProblem {
                field: format!("{object}.{}", clip(name)),
                value: clip(&value.to_string()),
                range: range.map(|(_, least, most)| (least, most)),
            }),
        }
    }
    read
}

fn refuse(problems: Vec<LimitProblem>) -> Result<(), Error> {
    if problems.is_empty() { Ok(()) } else { Err(Error::LimitsInvalid(problems)) }
}

fn clip(text: &str) -> String {
    let mut clipped: String = text.chars().take(VALUE_CHARS_MAX).collect();
    if clipped.len() < text.len() {
        clipped.push('…');
    }
    clipped
}
