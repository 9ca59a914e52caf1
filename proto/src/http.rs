//! Bodies of Flowcell's own endpoints, shared by the API and its clients.

use std::collections::BTreeMap;

use domain::failure::Failure;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

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
}

/// Answer to [`StartRun`], status 202 (200 when an idempotency key named an earlier run).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunAccepted {
    /// The run's id.
    pub id: String,
    /// Its state.
    pub state: String,
    /// Where to look next.
    pub links: RunLinks,
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
    /// `queued`, `running`, `completed`, `failed`, `cancelled` or `timed_out`.
    pub state: String,
    /// The chat session.
    pub session_id: String,
    /// When it was accepted (RFC 3339).
    pub created_at: String,
    /// When it left the queue.
    pub started_at: Option<String>,
    /// When it ended.
    pub ended_at: Option<String>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// Its cells.
    pub tasks: Vec<TaskView>,
    /// Langflow's run response, once completed.
    pub result: Option<Value>,
}

/// One cell of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskView {
    /// The cell's id: its primary node.
    pub cell: String,
    /// `waiting`, `ready`, `leased`, `running`, `done`, `failed`, `skipped` or `cancelled`.
    pub state: String,
    /// Attempts started.
    pub attempt: u32,
    /// Short id of the last attempt's container.
    pub container: Option<String>,
    /// How long the last attempt's container worked, in milliseconds.
    pub duration_ms: Option<u64>,
    /// Why the last attempt failed.
    pub failure: Option<Failure>,
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
