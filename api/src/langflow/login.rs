//! Logging in and out, and who one is.

use std::time::Instant;

use axum::Json;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{AppendHeaders, IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use store::Secret;

use crate::app::App;
use crate::auth::{COOKIE_NAME, Principal, session_token};
use crate::clock;
use crate::error::{Error, Issue};

/// The fields of the form.
#[derive(Deserialize)]
pub(crate) struct Login {
    username: Option<String>,
    password: Option<String>,
}

/// `POST /api/v1/login`.
pub(crate) async fn login(
    State(app): State<App>,
    form: Result<Form<Login>, FormRejection>,
) -> Result<Response, Error> {
    let missing =
        |fields: &[&str]| Error::Issues(fields.iter().copied().map(Issue::missing).collect());
    let Form(form) = form.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Error::BodyTooLarge,
        _ => missing(&["username", "password"]),
    })?;
    let (username, password) = match (form.username, form.password) {
        (Some(username), Some(password)) => (username, Secret::new(password)),
        (Some(_), None) => return Err(missing(&["password"])),
        (None, Some(_)) => return Err(missing(&["username"])),
        (None, None) => return Err(missing(&["username", "password"])),
    };
    app.throttle.attempt(&username, Instant::now())?;
    let auth = app.store.auth();
    let principal = auth.login(&username, &password).await?.ok_or(Error::LoginFailed)?;
    let token = auth.create_session(principal.user, app.config.session()).await?;
    tracing::info!(user.id = %principal.user, "logged in");
    // There is no refresh: a session lives as long as it says, and a new login makes another.
    let body = json!({
        "access_token": token.expose(),
        "refresh_token": "",
        "token_type": "bearer",
    });
    let cookie = cookie(&app, token.expose(), app.config.session().as_secs());
    Ok((AppendHeaders([cookie]), Json(body)).into_response())
}

/// `POST /api/v1/logout`: ends the session that the request came with.
pub(crate) async fn logout(
    State(app): State<App>,
    _: Principal,
    headers: HeaderMap,
) -> Result<Response, Error> {
    if let Some(token) = session_token(&headers) {
        app.store.auth().revoke_session(&token).await?;
    }
    let body = Json(json!({"message": "Logout successful"}));
    Ok((AppendHeaders([cookie(&app, "", 0)]), body).into_response())
}

/// `GET /api/v1/users/whoami`.
pub(crate) async fn whoami(
    State(app): State<App>,
    principal: Principal,
) -> Result<Json<Value>, Error> {
    let user = app.tenant(&principal).user(principal.user).await?;
    Ok(Json(json!({
        "id": user.id,
        "username": user.username,
        "profile_image": null,
        "store_api_key": "",
        "is_active": user.active,
        "is_superuser": user.is_superuser,
        "create_at": clock::micros(user.created),
        "updated_at": clock::micros(user.last_login.unwrap_or(user.created)),
        "last_login_at": user.last_login.map(clock::micros),
        "optins": {"github_starred": false, "dialog_dismissed": false, "discord_clicked": false},
    })))
}

fn cookie(app: &App, token: &str, seconds: u64) -> (HeaderName, String) {
    let secure = if app.config.secure_cookies { "; Secure" } else { "" };
    let text =
        format!("{COOKIE_NAME}={token}; Max-Age={seconds}; HttpOnly; Path=/; SameSite=lax{secure}");
    (SET_COOKIE, text)
}
