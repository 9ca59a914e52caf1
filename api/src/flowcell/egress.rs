//! Where a tenant's cells may connect to. Everybody of the tenant may read it; only a superuser
//! may change it, because a rule can open the inside of the network to user code.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use proto::message::EgressRule;
use store::NewEgressRule;

use crate::app::App;
use crate::auth::{Principal, Superuser};
use crate::error::Error;
use crate::extract::{Params, Raw};

/// Longest name that DNS knows.
const HOST_BYTES_MAX: usize = 253;

/// `GET /api/flowcell/v1/egress`.
pub(crate) async fn list(
    State(app): State<App>,
    principal: Principal,
) -> Result<Json<Vec<EgressRule>>, Error> {
    let entries = app.tenant(&principal).egress_rules().await?;
    Ok(Json(entries.into_iter().map(|entry| entry.rule).collect()))
}

/// `POST /api/flowcell/v1/egress`. A rule for the same destination is replaced.
pub(crate) async fn allow(
    State(app): State<App>,
    Superuser(principal): Superuser,
    body: Raw,
) -> Result<(StatusCode, Json<EgressRule>), Error> {
    let rule = normalised(body.json()?)?;
    let tenant = app.store.tenant(principal.tenant);
    let same = |entry: &&store::EgressEntry| {
        entry.flow.is_none() && entry.rule.host == rule.host && entry.rule.port == rule.port
    };
    let entries = tenant.egress_rules().await?;
    tracing::info!(
        user.id = %principal.user,
        egress.host = rule.host,
        egress.port = rule.port,
        egress.private = rule.private,
        "egress allowed"
    );
    if let Some(entry) = entries.iter().find(same) {
        if entry.rule != rule {
            tenant.update_egress_rule(entry.id, rule.clone()).await?;
        }
        return Ok((StatusCode::OK, Json(rule)));
    }
    let new = NewEgressRule { flow: None, rule };
    let created = tenant.create_egress_rule(new).await?;
    Ok((StatusCode::CREATED, Json(created.rule)))
}

/// `DELETE /api/flowcell/v1/egress?host=…&port=…`.
pub(crate) async fn forbid(
    State(app): State<App>,
    Superuser(principal): Superuser,
    params: Params,
) -> Result<StatusCode, Error> {
    let host = params.text("host").map(str::to_lowercase);
    let port = params.number("port")?;
    let (Some(host), Some(port)) = (host, port) else {
        return Err(Error::BodyInvalid("host and port name the rule to delete".to_owned()));
    };
    let tenant = app.store.tenant(principal.tenant);
    let entries = tenant.egress_rules().await?;
    let same = |entry: &&store::EgressEntry| {
        entry.flow.is_none() && entry.rule.host == host && u64::from(entry.rule.port) == port
    };
    let entry = entries.iter().find(same).ok_or(Error::NotFound("egress rule"))?;
    tenant.delete_egress_rule(entry.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Names are compared without case, so they are kept without.
fn normalised(rule: EgressRule) -> Result<EgressRule, Error> {
    let host = rule.host.trim_end_matches('.').to_lowercase();
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
    let name = host.strip_prefix("*.").unwrap_or(&host);
    if !(1..=HOST_BYTES_MAX).contains(&name.len()) || !name.bytes().all(is_allowed) {
        let text = "host must be a host name, an address, or *.name; no scheme, no path";
        return Err(Error::BodyInvalid(text.to_owned()));
    }
    if rule.port == 0 {
        return Err(Error::BodyInvalid("port must be 1 to 65535".to_owned()));
    }
    Ok(EgressRule { host, ..rule })
}
