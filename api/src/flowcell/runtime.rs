//! What a flow's current version runs in, what that changes for it, and the packages that it lists.

use axum::Json;
use axum::extract::{Path, State};
use domain::runtime::{Build, Change, Field, Requirements, mentioned};
use proto::http::{BuildView, ComponentChange, RuntimeView, SetRequirements};
use store::{Flow, RuntimeBuild, Tenant};

use crate::app::App;
use crate::auth::Principal;
use crate::clock;
use crate::error::Error;
use crate::extract::Raw;
use crate::flowcell::runs;
use crate::versions::Version;

/// `GET /api/flowcell/v1/flows/{flow}/runtime`.
pub(crate) async fn get(
    State(app): State<App>,
    principal: Principal,
    Path(name): Path<String>,
) -> Result<Json<RuntimeView>, Error> {
    let tenant = app.tenant(&principal);
    let flow = runs::find(&tenant, &name).await?;
    Ok(Json(view(&app, &tenant, flow).await?))
}

/// `PUT /api/flowcell/v1/flows/{flow}/requirements`: all that the flow lists, for its next version.
/// To list again what could not be built has the next run try it again.
pub(crate) async fn put_requirements(
    State(app): State<App>,
    principal: Principal,
    Path(name): Path<String>,
    body: Raw,
) -> Result<Json<RuntimeView>, Error> {
    let tenant = app.tenant(&principal);
    let flow = runs::find(&tenant, &name).await?;
    let wanted: SetRequirements = body.json()?;
    let lines = wanted.requirements.iter().map(String::as_str);
    let requirements = Requirements::read(lines).map_err(Error::RequirementsInvalid)?;
    if app.config.runtimes.build == Build::Off && !requirements.is_empty() {
        return Err(Error::RequirementsOff);
    }
    tenant.set_requirements(flow.header.id, &requirements).await?;
    tracing::info!(user.id = %principal.user, flow.id = %flow.header.id, "requirements of a flow set");
    let flow = Flow { requirements, ..flow };
    let version = app.versions.current(&tenant, &flow).await?;
    if let Some(packaged) = app.config.runtimes.packaged(tenant.id(), &version.needs) {
        tenant.forget_failed_build(&packaged.image).await?;
    }
    Ok(Json(view(&app, &tenant, flow).await?))
}

async fn view(app: &App, tenant: &Tenant, flow: Flow) -> Result<RuntimeView, Error> {
    let version = app.versions.current(tenant, &flow).await?;
    let build = match app.config.runtimes.packaged(tenant.id(), &version.needs) {
        Some(packaged) => {
            let known = tenant.runtime_build(&packaged.image).await?;
            known.map(|build| build_view(packaged.image, build))
        }
        None => None,
    };
    Ok(RuntimeView { build, ..described(app, flow, &version) })
}

fn build_view(image: String, build: RuntimeBuild) -> BuildView {
    BuildView {
        image,
        state: build.state.name().to_owned(),
        detail: build.detail,
        lock: build.lock,
        updated_at: clock::rfc3339(build.updated),
    }
}

fn described(app: &App, flow: Flow, version: &Version) -> RuntimeView {
    let warning = version.warning.as_ref();
    let changes = warning.and_then(|warning| warning.changes.as_deref()).unwrap_or_default();
    let requirements = &version.needs.requirements;
    RuntimeView {
        flow_id: flow.header.id.to_string(),
        flow_name: flow.header.name,
        version_id: version.id.to_string(),
        exported_by: version.needs.langflow.map(|minor| minor.to_string()),
        runs_under: app.config.runtimes.choose(&version.needs).langflow.to_string(),
        warnings: warning.map(ToString::to_string).into_iter().collect(),
        changes: changes.iter().map(change).collect(),
        requirements: requirements.lines().to_vec(),
        mentioned: mentioned(&version.graph, requirements),
        build: None,
    }
}

fn change(change: &Change) -> ComponentChange {
    let (mut fields_gone, mut fields_new) = (Vec::new(), Vec::new());
    for field in &change.fields {
        match field {
            Field::Gone(name) => fields_gone.push(name.clone()),
            Field::New(name) => fields_new.push(name.clone()),
        }
    }
    ComponentChange {
        node: change.node.clone(),
        display_name: change.display_name.clone(),
        fields_gone,
        fields_new,
    }
}
