//! The body of `/run`, read as Langflow reads it: `{"input_request": …, "context": …}` is checked
//! and refused when wrong; a flat body is taken when all of it is right, and counts as empty when
//! anything in it is wrong.

use axum::body::Bytes;
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::header::CONTENT_TYPE;
use serde_json::{Map, Value};

use super::upload::unreadable;
use crate::error::{Error, Issue};
use crate::extract::{Raw, parse};
use crate::python;
use crate::start_run::Ask;

/// Fields that are texts or null.
const TEXTS: [&str; 4] = ["input_value", "output_component", "session_id", "user_id"];

const INPUT_TYPES: &str = "'chat', 'text' or 'any'";
const OUTPUT_TYPES: &str = "'chat', 'text', 'any' or 'debug'";

/// What the request asks for.
pub(super) async fn read(request: Request) -> Result<Ask, Error> {
    let content = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content = content.unwrap_or_default().to_lowercase();
    if content.starts_with("multipart/form-data") {
        return Ok(form(request).await?.unwrap_or_default());
    }
    let Raw(bytes) = Raw::from_request(request, &()).await?;
    if bytes.is_empty() {
        return Ok(Ask::default());
    }
    if !is_json(&content) {
        return Ok(flat(&bytes));
    }
    let value = match parse(&bytes) {
        // Python's reader takes `NaN`; its second reader, for the flat form, does not.
        Err(Error::Issues(_)) if is_pythonic(&bytes) => return Ok(Ask::default()),
        value => value?,
    };
    let Value::Object(body) = value else {
        return Err(Error::Issues(vec![
            Issue::missing("input_request"),
            Issue::missing("context"),
        ]));
    };
    let mut issues = Vec::new();
    let wrapped = body.get("input_request").filter(|value| !value.is_null());
    if let Some(wrapped) = wrapped {
        issues.extend(wrapped_issues(wrapped));
    }
    if !matches!(body.get("context"), None | Some(Value::Null | Value::Object(_))) {
        let message = "Input should be a valid dictionary";
        issues.push(Issue::body("dict_type", ["context"], message));
    }
    match wrapped {
        _ if !issues.is_empty() => Err(Error::Issues(issues)),
        Some(Value::Object(request)) => Ok(ask(request)),
        _ if field_issues(&body).is_empty() => Ok(ask(&body)),
        _ => Ok(Ask::default()),
    }
}

fn is_json(content: &str) -> bool {
    let essence = content.split(';').next().unwrap_or_default().trim();
    let subtype = essence.strip_prefix("application/");
    subtype.is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}

fn is_pythonic(bytes: &Bytes) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| python::error_position(text).is_none())
}

fn flat(bytes: &[u8]) -> Ask {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(body)) if field_issues(&body).is_empty() => ask(&body),
        _ => Ask::default(),
    }
}

/// `None` when a field is wrong: then the request counts as empty.
async fn form(request: Request) -> Result<Option<Ask>, Error> {
    let Ok(mut form) = Multipart::from_request(request, &()).await else { return Ok(None) };
    let mut body = Map::new();
    while let Some(field) = form.next_field().await.map_err(unreadable)? {
        let name = field.name().unwrap_or_default().to_owned();
        let is_file = field.file_name().is_some();
        let text = field.bytes().await.map_err(unreadable)?;
        let Ok(text) = String::from_utf8(text.into()) else { continue };
        if is_file {
            continue;
        }
        if name == "tweaks" {
            // Tweaks that are no JSON are left out, as there.
            if let Ok(tweaks) = serde_json::from_str(&text) {
                body.insert(name, tweaks);
            }
        } else if TEXTS.contains(&&*name) || name == "input_type" || name == "output_type" {
            body.insert(name, Value::String(text));
        }
    }
    Ok(field_issues(&body).is_empty().then(|| ask(&body)))
}

fn wrapped_issues(value: &Value) -> Vec<Issue> {
    let Value::Object(request) = value else {
        let message = "Input should be a valid dictionary or object to extract fields from";
        return vec![Issue::body("model_attributes_type", ["input_request"], message)];
    };
    let mut issues = field_issues(request);
    for issue in &mut issues {
        issue.place.insert(1, "input_request".into());
    }
    issues
}

/// What pydantic would find, in the order of its fields.
fn field_issues(body: &Map<String, Value>) -> Vec<Issue> {
    let text = |field: &'static str| match body.get(field) {
        None | Some(Value::Null | Value::String(_)) => None,
        Some(_) => Some(Issue::body("string_type", [field], "Input should be a valid string")),
    };
    let literal = |field: &'static str, expected: &'static str| match body.get(field) {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) if expected.contains(&format!("'{name}'")) => None,
        Some(_) => Some(Issue {
            expected: Some(expected),
            ..Issue::body("literal_error", [field], format!("Input should be {expected}"))
        }),
    };
    let mut issues = Vec::new();
    issues.extend(text("input_value"));
    issues.extend(literal("input_type", INPUT_TYPES));
    issues.extend(literal("output_type", OUTPUT_TYPES));
    issues.extend(text("output_component"));
    issues.extend(tweak_issues(body.get("tweaks")));
    issues.extend(text("session_id"));
    issues.extend(text("user_id"));
    issues
}

fn tweak_issues(tweaks: Option<&Value>) -> Vec<Issue> {
    let Some(Value::Object(tweaks)) = tweaks else {
        return match tweaks {
            None | Some(Value::Null) => Vec::new(),
            Some(_) => {
                let message = "Input should be a valid dictionary";
                vec![Issue::body("dict_type", ["tweaks"], message)]
            }
        };
    };
    let mut issues = Vec::new();
    for (key, value) in tweaks {
        if matches!(value, Value::Null | Value::Array(_)) {
            // Pydantic says this once for each member of its union.
            for (kind, noun) in [
                ("bool_type", "boolean"),
                ("int_type", "integer"),
                ("float_type", "number"),
                ("string_type", "string"),
                ("dict_type", "dictionary"),
            ] {
                let member = match kind {
                    "bool_type" => "bool",
                    "int_type" => "int",
                    "float_type" => "float",
                    "string_type" => "str",
                    _ => "dict[str,any]",
                };
                let message = format!("Input should be a valid {noun}");
                issues.push(Issue::body(kind, ["tweaks", key, member], message));
            }
        }
    }
    issues
}

/// The fields of a body that was checked.
fn ask(body: &Map<String, Value>) -> Ask {
    let text = |field: &str| body.get(field).and_then(Value::as_str).map(str::to_owned);
    Ask {
        input_value: text("input_value"),
        input_type: text("input_type"),
        output_type: text("output_type"),
        output_component: text("output_component"),
        tweaks: body.get("tweaks").and_then(Value::as_object).cloned().unwrap_or_default(),
        session_id: text("session_id"),
        ..Ask::default()
    }
}
