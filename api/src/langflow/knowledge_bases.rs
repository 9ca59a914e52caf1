//! Knowledge bases of a user. Flows fill them and search them, inside their cells; nothing is
//! embedded here.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use store::{KnowledgeBase, NewKnowledgeBase};

use crate::app::App;
use crate::auth::Principal;
use crate::error::{Error, Issue};
use crate::extract::Raw;

/// The only store that is kept here. What Langflow's others need is in no runtime.
const BACKEND: &str = "sqlite";
/// How Langflow cuts the texts of a base that says nothing else.
const CHUNK_SIZE: u64 = 1_000;
/// How many characters of a piece the next one begins with.
const CHUNK_OVERLAP: u64 = 200;
/// Shorter names are refused.
const NAME_CHARS_MIN: usize = 3;

/// `POST /api/v1/knowledge_bases/`.
pub(crate) async fn create(
    State(app): State<App>,
    principal: Principal,
    body: Raw,
) -> Result<(StatusCode, Json<Value>), Error> {
    let wish = Wish::read(&body.object()?)?;
    let name = checked(wish.name.trim().replace(' ', "_"))?;
    let new = NewKnowledgeBase {
        user: principal.user,
        name: name.clone(),
        configuration: json!({"model_selection": wish.model, "column_config": wish.columns}),
    };
    let made = app.tenant(&principal).create_knowledge_base(new).await;
    let base = made.map_err(|error| match error {
        store::Error::Duplicate { .. } => {
            Error::worded(StatusCode::CONFLICT, format!("Knowledge base '{name}' already exists"))
        }
        other => other.into(),
    })?;
    // Langflow shows what was asked for, before its defaults.
    Ok((StatusCode::CREATED, Json(shown(&base, &wish.columns, [None; 2]))))
}

/// `GET /api/v1/knowledge_bases/`.
pub(crate) async fn list(
    State(app): State<App>,
    principal: Principal,
) -> Result<Json<Vec<Value>>, Error> {
    let bases = app.tenant(&principal).knowledge_bases(principal.user).await?;
    Ok(Json(bases.iter().map(info).collect()))
}

/// `GET /api/v1/knowledge_bases/{name}`.
pub(crate) async fn get(
    State(app): State<App>,
    principal: Principal,
    Path(name): Path<String>,
) -> Result<Json<Value>, Error> {
    Ok(Json(info(&found(&app, &principal, &name).await?)))
}

/// `DELETE /api/v1/knowledge_bases/{name}`.
pub(crate) async fn delete(
    State(app): State<App>,
    principal: Principal,
    Path(name): Path<String>,
) -> Result<Json<Value>, Error> {
    let base = found(&app, &principal, &name).await?;
    app.tenant(&principal).delete_knowledge_base(principal.user, base.id).await?;
    Ok(Json(json!({"message": format!("Knowledge base '{name}' deleted successfully")})))
}

/// `DELETE /api/v1/knowledge_bases/`.
pub(crate) async fn delete_several(
    State(app): State<App>,
    principal: Principal,
    body: Raw,
) -> Result<Json<Value>, Error> {
    let (mut deleted, mut missing) = (0_u64, Vec::new());
    for name in names(&body.object()?)? {
        match app.tenant(&principal).knowledge_base(principal.user, &name).await {
            Ok(base) => {
                app.tenant(&principal).delete_knowledge_base(principal.user, base.id).await?;
                deleted += 1;
            }
            Err(store::Error::NotFound { .. }) => missing.push(name),
            Err(other) => return Err(other.into()),
        }
    }
    let missing = missing.join(", ");
    if deleted == 0 && !missing.is_empty() {
        let detail = format!("Knowledge bases not found: {missing}");
        return Err(Error::worded(StatusCode::NOT_FOUND, detail));
    }
    let message = format!("Successfully deleted {deleted} knowledge base(s)");
    Ok(Json(if missing.is_empty() {
        json!({"message": message, "deleted_count": deleted})
    } else {
        json!({"message": message, "deleted_count": deleted, "not_found": missing})
    }))
}

async fn found(app: &App, principal: &Principal, name: &str) -> Result<KnowledgeBase, Error> {
    let base = app.tenant(principal).knowledge_base(principal.user, name).await;
    base.map_err(|error| match error {
        store::Error::NotFound { .. } => {
            Error::worded(StatusCode::NOT_FOUND, format!("Knowledge base '{name}' not found"))
        }
        other => other.into(),
    })
}

/// What the body of a creation asks for.
struct Wish {
    name: String,
    model: Value,
    columns: Value,
}

impl Wish {
    fn read(body: &Map<String, Value>) -> Result<Self, Error> {
        let mut issues = Vec::new();
        let mut text = |field: &'static str| match body.get(field) {
            Some(Value::String(text)) => text.clone(),
            Some(_) => {
                let message = "Input should be a valid string";
                issues.push(Issue::body("string_type", [field], message));
                String::new()
            }
            None => {
                issues.push(Issue::missing(field));
                String::new()
            }
        };
        let (name, provider, model) =
            (text("name"), text("embedding_provider"), text("embedding_model"));
        if !issues.is_empty() {
            return Err(Error::Issues(issues));
        }
        check_backend(body)?;
        Ok(Self { name, model: selection(body, provider.trim(), &model)?, columns: columns(body)? })
    }
}

/// `{"name", "provider", …}`: what chunks and questions are embedded with.
fn selection(body: &Map<String, Value>, provider: &str, model: &str) -> Result<Value, Error> {
    let unknown = || Error::worded(StatusCode::NOT_FOUND, "Model provider not found".to_owned());
    if provider.is_empty() {
        return Err(unknown());
    }
    let chosen = match body.get("model_selection") {
        None | Some(Value::Null) => return Ok(json!({"name": model, "provider": provider})),
        Some(Value::Array(choices)) => choices.first().cloned().unwrap_or(Value::Null),
        Some(chosen) => chosen.clone(),
    };
    match chosen.get("provider").and_then(Value::as_str) {
        Some(named) if named.trim().eq_ignore_ascii_case(provider) => Ok(chosen),
        _ => Err(unknown()),
    }
}

fn columns(body: &Map<String, Value>) -> Result<Value, Error> {
    let wrong = || Issue::body("list_type", ["column_config"], "Input should be a valid list");
    match body.get("column_config") {
        None | Some(Value::Null) => Ok(Value::Null),
        Some(Value::Array(columns)) => Ok(columns.iter().map(column).collect()),
        Some(_) => Err(wrong().into()),
    }
}

fn column(column: &Value) -> Value {
    let flag = |name: &str| column.get(name).and_then(Value::as_bool).unwrap_or(false);
    json!({
        "column_name": column.get("column_name"),
        "vectorize": flag("vectorize"),
        "identifier": flag("identifier"),
    })
}

fn check_backend(body: &Map<String, Value>) -> Result<(), Error> {
    match body.get("backend_type").and_then(Value::as_str).map(str::trim) {
        None | Some("" | BACKEND) => Ok(()),
        Some(other) => {
            let message = format!(
                "Value error, Vector-store backend '{other}' is not enabled in this build. \
                 Available backends: {BACKEND}."
            );
            Err(Issue::body("value_error", ["backend_type"], &message).into())
        }
    }
}

fn checked(name: String) -> Result<String, Error> {
    if name.chars().count() < NAME_CHARS_MIN {
        let told = "Knowledge base name must be at least 3 characters";
        return Err(Error::Refused(told.to_owned()));
    }
    if name.contains(['/', '\\', '\0']) {
        let told = format!("Access denied for knowledge base '{name}'.");
        return Err(Error::worded(StatusCode::FORBIDDEN, told));
    }
    Ok(name)
}

fn names(body: &Map<String, Value>) -> Result<Vec<String>, Error> {
    let wrong = || Issue::body("list_type", ["kb_names"], "Input should be a valid list");
    let listed = body.get("kb_names").ok_or_else(|| Issue::missing("kb_names"))?;
    let listed = listed.as_array().ok_or_else(wrong)?;
    let names = listed.iter().map(|name| name.as_str().map(str::to_owned));
    Ok(names.collect::<Option<_>>().ok_or_else(wrong)?)
}

/// As Langflow shows one.
fn info(base: &KnowledgeBase) -> Value {
    let (columns, none) = (base.configuration.get("column_config"), json!([]));
    let columns = columns.filter(|columns| columns.is_array());
    shown(base, columns.unwrap_or(&none), [CHUNK_SIZE, CHUNK_OVERLAP].map(Some))
}

fn shown(base: &KnowledgeBase, columns: &Value, [size, overlap]: [Option<u64>; 2]) -> Value {
    let model = |field: &str, otherwise: &str| {
        let chosen = base.configuration.pointer(&format!("/model_selection/{field}"));
        chosen.and_then(Value::as_str).unwrap_or(otherwise).to_owned()
    };
    let number = |field: &str| base.figures.get(field).and_then(Value::as_u64).unwrap_or(0);
    let (chunks, characters) = (number("chunks"), number("characters"));
    let has_failed = base.figures.get("status").and_then(Value::as_str) == Some("failed");
    let status = match (has_failed, chunks) {
        (true, _) => "failed",
        (false, 0) => "empty",
        (false, _) => "ready",
    };
    let failure = if has_failed { base.figures.get("failure_reason") } else { None };
    json!({
        "id": base.id,
        "dir_name": base.name,
        "name": base.name.replace('_', " "),
        "embedding_provider": model("provider", "Unknown"),
        "embedding_model": model("name", "Unknown"),
        "size": number("size"),
        "words": number("words"),
        "characters": characters,
        "chunks": chunks,
        "avg_chunk_size": average(characters, chunks),
        "chunk_size": size,
        "chunk_overlap": overlap,
        "separator": null,
        "status": status,
        "failure_reason": failure,
        "last_job_id": null,
        "source_types": base.figures.get("source_types").cloned().unwrap_or_else(|| json!([])),
        "column_config": columns,
        "backend_type": BACKEND,
        "backend_config": {},
        "storage_state": "ready",
        "storage_generation": 1,
        "active_migration_id": null,
    })
}

/// To one place behind the point.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn average(sum: u64, count: u64) -> f64 {
    if count == 0 { 0.0 } else { (sum as f64 / count as f64 * 10.0).round() / 10.0 }
}
