//! Bodies of Flowcell's own endpoints, shared by the API and its clients.

use std::collections::BTreeMap;

use domain::failure::Failure;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::connection::ConnectionState;

/// `POST /api/flowcell/v1/runs`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartRun {
    /// Id, endpoint name or name of the flow.
    pub flow: String,
    /// The text for the flow's input.
    #[serde(default)]
    pub input_value: Option<String>,
    /// Which inputs get it: `chat` (default), `text` or `any`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_type: Option<String>,
    /// Which outputs are returned: `chat` (default), `text`, `any` or `debug`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_type: Option<String>,
    /// A node id that overrides `output_type`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_component: Option<String>,
    /// The node at which the run starts: only what is connected to it is built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_component_id: Option<String>,
    /// The node at which the run stops: only what it needs is built, and itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_component_id: Option<String>,
    /// Changes to the flow's fields for this run: node id or display name → field → value.
    #[serde(default)]
    pub tweaks: Map<String, Value>,
    /// The chat session; the flow's id when absent.
    #[serde(default)]
    pub session_id: Option<String>,
    /// Whether models are asked to stream their tokens into the run's events.
    #[serde(default)]
    pub stream: bool,
    /// Time after which the run is ended, in milliseconds from its acceptance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
    /// How much of the run shares a container: `component`, `chain` or `run`; the platform's
    /// default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<String>,
    /// From -100 to 100: higher goes first among the runs of the same tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// The run is not started before so many milliseconds have passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
    /// The pool whose workers run it; the flow's, or the schedulers' own, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Lets only so many runs with the same key be open at once; more wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<ConcurrencyLimit>,
}

/// A limit on runs that belong together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConcurrencyLimit {
    /// What they have in common: 1 to 255 bytes, of the caller's making.
    pub key: String,
    /// Most of them that are open at once.
    pub limit: u32,
}

/// `POST /api/flowcell/v1/runs/{id}/rerun`: runs an ended run again with what it finished. Without
/// a body everything is done that was not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rerun {
    /// Nodes, by id or display name, that are done again with all that follows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<String>,
    /// Whether everything is done again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub from_start: bool,
    /// Changes to fields, over those of the earlier run. The nodes that they change are done again
    /// with all that follows.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub tweaks: Map<String, Value>,
    /// Another text for the flow's input. The inputs that take it are done again with all that
    /// follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_value: Option<String>,
    /// Time after which the run is ended, in milliseconds from its acceptance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
}

/// Answer to [`StartRun`] and [`Rerun`], status 202 (200 when an idempotency key named an earlier run).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunAccepted {
    /// The run's id.
    pub id: String,
    /// Its state.
    pub state: String,
    /// Where to look next.
    pub links: RunLinks,
    /// What the caller should know although the run was accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Paths of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunLinks {
    /// Status and result.
    #[serde(rename = "self")]
    pub this: String,
    /// Its events by SSE.
    pub events: String,
    /// Its events by WebSocket.
    pub ws: String,
    /// `POST` to end it.
    pub cancel: String,
    /// `POST` to answer what it asks.
    #[serde(default)]
    pub resume: String,
}

impl RunLinks {
    /// The paths of the run with this id.
    #[must_use]
    pub fn of(run: impl std::fmt::Display) -> Self {
        let this = format!("/api/flowcell/v1/runs/{run}");
        Self {
            events: format!("{this}/events"),
            ws: format!("{this}/ws"),
            cancel: format!("{this}/cancel"),
            resume: format!("{this}/resume"),
            this,
        }
    }
}

/// `GET /api/flowcell/v1/runs/{id}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunView {
    /// The run's id; also its trace id.
    pub id: String,
    /// The flow's id.
    pub flow_id: String,
    /// The flow's name.
    pub flow_name: String,
    /// The flow version that runs.
    pub version_id: String,
    /// `queued`, `running`, `suspended`, `completed`, `failed`, `cancelled` or `timed_out`.
    pub state: String,
    /// The chat session.
    pub session_id: String,
    /// The run whose component started this one; absent where a caller did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<RunParent>,
    /// The run whose finished tasks this one took over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerun_of: Option<String>,
    /// Whether it failed while nobody waited for it, and was neither run again nor dismissed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dead_letter: bool,
    /// The runs that its components started, oldest first; empty in lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<RunChild>,
    /// When it was accepted (RFC 3339).
    pub created_at: String,
    /// When it left the queue.
    pub started_at: Option<String>,
    /// When it ended.
    pub ended_at: Option<String>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// What it asked of people, first to last.
    #[serde(default)]
    pub requests: Vec<RequestView>,
    /// Its cells.
    pub tasks: Vec<TaskView>,
    /// Langflow's run response, once completed.
    pub result: Option<Value>,
}

/// Where a run comes from that a component started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunParent {
    /// The run of the component.
    pub id: String,
    /// The index of its cell.
    pub task: u32,
}

/// A run that a component started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunChild {
    /// Its id.
    pub id: String,
    /// The index of the cell that started it.
    pub task: u32,
    /// Its state.
    pub state: String,
}

/// What a run asks of a person, and what was decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestView {
    /// Its id within the run.
    pub request_id: String,
    /// The node that asks.
    pub node: String,
    /// The question, as lfx makes it: `prompt`, `options`, `allowed_decisions` and more.
    pub request: Value,
    /// When (RFC 3339).
    pub asked_at: String,
    /// What was decided: `action_id`, and `values` where the action takes some.
    pub decision: Option<Value>,
    /// When.
    pub decided_at: Option<String>,
}

/// `POST /api/flowcell/v1/runs/{id}/resume`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    /// Which question is answered; may be absent where only one waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// What is decided: `action_id`, and `values` where the action takes some.
    pub decision: Map<String, Value>,
}

/// `GET /api/flowcell/v1/flows/{flow}/runtime`: what the flow's current version runs in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeView {
    /// The flow's id.
    pub flow_id: String,
    /// The flow's name.
    pub flow_name: String,
    /// The version that runs now.
    pub version_id: String,
    /// The minor version of Langflow that exported it, when the export says.
    pub exported_by: Option<String>,
    /// The minor version of Langflow whose runtime it gets.
    pub runs_under: String,
    /// For people; empty when there is nothing to be told.
    pub warnings: Vec<String>,
    /// Components whose code is not the runtime's own; only where the two versions differ.
    pub changes: Vec<ComponentChange>,
    /// Packages that the flow lists besides those of the runtime.
    #[serde(default)]
    pub requirements: Vec<String>,
    /// Packages that its components name and the flow does not list, as their export says: to look
    /// at, perhaps to list.
    #[serde(default)]
    pub mentioned: Vec<String>,
    /// What became of the image with the listed packages; none before a run needs it.
    #[serde(default)]
    pub build: Option<BuildView>,
}

/// What became of an image with a flow's own packages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildView {
    /// The image.
    pub image: String,
    /// `queued`, `building`, `ready` or `failed`.
    pub state: String,
    /// The step of a build, or the reason of a failure.
    pub detail: String,
    /// Exact versions and hashes, once they are known.
    pub lock: Option<String>,
    /// When it was last heard of (RFC 3339).
    pub updated_at: String,
}

/// `PUT /api/flowcell/v1/flows/{flow}/requirements`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetRequirements {
    /// The lines of a requirements file: names with versions.
    pub requirements: Vec<String>,
}

/// A component whose code is not the runtime's own. The code in the flow is what runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentChange {
    /// The node.
    pub node: String,
    /// Its name.
    pub display_name: String,
    /// Fields that the runtime's own component does not have.
    pub fields_gone: Vec<String>,
    /// Fields that only the runtime's own component has.
    pub fields_new: Vec<String>,
}

/// One cell of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskView {
    /// The cell's id: its primary node.
    pub cell: String,
    /// `waiting`, `ready`, `leased`, `running`, `paused`, `done`, `failed`, `skipped` or
    /// `cancelled`.
    pub state: String,
    /// Attempts started.
    pub attempt: u32,
    /// Whether its result is the earlier run's, of which this one is a rerun.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept: bool,
    /// Short id of the last attempt's container.
    pub container: Option<String>,
    /// How long the last attempt's container worked, in milliseconds.
    pub duration_ms: Option<u64>,
    /// Why the last attempt failed.
    pub failure: Option<Failure>,
    /// Since when a worker could take it, for its last attempt (RFC 3339).
    #[serde(default)]
    pub ready_at: Option<String>,
    /// Its attempts, first to last. Empty in lists.
    #[serde(default)]
    pub attempts: Vec<AttemptView>,
}

/// One try at a task. Times are RFC 3339.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptView {
    /// Its number, from 1.
    pub attempt: u32,
    /// Short id of its container.
    pub container: Option<String>,
    /// When a worker took it.
    pub leased_at: String,
    /// When its container had the task.
    pub began_at: Option<String>,
    /// When its end was recorded.
    pub ended_at: Option<String>,
    /// `done`, `paused`, `failed` or `cancelled`, once it ended.
    pub outcome: Option<String>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// What it took, once its worker reported.
    pub figures: Option<FiguresView>,
}

/// What an attempt took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FiguresView {
    /// From the claim to the container having the task, in milliseconds.
    pub pick_up_ms: u64,
    /// From then to its last word, in milliseconds.
    pub run_ms: u64,
    /// Processor time, where the host tells, in milliseconds.
    pub cpu_ms: Option<u64>,
    /// Highest memory use, where the host tells, in bytes.
    pub memory_peak_bytes: Option<u64>,
    /// Frames that it sent.
    pub frames: u64,
    /// Bytes that it sent.
    pub output_bytes: u64,
}

/// `GET /api/flowcell/v1/runs/{id}/logs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogsView {
    /// What was written, in order.
    pub items: Vec<LogView>,
    /// Where to go on (`after`), when there is more already.
    pub next: Option<u64>,
}

/// A piece of a cell's output: a line, or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogView {
    /// Its position in the run's event log.
    pub position: u64,
    /// When (RFC 3339).
    pub at: String,
    /// The cell's id.
    pub cell: String,
    /// The attempt.
    pub attempt: u32,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// The text, without secrets of the cell.
    pub text: String,
}

/// `GET /api/flowcell/v1/limits` and `GET /api/flowcell/v1/flows/{flow}/limits`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitsView {
    /// What holds, for every limit by its name.
    pub limits: BTreeMap<String, LimitView>,
    /// What is set here; the body of a `PUT`.
    pub set: LimitsSet,
}

/// What holds for one limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitView {
    /// The value that a run gets.
    pub value: u64,
    /// Who set it: `platform`, `tenant` or `flow`.
    pub from: String,
    /// Whose maximum lowered it, when one did: `platform` or `tenant`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lowered_by: Option<String>,
    /// The least that can be set.
    pub least: u64,
    /// For a tenant the most that its flows may have, for a flow the most that the caller may set.
    pub most: u64,
}

/// What is set for a tenant or a flow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitsSet {
    /// Values by name.
    pub limits: BTreeMap<String, u64>,
    /// The most that flows of the tenant may have; flows have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<BTreeMap<String, u64>>,
}

/// `/api/flowcell/v1/retention`: how long the runs of a tenant are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionView {
    /// Days from the end of a run until it is removed; 0: runs are kept for ever.
    pub runs_days: u32,
    /// Whether the chat messages of a run go with it.
    pub messages: bool,
    /// What is set for the tenant; the body of a `PUT`.
    pub set: RetentionSet,
}

/// What is set for a tenant; what is left out is as for the installation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionSet {
    /// See [`RetentionView::runs_days`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs_days: Option<u32>,
    /// See [`RetentionView::messages`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<bool>,
}

/// `POST /api/flowcell/v1/egress`: where cells may connect to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowEgress {
    /// A name, an address, `*.name` for any name below it, or `*` for the public internet.
    pub host: String,
    /// The port; beside `*`, 0 means any.
    pub port: u16,
    /// Whether it may be inside the network: loopback, private and link-local addresses.
    #[serde(default)]
    pub private: bool,
    /// Whether it speaks something else than HTTP and TLS: plain TCP is forwarded, and its name
    /// resolves inside the cell.
    #[serde(default)]
    pub tcp: bool,
    /// Id, endpoint name or name of the flow it is for; all flows without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<String>,
    /// Id or display name of the component it is for; all of them without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

/// An egress rule as `GET` and `POST /api/flowcell/v1/egress` show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EgressView {
    /// As in [`AllowEgress`].
    pub host: String,
    /// As in [`AllowEgress`].
    pub port: u16,
    /// As in [`AllowEgress`].
    pub private: bool,
    /// As in [`AllowEgress`].
    pub tcp: bool,
    /// The flow's id; all flows without.
    pub flow_id: Option<String>,
    /// The flow's name.
    pub flow_name: Option<String>,
    /// As in [`AllowEgress`].
    pub node: Option<String>,
}

/// `GET /api/flowcell/v1/runs/{id}/connections`: what the run's cells connected to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionsView {
    /// The connections, by cell and attempt, in the order in which they were asked for.
    pub items: Vec<ConnectionView>,
    /// How many more there were than an attempt keeps.
    pub omitted: u64,
}

/// One connection of a cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionView {
    /// The cell's id: its primary node.
    pub cell: String,
    /// The attempt.
    pub attempt: u32,
    /// When it was asked for (RFC 3339).
    pub at: String,
    /// The host it asked for.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What became of it.
    pub state: ConnectionState,
    /// Why it was refused, failed or was cut.
    pub reason: Option<String>,
    /// Bytes from the cell.
    pub bytes_up: u64,
    /// Bytes to the cell.
    pub bytes_down: u64,
    /// How long it lasted; nothing while it is open.
    pub duration_ms: Option<u64>,
}

/// The one envelope of errors on Flowcell's own endpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorDetail,
}

/// What went wrong, where, and what to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// Stable code, e.g. `flow_invalid`.
    pub code: String,
    /// One sentence.
    pub message: String,
    /// What to do about it.
    pub action: String,
    /// Particulars: a list of problems with node, field and reason, say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
}
