//! A request to run a flow, as it is stored with the run.

use std::collections::BTreeMap;

use domain::id::RunId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What to run a flow with; the fields of Langflow's `SimplifiedAPIRequest`, resolved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRequest {
    /// The text for the flow's input.
    #[serde(default)]
    pub input_value: Option<String>,
    /// Which inputs get it: `chat`, `text` or `any`.
    #[serde(default = "chat")]
    pub input_type: String,
    /// Which outputs are returned: `chat`, `text`, `any` or `debug`.
    #[serde(default = "chat")]
    pub output_type: String,
    /// A node id that overrides `output_type`.
    #[serde(default)]
    pub output_component: String,
    /// The node at which the run starts: only what is connected to it is built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_component_id: Option<String>,
    /// The node at which the run stops: only what it needs is built, and itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_component_id: Option<String>,
    /// Changes to the flow's fields for this run.
    #[serde(default)]
    pub tweaks: Map<String, Value>,
    /// The chat session; the flow's id when the caller gave none.
    pub session_id: String,
    /// Whether models are asked to stream.
    #[serde(default)]
    pub stream: bool,
    /// Whether the run may be suspended until a person decides something.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_pause: bool,
    /// Values that the caller gave in place of stored variables, sealed for this run.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
    /// What the caller was doing, as W3C trace context: the run's trace is linked to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// What only a component asks for that runs a flow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child: Option<ChildRequest>,
    /// What is run again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerun: Option<RerunRequest>,
}

/// The part of a request that runs an ended run again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RerunRequest {
    /// The earlier run.
    pub of: RunId,
    /// The nodes that are done again with all that follows, as the caller named them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<String>,
}

/// The part of a request that a component makes and no caller.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChildRequest {
    /// The inputs that get the value, by id or display name; all of the type when empty.
    #[serde(default)]
    pub components: Vec<String>,
    /// Values over fields of nodes (`VALUES.md`): node → field → value.
    #[serde(default)]
    pub overrides: BTreeMap<String, Map<String, Value>>,
    /// The run that messages of the flow name, where it is not the flow's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graph_run_id: Option<RunId>,
    /// The nodes whose results the component gets, by id or display name; every output when empty.
    #[serde(default)]
    pub outputs: Vec<String>,
}

fn chat() -> String {
    "chat".to_owned()
}
