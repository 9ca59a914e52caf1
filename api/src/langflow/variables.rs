//! Variables. Their values go in and never come back.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use domain::id::VariableId;
use serde_json::{Map, Value, json};
use store::{NewVariable, Secret, Variable, VariableKind, VariablePatch};

use crate::app::App;
use crate::auth::Principal;
use crate::error::{Error, Issue};
use crate::extract::{Raw, path_id};

/// `POST /api/v1/variables/`.
pub(crate) async fn create(
    State(app): State<App>,
    principal: Principal,
    body: Raw,
) -> Result<(StatusCode, Json<Value>), Error> {
    let body = body.object()?;
    let required = |field| text(&body, field)?.ok_or_else(|| Error::from(Issue::missing(field)));
    let (name, value) = (required("name")?, required("value")?);
    let empty = match (name.is_empty(), value.is_empty()) {
        (true, true) => Some("Variable name and value cannot be empty"),
        (true, false) => Some("Variable name cannot be empty"),
        (false, true) => Some("Variable value cannot be empty"),
        (false, false) => None,
    };
    if let Some(refusal) = empty {
        return Err(Error::Refused(refusal.to_owned()));
    }
    let new = NewVariable {
        name,
        kind: kind(&body)?.unwrap_or(VariableKind::Credential),
        value: Secret::new(value),
        default_fields: default_fields(&body)?.unwrap_or_default(),
    };
    let created = app.tenant(&principal).create_variable(new).await.map_err(taken)?;
    Ok((StatusCode::CREATED, Json(read(&created))))
}

/// `GET /api/v1/variables/`.
pub(crate) async fn list(
    State(app): State<App>,
    principal: Principal,
) -> Result<Json<Vec<Value>>, Error> {
    let variables = app.tenant(&principal).variables().await?;
    Ok(Json(variables.iter().map(read).collect()))
}

/// `PATCH /api/v1/variables/{id}`.
pub(crate) async fn update(
    State(app): State<App>,
    principal: Principal,
    Path(id): Path<String>,
    body: Raw,
) -> Result<Json<Value>, Error> {
    let id: VariableId = path_id("variable_id", &id)?;
    let body = body.object()?;
    let patch = VariablePatch {
        name: text(&body, "name")?.filter(|name| !name.is_empty()),
        kind: kind(&body)?,
        value: text(&body, "value")?.map(Secret::new),
        default_fields: default_fields(&body)?,
    };
    let updated = app.tenant(&principal).update_variable(id, patch).await.map_err(taken)?;
    Ok(Json(read(&updated)))
}

/// `DELETE /api/v1/variables/{id}`.
pub(crate) async fn delete(
    State(app): State<App>,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<StatusCode, Error> {
    let id: VariableId = path_id("variable_id", &id)?;
    app.tenant(&principal).delete_variable(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn read(variable: &Variable) -> Value {
    json!({
        "id": variable.id,
        "name": variable.name,
        "type": variable.kind.name(),
        "value": null,
        "has_value": true,
        "default_fields": variable.default_fields,
        "is_owner": true,
        "can_manage_shares": true,
        "validation_error": null,
        "is_valid": null,
    })
}

fn taken(error: store::Error) -> Error {
    match error {
        store::Error::Duplicate { .. } => Error::Duplicate("variable name"),
        other => other.into(),
    }
}

/// A text of the body, `None` when it is absent or null.
fn text(body: &Map<String, Value>, field: &str) -> Result<Option<String>, Error> {
    match body.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => {
            Err(Issue::body("string_type", [field], "Input should be a valid string").into())
        }
    }
}

fn kind(body: &Map<String, Value>) -> Result<Option<VariableKind>, Error> {
    let Some(name) = text(body, "type")?.filter(|name| !name.is_empty()) else { return Ok(None) };
    let message = "Input should be 'Credential' or 'Generic'";
    let unknown = || Issue::body("literal_error", ["type"], message).into();
    VariableKind::named(&name).map(Some).ok_or_else(unknown)
}

fn default_fields(body: &Map<String, Value>) -> Result<Option<Vec<String>>, Error> {
    let wrong = || Issue::body("list_type", ["default_fields"], "Input should be a valid list");
    match body.get("default_fields") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(list)) => {
            let texts = list.iter().map(|text| text.as_str().map(str::to_owned)).collect();
            Ok(Some(Option::ok_or_else(texts, wrong)?))
        }
        Some(_) => Err(wrong().into()),
    }
}
