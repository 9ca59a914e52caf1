//! API keys: shown once, listed without their secret, revoked at once.

use axum::Json;
use axum::extract::{Path, State};
use domain::id::KeyId;
use serde_json::{Value, json};
use store::{ApiKey, NewApiKey};

use crate::app::App;
use crate::auth::Principal;
use crate::clock;
use crate::error::{Error, Issue};
use crate::extract::{Raw, path_id};

/// Length of a whole key: what is not shown of it is starred, as Langflow does.
const KEY_CHARS: usize = 46;

/// `GET /api/v1/api_key/`.
pub(crate) async fn list(
    State(app): State<App>,
    principal: Principal,
) -> Result<Json<Value>, Error> {
    let keys = app.tenant(&principal).api_keys(Some(principal.user)).await?;
    let keys: Vec<Value> = keys.iter().filter(|key| key.revoked.is_none()).map(read).collect();
    Ok(Json(json!({
        "total_count": keys.len(),
        "user_id": principal.user,
        "api_keys": keys,
    })))
}

/// `POST /api/v1/api_key/`.
pub(crate) async fn create(
    State(app): State<App>,
    principal: Principal,
    body: Raw,
) -> Result<Json<Value>, Error> {
    let body = body.object()?;
    let name = match body.get("name") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(name)) => name.clone(),
        Some(_) => {
            let message = "Input should be a valid string";
            return Err(Issue::body("string_type", ["name"], message).into());
        }
    };
    let expires = match body.get("expires_at") {
        None | Some(Value::Null) => None,
        Some(value) => {
            let message = "Input should be a valid datetime";
            let wrong = || Issue::body("datetime_type", ["expires_at"], message);
            Some(value.as_str().and_then(clock::parse).ok_or_else(wrong)?)
        }
    };
    // A key never gives more than the one it was made with.
    let scopes = principal.scopes.clone();
    let new = NewApiKey { user: principal.user, name, scopes, expires };
    let created = app.tenant(&principal).create_api_key(new).await?;
    Ok(Json(json!({
        "name": created.key.name,
        "last_used_at": null,
        "total_uses": 0,
        "is_active": true,
        "expires_at": created.key.expires.map(clock::whole_seconds),
        "id": created.key.id,
        "api_key": created.secret.expose(),
        "user_id": created.key.user,
    })))
}

/// `DELETE /api/v1/api_key/{id}`.
pub(crate) async fn delete(
    State(app): State<App>,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<Json<Value>, Error> {
    let id: KeyId = path_id("api_key_id", &id)?;
    let tenant = app.tenant(&principal);
    // One's own keys only; a superuser may end any key of the tenant.
    let owner = (!principal.is_superuser).then_some(principal.user);
    if !tenant.api_keys(owner).await?.iter().any(|key| key.id == id) {
        return Err(Error::NotFound("api key"));
    }
    tenant.revoke_api_key(id).await?;
    Ok(Json(json!({"detail": "API Key deleted"})))
}

fn read(key: &ApiKey) -> Value {
    let shown: String = key.prefix.chars().take(8).collect();
    let stars = "*".repeat(KEY_CHARS.saturating_sub(shown.len()));
    json!({
        "name": key.name,
        "last_used_at": key.last_used.map(clock::whole_seconds),
        "total_uses": 0,
        "is_active": true,
        "expires_at": key.expires.map(clock::whole_seconds),
        "id": key.id,
        "api_key": format!("{shown}{stars}"),
        "user_id": key.user,
        "created_at": clock::whole_seconds(key.created),
    })
}
