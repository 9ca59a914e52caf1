//! Flows as Langflow's API reads and writes them.

use domain::flow::Export;
use domain::id::{FlowId, ProjectId};
use serde_json::{Map, Value, json};
use store::{Flow, FlowHeader, NewFlow};

use crate::auth::Principal;
use crate::clock;
use crate::error::{Error, Issue};

/// What a flow says about itself beyond what has a column, with what it is when it says nothing.
const OTHER_FIELDS: [(&str, Other); 11] = [
    ("icon_bg_color", Other::Null),
    ("gradient", Other::Null),
    ("webhook", Other::False),
    ("locked", Other::False),
    ("mcp_enabled", Other::False),
    ("action_name", Other::Null),
    ("action_description", Other::Null),
    ("access_type", Other::Text("PRIVATE")),
    ("flow_type", Other::Text("workflow")),
    ("a2a_enabled", Other::False),
    ("a2a_card_overrides", Other::Null),
];

#[derive(Clone, Copy, Debug)]
enum Other {
    Null,
    False,
    Text(&'static str),
}

impl Other {
    fn value(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::False => false.into(),
            Self::Text(text) => text.into(),
        }
    }
}

/// Langflow's `FlowRead`.
pub(super) fn read(flow: &Flow) -> Value {
    let header = &flow.header;
    let other = |name: &str| other(&flow.export, name);
    json!({
        "name": header.name,
        "description": header.description,
        "icon": header.icon,
        "icon_bg_color": other("icon_bg_color"),
        "gradient": other("gradient"),
        "data": flow.data,
        "is_component": is_component(&flow.export),
        "updated_at": clock::whole_seconds(header.updated),
        "webhook": other("webhook"),
        "endpoint_name": header.endpoint_name,
        "tags": tags(header, Some(&flow.export)),
        "locked": other("locked"),
        "mcp_enabled": other("mcp_enabled"),
        "action_name": other("action_name"),
        "action_description": other("action_description"),
        "access_type": other("access_type"),
        "flow_type": other("flow_type"),
        "a2a_enabled": other("a2a_enabled"),
        "a2a_card_overrides": other("a2a_card_overrides"),
        "id": header.id,
        "user_id": header.owner,
        "folder_id": header.project,
        "workspace_id": null,
        "name_key": null,
        "version_token": null,
    })
}

/// Langflow's `FlowHeader`: no graph.
pub(super) fn read_header(header: &FlowHeader) -> Value {
    json!({
        "id": header.id,
        "name": header.name,
        "folder_id": header.project,
        "is_component": false,
        "endpoint_name": header.endpoint_name,
        "description": header.description,
        "data": null,
        "access_type": "PRIVATE",
        "tags": tags(header, None),
        "mcp_enabled": false,
        "flow_type": "workflow",
        "a2a_enabled": false,
        "a2a_card_overrides": null,
        "action_name": null,
        "action_description": null,
        "updated_at": clock::whole_seconds(header.updated),
    })
}

/// A flow from the body of `POST /flows/`.
pub(super) fn new_flow(principal: &Principal, body: Map<String, Value>) -> Result<NewFlow, Error> {
    let Some(name) = text(&body, "name")? else { return Err(Issue::missing("name").into()) };
    let data = body.get("data").cloned().unwrap_or(Value::Null);
    check_data(&data)?;
    Ok(NewFlow {
        id: None,
        name,
        endpoint_name: endpoint_name(&body)?,
        description: text(&body, "description")?,
        icon: text(&body, "icon")?,
        tags: texts(&body, "tags"),
        project: project(&body)?,
        owner: Some(principal.user),
        data,
        export: others(body),
    })
}

/// A flow from an uploaded file.
pub(super) fn from_export(
    principal: &Principal,
    project: Option<ProjectId>,
    export: Export,
) -> NewFlow {
    let whole = export.to_value();
    let rest = whole.as_object().cloned().unwrap_or_default();
    let id = export.id.as_deref().and_then(|id| id.parse::<FlowId>().ok());
    NewFlow {
        id,
        name: export.name,
        endpoint_name: export.endpoint_name.filter(|name| is_endpoint_name(name)),
        description: export.description,
        icon: rest.get("icon").and_then(Value::as_str).map(str::to_owned),
        tags: export.tags,
        project,
        owner: Some(principal.user),
        data: export.data,
        export: others(rest),
    }
}

/// The members of a body that have no column, for the flow's export.
pub(super) fn others(mut body: Map<String, Value>) -> Value {
    const COLUMNS: [&str; 8] =
        ["id", "name", "endpoint_name", "description", "icon", "folder_id", "user_id", "data"];
    for column in COLUMNS {
        body.shift_remove(column);
    }
    Value::Object(body)
}

/// A text of the body; `None` when it is absent or null.
pub(super) fn text(body: &Map<String, Value>, field: &str) -> Result<Option<String>, Error> {
    match body.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => {
            Err(Issue::body("string_type", [field], "Input should be a valid string").into())
        }
    }
}

/// The endpoint name of the body, which has to fit into a URL.
pub(super) fn endpoint_name(body: &Map<String, Value>) -> Result<Option<String>, Error> {
    match text(body, "endpoint_name")?.filter(|name| !name.is_empty()) {
        Some(name) if !is_endpoint_name(&name) => {
            let message = "Value error, Endpoint name must contain only letters, numbers, \
                           hyphens, and underscores";
            Err(Issue::body("value_error", ["endpoint_name"], message).into())
        }
        name => Ok(name),
    }
}

/// The project that the body names.
pub(super) fn project(body: &Map<String, Value>) -> Result<Option<ProjectId>, Error> {
    let wrong = || Issue::body("uuid_parsing", ["folder_id"], "Input should be a valid UUID");
    match text(body, "folder_id")? {
        None => Ok(None),
        Some(text) => Ok(Some(text.parse().map_err(|_| wrong())?)),
    }
}

/// The texts of a list of the body.
pub(super) fn texts(body: &Map<String, Value>, field: &str) -> Vec<String> {
    let list = body.get(field).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Langflow's own demands on `data`; whether it can run is another question.
pub(super) fn check_data(data: &Value) -> Result<(), Error> {
    let message = match data {
        Value::Null => return Ok(()),
        Value::Object(map) if map.is_empty() => return Ok(()),
        Value::Object(map) if !map.contains_key("nodes") => "Value error, Flow must have nodes",
        Value::Object(map) if !map.contains_key("edges") => "Value error, Flow must have edges",
        Value::Object(_) => return Ok(()),
        _ => {
            let message = "Input should be a valid dictionary";
            return Err(Issue::body("dict_type", ["data"], message).into());
        }
    };
    Err(Issue::body("value_error", ["data"], message).into())
}

/// Whether there is nothing in the flow yet: it may be stored, it cannot run.
pub(super) fn is_empty(data: &Value) -> bool {
    let nodes = data.get("nodes").and_then(Value::as_array);
    data.is_null() || nodes.map_or(data == &json!({}), Vec::is_empty)
}

fn is_endpoint_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

fn other(export: &Value, name: &str) -> Value {
    let default = OTHER_FIELDS.iter().find(|(field, _)| *field == name).map(|(_, other)| *other);
    let default = default.unwrap_or(Other::Null).value();
    export.get(name).filter(|value| !value.is_null()).cloned().unwrap_or(default)
}

fn is_component(export: &Value) -> bool {
    export.get("is_component") == Some(&Value::Bool(true))
}

fn tags(header: &FlowHeader, export: Option<&Value>) -> Value {
    let given = export.and_then(|export| export.get("tags")).is_some_and(Value::is_array);
    if header.tags.is_empty() && !given {
        return Value::Null;
    }
    header.tags.iter().cloned().collect()
}
