//! Where a run's input goes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::flow::{Graph, Node};

/// Which input components take the run's value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InputType {
    /// Chat inputs: what Langflow's `/run` takes for granted.
    #[default]
    Chat,
    /// Text inputs.
    Text,
    /// Every input component, webhooks included.
    Any,
}

/// What a caller sends into a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Input {
    /// The value; absent: inputs keep what the flow stores.
    pub value: Option<String>,
    /// Which components take it.
    pub input_type: InputType,
    /// Only these, by id or display name; empty: all of the type.
    pub components: Vec<String>,
    /// Files of the chat message.
    pub files: Vec<String>,
    /// The session, see [`session`].
    pub session_id: String,
}

/// Parameters that override a node's fields, by field name.
pub type Parameters = Map<String, Value>;

/// The session of a run: what the caller named, otherwise the flow itself. So callers that name
/// none share one history, as in Langflow.
#[must_use]
pub fn session<'a>(requested: Option<&'a str>, flow_id: &'a str) -> &'a str {
    requested.filter(|session| !session.is_empty()).unwrap_or(flow_id)
}

/// The parameters with which the input overrides nodes, by node id. A field that an edge feeds
/// keeps what the edge brings.
#[must_use]
pub fn inject(graph: &Graph, input: &Input) -> BTreeMap<String, Parameters> {
    let mut all = BTreeMap::new();
    for (position, node) in graph.nodes().iter().enumerate() {
        let mut parameters = Parameters::new();
        let is_free = |field: &str| {
            let is_list = node.field(field).and_then(|field| field.get("list"));
            is_list == Some(&Value::Bool(true)) || !graph.is_fed(position, field)
        };
        if let Some(value) = &input.value
            && takes(node, input)
            && is_free("input_value")
        {
            parameters.insert("input_value".to_owned(), Value::String(value.clone()));
        }
        if node.kind == "ChatInput" && !input.files.is_empty() && is_free("files") {
            let files = input.files.iter().cloned().map(Value::String).collect();
            parameters.insert("files".to_owned(), Value::Array(files));
        }
        // A field without a value is not a parameter, so lfx does not set it either.
        let has_session =
            node.field("session_id").is_some_and(|f| f.get("value").is_some_and(|v| !v.is_null()));
        if has_session && is_free("session_id") {
            parameters.insert("session_id".to_owned(), Value::String(input.session_id.clone()));
        }
        if !parameters.is_empty() {
            all.insert(node.id.clone(), parameters);
        }
    }
    all
}

/// The tweaks that hand a webhook's payload to the flow: all of it, to every webhook component,
/// which Langflow knows by its id.
#[must_use]
pub fn webhook_tweaks(graph: &Graph, payload: &str) -> Map<String, Value> {
    let ids = graph.addresses().iter().map(|address| &address.id);
    let webhooks = ids.filter(|id| id.contains("Webhook"));
    webhooks.map(|id| (id.clone(), json!({"data": payload}))).collect()
}

fn takes(node: &Node, input: &Input) -> bool {
    let is_named = |name: &String| *name == node.id || *name == node.display_name;
    let is_type = match input.input_type {
        InputType::Any => true,
        InputType::Chat => node.kind == "ChatInput",
        InputType::Text => node.kind == "TextInput",
    };
    node.is_input
        && is_type
        && (input.components.is_empty() || input.components.iter().any(is_named))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::fixture::{Draft, node};

    fn draft() -> Graph {
        Draft::new()
            .node(
                node("ChatInput-a", "ChatInput")
                    .field("input_value", "str")
                    .field("session_id", "str"),
            )
            .node(node("TextInput-b", "TextInput").field("input_value", "str"))
            .node(node("Webhook-c", "Webhook").field("data", "str"))
            .node(node("Memory-d", "Memory").field("session_id", "str"))
            .node(
                node("ChatInput-e", "ChatInput")
                    .field("input_value", "str")
                    .output("message", "Message"),
            )
            .edge("TextInput-b.out:Message", "ChatInput-e.input_value")
            .graph()
    }

    fn given(input_type: InputType, components: &[&str]) -> String {
        let input = Input {
            value: Some("hi".to_owned()),
            input_type,
            components: components.iter().map(|name| (*name).to_owned()).collect(),
            files: vec!["f.png".to_owned()],
            session_id: "s".to_owned(),
        };
        serde_json::to_string(&inject(&draft(), &input)).unwrap()
    }

    #[test]
    fn goes_to_inputs_of_the_type() {
        insta::assert_snapshot!(given(InputType::Chat, &[]), @r#"{"ChatInput-a":{"input_value":"hi","files":["f.png"],"session_id":"s"},"ChatInput-e":{"files":["f.png"]},"Memory-d":{"session_id":"s"}}"#);
        insta::assert_snapshot!(given(InputType::Text, &[]), @r#"{"ChatInput-a":{"files":["f.png"],"session_id":"s"},"ChatInput-e":{"files":["f.png"]},"Memory-d":{"session_id":"s"},"TextInput-b":{"input_value":"hi"}}"#);
        insta::assert_snapshot!(given(InputType::Any, &["Webhook-c"]), @r#"{"ChatInput-a":{"files":["f.png"],"session_id":"s"},"ChatInput-e":{"files":["f.png"]},"Memory-d":{"session_id":"s"},"Webhook-c":{"input_value":"hi"}}"#);
    }

    #[test]
    fn a_webhooks_payload_goes_to_every_webhook() {
        let draft = Draft::new().nodes("Webhook-a ChatInput-b MyWebhook-c");
        let tweaks = webhook_tweaks(&draft.graph(), "{}");
        assert_eq!(
            json!(tweaks),
            json!({"Webhook-a": {"data": "{}"}, "MyWebhook-c": {"data": "{}"}})
        );
    }

    #[test]
    fn the_flow_is_the_default_session() {
        assert_eq!(session(None, "flow"), "flow");
        assert_eq!(session(Some(""), "flow"), "flow");
        assert_eq!(session(Some("mine"), "flow"), "mine");
    }
}
