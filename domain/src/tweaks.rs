//! Values that a run's caller sets on fields of the flow, by Langflow's rules.
//!
//! A tweak names a node by id or display name, or, as a plain value, every node that has the
//! field. Nothing is written unless everything is allowed: code and what decides over code keep
//! the author's value.

use std::collections::{BTreeSet, HashMap};

use serde::Deserialize;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::flow::{Address, Graph, Node, Place, is_api_editable, leads_to_code};
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

/// The reasons that Langflow gives its caller, word for word: clients show them.
const PROTECTED: &str = "The field is protected and keeps the value set by the flow author.";
const DECLARED: &str = "This flow declares which fields the API may set. Only fields marked \
                        editable via API accept a tweak.";
const OFF: &str = "This deployment does not accept tweaks.";

/// Which fields a caller may set, beside those that nobody may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// All.
    #[default]
    Permissive,
    /// Where the author of a flow marked fields as editable by the API, only those.
    Declared,
    /// None.
    Off,
}

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
        /// Langflow's sentences for the caller.
        message: String,
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

/// Tries the tweaks that a caller sent. What the run itself sets is not the caller's, so only
/// here the policy counts.
///
/// # Errors
/// [`Error::Refused`] when any field keeps the author's value.
pub fn check(graph: &Graph, tweaks: &Map<String, Value>, policy: Policy) -> Result<(), Error> {
    let mut chosen = Chosen::new(graph, policy);
    chosen.caller(tweaks, &mut Vec::new());
    chosen.accepted().map(drop)
}

/// Applies the tweaks of a run. `stream` is what the request asked for: Langflow sets a field of
/// that name on every node that has one, unless the caller tweaks it. `None` leaves these fields:
/// nobody asks where a component runs a flow without tweaks.
///
/// # Errors
/// [`Error::Refused`] when any field keeps the author's value.
pub fn apply(
    graph: &mut Graph,
    tweaks: &Map<String, Value>,
    stream: Option<bool>,
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

const TRUE: Value = Value::Bool(true);
const FALSE: Value = Value::Bool(false);

struct Write<'t> {
    position: usize,
    field: String,
    value: &'t Value,
}

/// Decides everything before anything is written.
fn plan<'t>(
    graph: &Graph,
    tweaks: &'t Map<String, Value>,
    stream: Option<bool>,
    unmatched: &mut Vec<String>,
) -> Result<Vec<Write<'t>>, Error> {
    let asked = stream.map(|stream| if stream { &TRUE } else { &FALSE });
    let mut chosen = Chosen::new(graph, Policy::Permissive);
    chosen.caller(tweaks, unmatched);
    if let Some(asked) = asked.filter(|_| !tweaks.contains_key("stream")) {
        for address in graph.addresses() {
            chosen.choose(address, "stream", asked);
        }
    }
    chosen.accepted()
}

struct Chosen<'g, 't> {
    graph: &'g Graph,
    policy: Policy,
    writes: Vec<Write<'t>>,
    refused: BTreeSet<String>,
    /// Why, in Langflow's order.
    reasons: BTreeSet<Reason>,
}

/// Why a field keeps its value; the order is that of Langflow's sentences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    Protected,
    Declared,
    Off,
}

impl Reason {
    fn text(self) -> &'static str {
        match self {
            Self::Protected => PROTECTED,
            Self::Declared => DECLARED,
            Self::Off => OFF,
        }
    }
}

impl<'g, 't> Chosen<'g, 't> {
    fn new(graph: &'g Graph, policy: Policy) -> Self {
        let declares = policy == Policy::Declared
            && graph.addresses().iter().any(|address| match &address.place {
                Place::Nothing => false,
                Place::Node => graph.node(&address.id).is_some_and(|node| {
                    node.template.values().filter_map(Value::as_object).any(is_api_editable)
                }),
                Place::Group(fields) => fields.iter().any(|field| field.is_api_editable),
            });
        // A flow whose author marked nothing has declared nothing.
        let policy = match policy {
            Policy::Declared if !declares => Policy::Permissive,
            policy => policy,
        };
        let (writes, refused, reasons) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        Self { graph, policy, writes, refused, reasons }
    }

    /// Plans what the caller asks for.
    fn caller(&mut self, tweaks: &'t Map<String, Value>, unmatched: &mut Vec<String>) {
        let addresses = self.graph.addresses();
        // As in Langflow, later nodes of the same id or name win.
        let by_id: HashMap<&str, &Address> =
            addresses.iter().map(|address| (address.id.as_str(), address)).collect();
        let by_name: HashMap<&str, &Address> = addresses
            .iter()
            .filter_map(|address| Some((address.display_name.as_deref()?, address)))
            .collect();
        for (key, value) in tweaks {
            let Value::Object(fields) = value else {
                continue;
            };
            let named = by_id.get(key.as_str()).or_else(|| by_name.get(key.as_str()));
            let Some(address) = named else {
                unmatched.push(key.clone());
                continue;
            };
            for (field, value) in fields {
                if !self.choose(address, field, value) {
                    unmatched.push(format!("{key}.{field}"));
                }
            }
        }
        for address in addresses {
            for (field, value) in tweaks.iter().filter(|(_, value)| !value.is_object()) {
                self.choose(address, field, value);
            }
        }
    }

    fn accepted(self) -> Result<Vec<Write<'t>>, Error> {
        if self.refused.is_empty() {
            return Ok(self.writes);
        }
        let sentences: Vec<&str> = self.reasons.into_iter().map(Reason::text).collect();
        let fields = self.refused.into_iter().collect();
        Err(Error::Refused { fields, message: sentences.join(" ") })
    }

    fn refuse(&mut self, field: &str, reason: Reason) {
        self.refused.insert(field.to_owned());
        self.reasons.insert(reason);
    }

    /// Why the field keeps its value, if it does. Where nothing is accepted, the answer is the same
    /// for every field, so that it does not tell which are protected.
    fn reason(&self, is_protected: bool, is_api_editable: bool) -> Option<Reason> {
        match self.policy {
            Policy::Off => Some(Reason::Off),
            _ if is_protected => Some(Reason::Protected),
            Policy::Declared if !is_api_editable => Some(Reason::Declared),
            Policy::Declared | Policy::Permissive => None,
        }
    }

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
                let protected =
                    is_refused(kind, name, field_type(field), value, is_led_to_code(node, field));
                match self.reason(protected, is_api_editable(field)) {
                    Some(reason) => self.refuse(name, reason),
                    None => self.writes.push(Write { position, field: name.to_owned(), value }),
                }
                true
            }
            Place::Group(fields) => {
                let Some(field) = fields.iter().find(|field| field.name == name) else {
                    return false;
                };
                let protected = is_refused(kind, name, &field.kind, value, field.is_protected);
                if let Some(reason) = self.reason(protected, field.is_api_editable) {
                    self.refuse(name, reason);
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
