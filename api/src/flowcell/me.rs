//! Who is asking.

use axum::Json;
use serde_json::{Value, json};

use crate::auth::Principal;

/// `GET /api/flowcell/v1/me`.
pub(crate) async fn get(principal: Principal) -> Json<Value> {
    Json(json!({
        "tenant": principal.tenant,
        "user": principal.user,
        "username": principal.username,
        "is_superuser": principal.is_superuser,
        "key": principal.key,
        "scopes": principal.scopes,
    }))
}
