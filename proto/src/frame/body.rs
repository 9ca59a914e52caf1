//! The JSON payloads of the frames.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use domain::id::{FlowId, RunId, UserId};
use domain::plan::Driver;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::usage::UsageByNode;

/// The one task of a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// The run, as components see it: a flow that another one runs may be told that one's.
    pub run_id: RunId,
    /// The flow, as components see it.
    pub flow_id: FlowId,
    /// The flow's name.
    pub flow_name: String,
    /// The flow's owner, as components see it.
    pub user_id: UserId,
    /// The chat session.
    pub session_id: String,
    /// The cell's id: its primary node.
    pub cell: String,
    /// The attempt, 1-based.
    pub attempt: u32,
    /// `{"nodes": […], "edges": […]}`: members, direct neighbours (code blanked), touching edges,
    /// and what a Loop builds anew for every item.
    pub graph: Value,
    /// Nodes to build, in this order unless lfx decides.
    pub members: Vec<String>,
    /// Who decides which member is built next; absent: the order of `members`.
    #[serde(default, skip_serializing_if = "Driver::is_order")]
    pub driver: Driver,
    /// Values of finished neighbours: node → output → value.
    pub inputs: BTreeMap<String, BTreeMap<String, Value>>,
    /// Parameters written over a node's own: node → field → value.
    pub parameters: BTreeMap<String, Map<String, Value>>,
    /// Whether a component of another run started this one. Then, as in Langflow, events of its
    /// components go nowhere, and no node is told the session.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub child: bool,
    /// Values that the component handed down, written before `parameters`: node → field → value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub overrides: BTreeMap<String, Map<String, Value>>,
    /// Variables this cell may read. Secret.
    pub variables: BTreeMap<String, String>,
    /// Those that the caller gave for this run; they go before. Secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub request_variables: BTreeMap<String, String>,
    /// Tokens that were spent before: a neighbour's own, and those of nodes that the graph does not
    /// show, each laid on one neighbour. Absent where nothing in the cell shows them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_usage: Option<UsageByNode>,
    /// The run's shared context.
    pub context: BTreeMap<String, Value>,
    /// Whether the cell may ask a person and end without a result.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_pause: bool,
    /// What people decided about the cell's earlier requests: request id → decision.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub decisions: BTreeMap<String, Value>,
    /// What the cell left behind when it last asked: kind → text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub saved: BTreeMap<String, String>,
    /// How the cell reaches the network, when it may.
    pub egress: Option<EgressBody>,
    /// What the runner enforces itself.
    pub limits: FrameLimits,
}

/// The way out of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EgressBody {
    /// Path of the proxy's socket inside the container.
    pub socket: String,
    /// Where plain TCP connections are accepted, for programs that know nothing of proxies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forwards: Vec<Forward>,
}

/// A destination with an address of its own inside the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    /// The host, as the proxy is asked for it.
    pub host: String,
    /// The loopback address that stands for it, and to which its name resolves inside.
    pub address: Ipv4Addr,
    /// The port, inside and outside.
    pub port: u16,
}

/// Limits that the runner observes so that a well-behaved cell gets a clear error early; the
/// worker enforces them in any case. Open files are the exception: only the runner can lower them.
///
/// Those that may be absent came later: a runner that does not know them ignores them, and one
/// that misses them does without.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameLimits {
    /// Bytes of standard output and error.
    pub log_bytes_max: u64,
    /// Bytes of results and events.
    pub output_bytes_max: u64,
    /// Lines of standard output and error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_lines_max: Option<u64>,
    /// Open files of a process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u32>,
    /// Processor time in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
}

/// A runner that has imported everything and waits for its task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Version of the runner.
    pub runner: String,
    /// Version of lfx.
    pub lfx: String,
    /// Version of Python.
    pub python: String,
    /// How long the imports took, in milliseconds.
    pub import_ms: u64,
}

/// An event of the component, as lfx emits it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its name: `add_message`, `token`, `error`, …
    pub event: String,
    /// Its data.
    pub data: Value,
}

/// A piece of standard output or error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// `stdout` or `stderr`.
    pub stream: String,
    /// The text.
    pub text: String,
}

/// A question of the runner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallBody {
    /// Repeated in the reply.
    pub id: u64,
    /// What is asked, e.g. `message.store`.
    pub op: String,
    /// Its arguments.
    #[serde(default)]
    pub args: Value,
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplyBody {
    /// The question's id.
    pub id: u64,
    /// The answer, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ok: Option<Value>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ReplyError>,
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplyError {
    /// `not_found`, `refused`, `invalid`, `unavailable`.
    pub kind: String,
    /// For people.
    pub message: String,
}

/// What a cell gives.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CellResult {
    /// Per built node.
    pub nodes: BTreeMap<String, NodeResult>,
    /// Branch decisions, in order.
    #[serde(default)]
    pub operations: Vec<Value>,
    /// Changed keys of the run's context.
    #[serde(default)]
    pub context: BTreeMap<String, Value>,
    /// Values that could not travel.
    #[serde(default)]
    pub live: Vec<LiveValue>,
    /// Model usage, when known.
    #[serde(default)]
    pub usage: Option<Value>,
    /// What has to be asked before there is a result. The rest is void then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Box<Paused>>,
}

/// A question to a person, with which a cell ends instead of a result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Paused {
    /// The node that asks.
    pub node: String,
    /// The question, as lfx makes it.
    pub request: Value,
    /// What the node needs when it goes on: kind → text. Opaque.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub saved: BTreeMap<String, String>,
}

/// What one node gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeResult {
    /// Output → value (`VALUES.md`).
    pub outputs: BTreeMap<String, Value>,
    /// lfx's `ResultData` as the API shows it.
    pub result: Value,
    /// lfx's verdict.
    #[serde(default = "yes")]
    pub valid: bool,
}

fn yes() -> bool {
    true
}

/// A value that only lives inside its process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveValue {
    /// The node that made it.
    pub node: String,
    /// The output it came from.
    pub output: String,
    /// The qualified name of its type.
    #[serde(rename = "type")]
    pub value_type: String,
}

/// Why a cell gives nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureBody {
    /// `component`, `import`, `input`, `codec`, `limit` or `internal`.
    pub kind: String,
    /// The limit that the error seems to come from, by the name of its setting.
    #[serde(default)]
    pub limit: Option<String>,
    /// The node that failed.
    #[serde(default)]
    pub node: Option<String>,
    /// Its component's display name.
    #[serde(default)]
    pub component: Option<String>,
    /// Langflow's words.
    pub message: String,
    /// The Python class of the error.
    #[serde(default)]
    pub exception: Option<String>,
    /// The missing package, when `kind` is `import`.
    #[serde(default)]
    pub package: Option<String>,
    /// Frames inside the component only.
    #[serde(default)]
    pub traceback: Option<String>,
}
