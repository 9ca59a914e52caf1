//! How long the runs of a tenant are kept: anybody of it may see that, a superuser may set it.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use domain::retention::{Overrides, RUNS_DAYS_MAX, Settings};
use proto::http::{RetentionSet, RetentionView};

use crate::app::App;
use crate::error::Error;
use crate::extract::Raw;
use crate::governed::Governed;

/// `GET /api/flowcell/v1/retention`.
pub(crate) async fn get(
    State(app): State<App>,
    Governed { tenant, .. }: Governed,
) -> Result<Json<RetentionView>, Error> {
    let set = app.store.tenant(tenant).retention().await?;
    Ok(Json(view(&app.config.retention, set)))
}

/// `PUT /api/flowcell/v1/retention`: what is left out is as for the installation.
pub(crate) async fn put(
    State(app): State<App>,
    Governed { principal, tenant }: Governed,
    body: Raw,
) -> Result<Json<RetentionView>, Error> {
    let RetentionSet { runs_days, messages } = body.json()?;
    if runs_days.is_some_and(|days| days > RUNS_DAYS_MAX) {
        let why = format!("runs_days must be 0 (for ever) to {RUNS_DAYS_MAX}");
        return Err(Error::BodyInvalid(why));
    }
    let set = Overrides { runs_days, messages };
    app.store.tenant(tenant).set_retention(set).await?;
    tracing::info!(user.id = %principal.user, tenant.id = %tenant, "retention of a tenant set");
    Ok(Json(view(&app.config.retention, set)))
}

/// `DELETE /api/flowcell/v1/retention`: the tenant gets what the installation has.
pub(crate) async fn delete(
    State(app): State<App>,
    Governed { principal, tenant }: Governed,
) -> Result<StatusCode, Error> {
    app.store.tenant(tenant).set_retention(Overrides::default()).await?;
    tracing::info!(user.id = %principal.user, tenant.id = %tenant, "retention of a tenant unset");
    Ok(StatusCode::NO_CONTENT)
}

fn view(settings: &Settings, set: Overrides) -> RetentionView {
    let holds = settings.of(set);
    RetentionView {
        runs_days: holds.runs_days,
        messages: holds.messages,
        set: RetentionSet { runs_days: set.runs_days, messages: set.messages },
    }
}
