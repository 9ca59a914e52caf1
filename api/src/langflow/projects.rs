//! Projects, which Langflow also calls folders.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Redirect;
use serde_json::{Value, json};
use store::NewProject;

use crate::app::App;
use crate::auth::Principal;
use crate::error::{Error, Issue};
use crate::extract::Raw;

/// `GET /api/v1/projects/`.
pub(crate) async fn list(
    State(app): State<App>,
    principal: Principal,
) -> Result<Json<Vec<Value>>, Error> {
    let projects = app.tenant(&principal).projects().await?;
    let read = |project: &store::Project| {
        json!({
            "name": project.name,
            "description": project.description,
            "auth_settings": null,
            "id": project.id,
            "parent_id": null,
            "owner_username": principal.username,
            "is_owner": true,
        })
    };
    Ok(Json(projects.iter().map(read).collect()))
}

/// `POST /api/v1/projects/`.
pub(crate) async fn create(
    State(app): State<App>,
    principal: Principal,
    body: Raw,
) -> Result<(StatusCode, Json<Value>), Error> {
    let body = body.object()?;
    let Some(name) = body.get("name") else { return Err(Issue::missing("name").into()) };
    let wrong = || Issue::body("string_type", ["name"], "Input should be a valid string");
    let name = name.as_str().ok_or_else(wrong)?.to_owned();
    if !name.chars().any(char::is_alphanumeric) {
        let message = "Project names must contain at least one letter or number";
        return Err(Issue::body("invalid_project_name", ["name"], message).into());
    }
    let description = body.get("description").and_then(Value::as_str).map(str::to_owned);
    let project = app.tenant(&principal).create_project(NewProject { name, description }).await?;
    let answer = json!({
        "name": project.name,
        "description": project.description,
        "auth_settings": null,
        "id": project.id,
        "parent_id": null,
    });
    Ok((StatusCode::CREATED, Json(answer)))
}

/// `GET` and `POST /api/v1/folders/`: the former name.
pub(crate) async fn redirect(_: Principal) -> Redirect {
    Redirect::temporary("/api/v1/projects/")
}
