//! Values that a run's caller sets on fields of the flow, by Langflow's rules.
//!
//! A tweak names a node by id or display name, or, as a plain value, every node that has the
//! field. Nothing is written unless everything is allowed: code and what decides over code keep
//! the author's value.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value};
use thiserror::Error;

use crate::flow::{Address, Graph, Node, Place, leads_to_code};
use crate::input::InputType;

/// Component types that run code which their fields hold or permit.
const CODE_KINDS: [&str; 18] = [
    "CSVAgent",
    "CodeAct Agent (Smolagents)",
    "CodeActAgentSmolagents",
    "Cuga",
    "LambdaFilterComponent",
    "OpenDsStar Agent",
    "OpenDsStarAgent",
    "Python Code Structured",
    "PythonCodeStructuredTool",
    "Python Function",
    "PythonFunction",
    "PythonFunctionComponent",
    "Python Interpreter",
    "PythonREPLComponent",
    "Python REPL",
    "PythonREPLToolComponent",
    "PythonREPLTool",
    "Smart Transform",
];

/// Fields of [`CODE_KINDS`] that hold code or open its sandbox.
const CODE_FIELDS: [&str; 6] = [
    "allow_dangerous_code",
    "function_code",
    "python_code",
    "tool_code",
    "filter_instruction",
    "global_imports",
];

/// Fields that say where a stored credential is sent.
const SINKS: [(&str, &[&str]); 8] = [
    ("SQLComponent", &["database_url", "query"]),
    ("BingSearchAPI", &["bing_search_url"]),
    ("BingSearchAPIComponent", &["bing_search_url"]),
    ("Bing Search API", &["bing_search_url"]),
    ("ext:bing:BingSearchAPIComponent@official", &["bing_search_url"]),
    ("ext:bing:BingSearchAPIComponent@official-pre-a", &["bing_search_url"]),
    ("lfx.components.bing.bing_search_api.BingSearchAPIComponent", &["bing_search_url"]),
    ("lfx.components.bing.BingSearchAPIComponent", &["bing_search_url"]),
];

/// The reason that Langflow gives its caller, word for word: clients show it.
const PROTECTED: &str = "The field is protected and keeps the value set by the flow author.";

/// What tweaks changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// `(node, field)` of every field that was written, in order.
    pub fields: Vec<(String, String)>,
    /// Keys that name no node, or fields that the named node does not have (`key.field`).
    /// Langflow ignores these silently; a caller may want to be told.
    pub unmatched: Vec<String>,
}

/// Why tweaks are refused. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// A field keeps the author's value. Langflow answers 422 with `error`
    /// [`Error::REFUSED_ERROR`], `code` [`Error::REFUSED_CODE`], this `message` and `fields`.
    #[error("refused tweaks of {}: {message}", fields.join(", "))]
    Refused {
        /// The fields, sorted, each once.
        fields: Vec<String>,
        /// Langflow's sentence for the caller.
        message: &'static str,
    },
    /// The run's input and a tweak set the same field. Langflow answers 400 with
    /// [`ConflictInput::detail`].
    #[error("tweak {key} sets the input value that the run also sets")]
    InputConflict {
        /// The tweak.
        key: String,
        /// Which kind of input.
        input: ConflictInput,
    },
}

/// The inputs for which a tweak and the run's value conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConflictInput {
    /// A chat input.
    Chat,
    /// A text input.
    Text,
}

impl Error {
    /// Langflow's `detail.error` of a refusal.
    pub const REFUSED_ERROR: &str = "Refused tweaks";
    /// Langflow's `detail.code` of a refusal.
    pub const REFUSED_CODE: &str = "TWEAKS_REFUSED";
}

impl ConflictInput {
    /// Langflow's `detail` of the conflict, word for word.
    #[must_use]
    pub fn detail(self) -> &'static str {
        match self {
            Self::Chat => {
                "If you pass an input_value to the chat input, you cannot pass a tweak with the \
                 same name."
            }
            Self::Text => {
                "If you pass an input_value to the text input, you cannot pass a tweak with the \
                 same name."
            }
        }
    }
}

/// Refuses tweaks that set the field into which the run's own input goes.
///
/// # Errors
/// [`Error::InputConflict`].
pub fn check_input(
    tweaks: &Map<String, Value>,
    has_input_value: bool,
    input_type: InputType,
) -> Result<(), Error> {
    let conflict = |key: &str| {
        let names = |spellings: [&str; 2]| spellings.iter().any(|name| key.contains(name));
        if names(["ChatInput", "Chat Input"]) {
            (input_type == InputType::Chat).then_some(ConflictInput::Chat)
        } else if names(["TextInput", "Text Input"]) {
            (input_type == InputType::Text).then_some(ConflictInput::Text)
        } else {
            None
        }
    };
    if !has_input_value {
        return Ok(());
    }
    for (key, value) in tweaks {
        let sets_input = value.get("input_value").is_some_and(|value| !value.is_null());
        if let (true, Some(input)) = (sets_input, conflict(key)) {
            return Err(Error::InputConflict { key: key.clone(), input });
        }
    }
    Ok(())
}

/// Applies the tweaks of a run. `stream` is what the request asked for: Langflow sets a field of
/// that name on every node that has one, unless the caller tweaks it.
///
/// # Errors
/// [`Error::Refused`] when any field keeps the author's value.
pub fn apply(
    graph: &mut Graph,
    tweaks: &Map<String, Value>,
    stream: bool,
) -> Result<Applied, Error> {
    let mut applied = Applied::default();
    let writes = plan(graph, tweaks, stream, &mut applied.unmatched)?;
    for write in writes {
        let Some(node) = graph.nodes_mut().get_mut(write.position) else {
            continue;
        };
        if let Some(Value::Object(field)) = node.template.get_mut(&write.field) {
            set(field, write.value);
            applied.fields.push((node.id.clone(), write.field));
        }
    }
    Ok(applied)
}

/// Whether a tweak may never set this field of a component of this type.
#[must_use]
pub fn is_protected(kind: &str, field: &str, field_type: &str) -> bool {
    let is_sink = |(sink, fields): &(&str, &[&str])| *sink == kind && fields.contains(&field);
    field_type == "code"
        || field == "code"
        || (CODE_KINDS.contains(&kind) && CODE_FIELDS.contains(&field))
        || SINKS.iter().any(is_sink)
}

struct Write<'t> {
    position: usize,
    field: String,
    value: &'t Value,
}

/// Decides everything before anything is written.
fn plan<'t>(
    graph: &Graph,
    tweaks: &'t Map<String, Value>,
    stream: bool,
    unmatched: &mut Vec<String>,
) -> Result<Vec<Write<'t>>, Error> {
    let asked = if stream { &Value::Bool(true) } else { &Value::Bool(false) };
    let injected = (!tweaks.contains_key("stream")).then_some(("stream", asked));
    // As in Langflow, later nodes of the same id or name win.
    let by_id: HashMap<&str, &Address> =
        graph.addresses().iter().map(|address| (address.id.as_str(), address)).collect();
    let by_name: HashMap<&str, &Address> = graph
        .addresses()
        .iter()
        .filter_map(|address| Some((address.display_name.as_deref()?, address)))
        .collect();
    let mut chosen = Chosen { graph, writes: Vec::new(), refused: BTreeSet::new() };
    for (key, value) in tweaks {
        let Value::Object(fields) = value else {
            continue;
        };
        let Some(address) = by_id.get(key.as_str()).or_else(|| by_name.get(key.as_str())) else {
            unmatched.push(key.clone());
            continue;
        };
        for (field, value) in fields {
            if !chosen.choose(address, field, value) {
                unmatched.push(format!("{key}.{field}"));
            }
        }
    }
    for address in graph.addresses() {
        let scalars = tweaks.iter().filter(|(_, value)| !value.is_object());
        let scalars = scalars.map(|(field, value)| (field.as_str(), value));
        for (field, value) in scalars.chain(injected) {
            chosen.choose(address, field, value);
        }
    }
    if chosen.refused.is_empty() {
        return Ok(chosen.writes);
    }
    Err(Error::Refused { fields: chosen.refused.into_iter().collect(), message: PROTECTED })
}

struct Chosen<'g, 't> {
    graph: &'g Graph,
    writes: Vec<Write<'t>>,
    refused: BTreeSet<String>,
}

impl<'t> Chosen<'_, 't> {
    /// Plans one write or refusal; false when the address has no such field.
    fn choose(&mut self, address: &Address, name: &str, value: &'t Value) -> bool {
        let kind = address.kind.as_deref().unwrap_or_default();
        match &address.place {
            Place::Nothing => false,
            Place::Node => {
                let Some(position) = self.graph.position(&address.id) else {
                    return false;
                };
                let node = self.graph.nodes().get(position);
                let Some((node, field)) = node.and_then(|node| Some((node, node.field(name)?)))
                else {
                    return false;
                };
                let field_type = field_type(field);
                if is_refused(kind, name, field_type, value, is_led_to_code(node, field)) {
                    self.refused.insert(name.to_owned());
                } else {
                    self.writes.push(Write { position, field: name.to_owned(), value });
                }
                true
            }
            Place::Group(fields) => {
                let Some(field) = fields.iter().find(|field| field.name == name) else {
                    return false;
                };
                if is_refused(kind, name, &field.kind, value, field.is_protected) {
                    self.refused.insert(name.to_owned());
                } else if let Some((node, inner)) = &field.target
                    && let Some(position) = self.graph.position(node)
                {
                    self.writes.push(Write { position, field: inner.clone(), value });
                }
                true
            }
        }
    }
}

fn is_led_to_code(node: &Node, field: &Map<String, Value>) -> bool {
    node.component().is_some_and(|component| leads_to_code(component, field))
}

fn field_type(field: &Map<String, Value>) -> &str {
    field.get("type").and_then(Value::as_str).unwrap_or_default()
}

/// A dict tweak is merged into the field's definition, so it could also redirect a group's field
/// to another child after that was checked.
fn is_refused(kind: &str, name: &str, field_type: &str, value: &Value, leads: bool) -> bool {
    let is_merged = !matches!(field_type, "NestedDict" | "mcp" | "dict");
    let redirects = is_merged && value.get("proxy").is_some();
    leads || redirects || is_protected(kind, name, field_type)
}

fn set(field: &mut Map<String, Value>, value: &Value) {
    let kind = field_type(field).to_owned();
    let mut put = |key: &str, value: Value| field.insert(key.to_owned(), value);
    match (kind.as_str(), value) {
        ("NestedDict", Value::String(text)) => {
            put("value", serde_json::from_str(text).unwrap_or_else(|_| value.clone()));
        }
        ("NestedDict" | "mcp", _) => {
            put("value", value.clone());
        }
        ("dict", Value::Object(map)) => {
            let wrapped = map.get("value").filter(|_| map.len() == 1);
            put("value", wrapped.unwrap_or(value).clone());
        }
        (_, Value::Object(map)) => {
            for (key, value) in map {
                put(if kind == "file" { "file_path" } else { key }, value.clone());
            }
            if !map.contains_key("load_from_db") {
                stop_lookup(field);
            }
        }
        _ => {
            put(if kind == "file" { "file_path" } else { "value" }, value.clone());
            stop_lookup(field);
        }
    }
}

/// The field now holds a value and no longer the name of a variable.
fn stop_lookup(field: &mut Map<String, Value>) {
    if let Some(lookup) = field.get_mut("load_from_db") {
        *lookup = Value::Bool(false);
    }
}

#[cfg(test)]
mod tests;
