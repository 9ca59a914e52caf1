//! Bodies of Langflow's workflow routes, refused as its models refuse them.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use domain::id::FlowId;
use serde_json::{Map, Value, json};
use store::Secret;

use crate::error::{Error, Issue};
use crate::extract::Raw;
use crate::start_run::Ask;

/// Most characters of an idempotency key.
const KEY_CHARS_MAX: usize = 255;

/// Everything that Langflow's body may name.
const FIELDS: [&str; 14] = [
    "flow_id",
    "input_value",
    "tweaks",
    "session_id",
    "mode",
    "stream_protocol",
    "expose_graph_state",
    "data",
    "files",
    "start_component_id",
    "stop_component_id",
    "output_ids",
    "globals",
    "idempotency_key",
];

/// How a run is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Sync,
    Background,
}

/// What a caller wants.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) flow: FlowId,
    pub(super) mode: Mode,
    pub(super) ask: Ask,
    pub(super) globals: Value,
    pub(super) output_ids: Vec<String>,
    pub(super) idempotency_key: Option<String>,
}

/// A decision.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) request_id: String,
    pub(super) decision: Value,
}

/// `WorkflowRunRequest`.
pub(super) fn read(body: &Raw) -> Result<Wanted, Error> {
    let body = Fields(body.object()?);
    let mut issues = Vec::new();
    if !body.0.contains_key("flow_id") {
        issues.push(Issue::missing("flow_id"));
    }
    let unknown = body.0.keys().filter(|key| !FIELDS.contains(&key.as_str()));
    issues.extend(unknown.map(|key| {
        Issue::body("extra_forbidden", [key.as_str()], "Extra inputs are not permitted")
    }));
    if !issues.is_empty() {
        return Err(Error::Issues(issues));
    }
    let flow = body.text("flow_id")?.unwrap_or_default().parse().map_err(|_| {
        let none: [&str; 0] = [];
        Issue::body("value_error", none, "Value error, Invalid flow_id, must be a UUID")
    })?;
    let mode = mode(&body)?;
    body.refuse("data")?;
    body.refuse("files")?;
    let globals = body.map("globals")?;
    let variables: BTreeMap<String, Secret> = globals
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), Secret::new(value.as_str()?))))
        .collect();
    let idempotency_key = body.text("idempotency_key")?;
    if idempotency_key.as_ref().is_some_and(|key| key.chars().count() > KEY_CHARS_MAX) {
        let message = format!("String should have at most {KEY_CHARS_MAX} characters");
        return Err(Issue::body("string_too_long", ["idempotency_key"], message).into());
    }
    Ok(Wanted {
        flow,
        mode,
        ask: Ask {
            input_value: Some(body.text("input_value")?.unwrap_or_default()),
            // Every end of the flow is an answer.
            output_type: Some("debug".to_owned()),
            start_component_id: body.text("start_component_id")?,
            stop_component_id: body.text("stop_component_id")?,
            tweaks: body.map("tweaks")?,
            session_id: body.text("session_id")?,
            variables,
            ..Ask::default()
        },
        globals: Value::Object(globals),
        output_ids: body.texts("output_ids")?,
        idempotency_key: idempotency_key.filter(|key| !key.is_empty()),
    })
}

/// `WorkflowResumeRequest`.
pub(super) fn answer(body: &Raw) -> Result<Answer, Error> {
    let body = Fields(body.object()?);
    let missing = || Issue::missing("request_id");
    let request_id = body.text("request_id")?.ok_or_else(missing)?;
    let decision = match body.0.get("decision") {
        None | Some(Value::Null) => json!({}),
        Some(decision @ Value::Object(_)) => decision.clone(),
        Some(_) => return Err(not_a_dict("decision")),
    };
    Ok(Answer { request_id, decision })
}

fn mode(body: &Fields) -> Result<Mode, Error> {
    match body.text("mode")?.as_deref() {
        None | Some("sync") => Ok(Mode::Sync),
        Some("background") => Ok(Mode::Background),
        Some("stream") => Err(unsupported(
            "mode 'stream' is not served here: use mode 'sync' or 'background', \
             POST /api/v1/run/{flow}?stream=true, or GET /api/flowcell/v1/runs/{job}/events",
            "mode",
        )),
        Some(_) => Err(Issue {
            kind: "enum",
            place: vec!["body".into(), "mode".into()],
            message: "Input should be 'sync', 'stream' or 'background'".to_owned(),
            expected: Some("'sync', 'stream' or 'background'"),
        }
        .into()),
    }
}

fn unsupported(message: &str, field: &str) -> Error {
    let detail = json!({
        "error": "Unsupported request fields",
        "code": "UNSUPPORTED_FIELDS",
        "message": message,
        "fields": [field],
    });
    Error::worded(StatusCode::UNPROCESSABLE_ENTITY, detail)
}

fn not_a_dict(name: &str) -> Error {
    Issue::body("dict_type", [name], "Input should be a valid dictionary").into()
}

struct Fields(Map<String, Value>);

impl Fields {
    fn text(&self, name: &str) -> Result<Option<String>, Error> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => {
                Err(Issue::body("string_type", [name], "Input should be a valid string").into())
            }
        }
    }

    fn map(&self, name: &str) -> Result<Map<String, Value>, Error> {
        match self.0.get(name) {
            None => Ok(Map::new()),
            Some(Value::Object(map)) => Ok(map.clone()),
            Some(_) => Err(not_a_dict(name)),
        }
    }

    fn texts(&self, name: &str) -> Result<Vec<String>, Error> {
        let not_a_list = || Issue::body("list_type", [name], "Input should be a valid list");
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(items)) => {
                let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
                Ok(texts.collect::<Option<_>>().ok_or_else(not_a_list)?)
            }
            Some(_) => Err(not_a_list().into()),
        }
    }

    /// What would run something else than the stored flow.
    fn refuse(&self, name: &str) -> Result<(), Error> {
        let is_set = self.0.get(name).is_some_and(|value| !value.is_null());
        if is_set { Err(unsupported(&format!("{name} is not served here"), name)) } else { Ok(()) }
    }
}
