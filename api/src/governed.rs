//! Whose settings a request is about. The operator's word counts for every tenant: nobody of a
//! tenant that `flowcell tenant add` made is a superuser, so somebody else has to set its weight,
//! its limits and where its flows may connect to.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use domain::id::TenantId;

use crate::app::App;
use crate::auth::{Principal, Superuser};
use crate::error::Error;
use crate::extract::Params;

/// Name or id of the tenant that is meant.
const TENANT: &str = "tenant";

/// The caller's tenant, or the one that a superuser names with `?tenant=`. Anybody of a tenant may
/// see what is set for it; changing it takes a superuser. For settings only (a rule may name a flow
/// of the tenant): what a tenant has made is reached through the principal.
#[derive(Clone, Debug)]
pub(crate) struct Governed {
    pub(crate) principal: store::Principal,
    pub(crate) tenant: TenantId,
}

impl FromRequestParts<App> for Governed {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let Principal(principal) = Principal::from_request_parts(parts, app).await?;
        let params = Params::from_request_parts(parts, app).await?;
        // An empty name is nobody's, not the caller's own.
        let named = params.required(TENANT).ok();
        if named.is_some() || !parts.method.is_safe() {
            Superuser::from_request_parts(parts, app).await?;
        }
        let tenant = match named {
            Some(name) => app.store.tenant_named(name).await?.ok_or(Error::NotFound("tenant"))?,
            None => principal.tenant,
        };
        Ok(Self { principal, tenant })
    }
}
