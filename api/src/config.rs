//! How the API is set up.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use domain::limits::{
    CellLimits, FLOW_BYTES_MAX, FileLimits, REQUEST_BYTES_MAX, over_default, over_most,
};
use domain::plan::Isolation;
use domain::retention;
use domain::retry::RetryPolicy;
use domain::runtime::Runtimes;
use domain::tweaks::Policy;
use serde::Deserialize;
use service::trace::Tracer;

/// Settings of the API. Health routes and the login are always open, everything else never is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Largest body of a flow: import, creation, change.
    pub flow_bytes_max: usize,
    /// Largest body of any other request.
    pub request_bytes_max: usize,
    /// Most bytes that an uploaded archive may unpack to.
    pub archive_bytes_max: usize,
    /// Most entries of an uploaded archive.
    pub archive_entries_max: usize,
    /// How much of uploaded files may be stored.
    pub files: FileLimits,
    /// Time after which a run that a caller waits for (`/api/v1/run`) is ended.
    pub sync_run_ms_max: u64,
    /// Deadline of a durable run that names none.
    pub run_deadline_ms: u64,
    /// Longest deadline that a caller may ask for.
    pub run_deadline_ms_max: u64,
    /// Most runs of a tenant that wait to be started; more are refused with 429. An operator may
    /// set less for a tenant (`queued_max`).
    pub queued_runs_max: u32,
    /// How long a login is good for.
    pub session_ms: u64,
    /// Whether the session cookie is only sent over TLS; set it wherever TLS ends before the API.
    pub secure_cookies: bool,
    /// Whether a plain `/api/v1/run` is cancelled when its caller goes away. Langflow lets it go
    /// on, and callers use that; a streamed run is cancelled in any case, as there.
    pub cancel_abandoned_runs: bool,
    /// What each cell of a new run may use, where nothing else is set for its flow or tenant.
    #[serde(deserialize_with = "over_default")]
    pub cell: CellLimits,
    /// The most that may be set for a tenant or flow. A worker lowers it further to its own caps.
    #[serde(deserialize_with = "over_most")]
    pub cell_max: CellLimits,
    /// How tasks of a new run are retried.
    pub retry: RetryPolicy,
    /// How much of a new run shares a container, where the run does not say: `component`, `chain`
    /// or `run`.
    pub isolation: Isolation,
    /// Which fields of a flow a run may set by tweaks: `permissive` (all but the protected ones),
    /// `declared` (only those that the author marked as editable by the API, in flows with any
    /// such mark) or `off` (none).
    pub tweaks_policy: Policy,
    /// How long runs are kept: `[retention]`, which the schedulers read as well.
    #[serde(skip)]
    pub retention: retention::Settings,
    /// Which runtimes there are: `[runtimes]`, which the schedulers read as well.
    #[serde(skip)]
    pub runtimes: Runtimes,
    /// Where spans of requests go.
    #[serde(skip)]
    pub tracer: Tracer,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7860)),
            flow_bytes_max: FLOW_BYTES_MAX,
            request_bytes_max: REQUEST_BYTES_MAX,
            // A project archive of Langflow holds tens of flows of about a megabyte.
            archive_bytes_max: 4 * FLOW_BYTES_MAX,
            archive_entries_max: 1_000,
            files: FileLimits::default(),
            sync_run_ms_max: 10 * 60 * 1_000,
            run_deadline_ms: 60 * 60 * 1_000,
            run_deadline_ms_max: 24 * 60 * 60 * 1_000,
            queued_runs_max: 100_000,
            session_ms: 12 * 60 * 60 * 1_000,
            secure_cookies: false,
            cancel_abandoned_runs: false,
            cell: CellLimits::default(),
            cell_max: CellLimits::most(),
            retry: RetryPolicy::default(),
            isolation: Isolation::default(),
            tweaks_policy: Policy::default(),
            retention: retention::Settings::default(),
            runtimes: Runtimes::default(),
            tracer: Tracer::default(),
        }
    }
}

impl Config {
    pub(crate) fn sync_run_max(&self) -> Duration {
        Duration::from_millis(self.sync_run_ms_max)
    }

    pub(crate) fn session(&self) -> Duration {
        Duration::from_millis(self.session_ms)
    }

    /// The deadline for a run that asks for this one.
    pub(crate) fn run_deadline(&self, asked_ms: Option<u64>) -> Duration {
        let asked = asked_ms.unwrap_or(self.run_deadline_ms);
        Duration::from_millis(asked.min(self.run_deadline_ms_max))
    }
}
