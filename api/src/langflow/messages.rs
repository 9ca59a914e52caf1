//! Stored chat messages.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use domain::id::{FlowId, MessageId};
use serde_json::{Map, Value, json};
use store::{Message, MessageFilter};

use super::content_blocks;
use crate::app::App;
use crate::auth::Principal;
use crate::clock;
use crate::error::Error;
use crate::extract::{Params, Raw};
use crate::python;

/// Langflow's limits of one list.
const LIMIT: u64 = 100;
const LIMIT_MAX: u64 = 200;

/// `GET /api/v1/monitor/messages`: the latest that fit, in the order asked for.
pub(crate) async fn list(
    State(app): State<App>,
    principal: Principal,
    params: Params,
) -> Result<Json<Vec<Value>>, Error> {
    let descending = match params.text("order").map(str::to_uppercase).as_deref() {
        None | Some("ASC") => false,
        Some("DESC") => true,
        Some(other) => return Err(Error::Refused(format!("Invalid order direction: {other}"))),
    };
    let limit = params.number("limit")?.filter(|limit| *limit > 0);
    let filter = MessageFilter {
        flow: params.id::<FlowId>("flow_id")?,
        session_id: params.text("session_id").map(str::to_owned),
        sender: params.text("sender").map(str::to_owned),
        sender_name: params.text("sender_name").map(str::to_owned),
        newest_first: true,
        limit: Some(limit.unwrap_or(LIMIT).min(LIMIT_MAX)),
        ..MessageFilter::default()
    };
    let messages = app.tenant(&principal).messages(&filter).await?;
    let mut rows: Vec<Value> = messages.iter().map(read).collect();
    if !descending {
        rows.reverse();
    }
    Ok(Json(rows))
}

/// `GET /api/v1/monitor/messages/sessions`.
pub(crate) async fn sessions(
    State(app): State<App>,
    principal: Principal,
    params: Params,
) -> Result<Json<Vec<String>>, Error> {
    Ok(Json(app.tenant(&principal).sessions(params.id("flow_id")?).await?))
}

/// `DELETE /api/v1/monitor/messages`: those whose ids the body lists.
pub(crate) async fn delete(
    State(app): State<App>,
    principal: Principal,
    body: Raw,
) -> Result<StatusCode, Error> {
    let ids: Vec<MessageId> = body.ids()?;
    // An empty list means nothing, never everything.
    if !ids.is_empty() {
        let filter = MessageFilter { ids: Some(ids), ..MessageFilter::default() };
        app.tenant(&principal).delete_messages(&filter).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /api/v1/monitor/messages/session/{session_id}`.
pub(crate) async fn delete_session(
    State(app): State<App>,
    principal: Principal,
    Path(session): Path<String>,
) -> Result<StatusCode, Error> {
    let filter = MessageFilter { session_id: Some(session), ..MessageFilter::default() };
    app.tenant(&principal).delete_messages(&filter).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn read(message: &Message) -> Value {
    let nothing = Map::new();
    let dump = message.data.as_object().unwrap_or(&nothing);
    let inner = dump.get("data").and_then(Value::as_object).unwrap_or(&nothing);
    let field = |name: &str| dump.get(name).or_else(|| inner.get(name)).cloned();
    let or_null = |name: &str| field(name).unwrap_or(Value::Null);
    let said = field("timestamp").filter(Value::is_string);
    // A list inside a text, written by Python: clients parse it again.
    let files = python::dumps(&field("files").filter(Value::is_array).unwrap_or(json!([])));
    json!({
        "id": message.id,
        "flow_id": message.flow,
        "timestamp": said.unwrap_or_else(|| clock::message(message.timestamp).into()),
        "sender": message.sender,
        "sender_name": message.sender_name,
        "session_id": message.session_id,
        "context_id": or_null("context_id"),
        "text": field("text").unwrap_or_else(|| "".into()),
        "files": files,
        "edit": field("edit").unwrap_or(Value::Bool(false)),
        "duration": or_null("duration"),
        "properties": or_null("properties"),
        "category": or_null("category"),
        "content_blocks": content_blocks::render(&or_null("content_blocks")),
        "session_metadata": or_null("session_metadata"),
    })
}
