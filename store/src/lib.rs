//! What must survive: tenants, flows, runs, messages, sealed variables, outbox; on SQLite or Postgres.
//!
//! ```text
//! Store ─┬─ tenant(id) ─▶ Tenant   every query of one tenant; foreign rows do not exist for it
//!        ├─ auth()     ─▶ Auth     who is asking: keys, passwords, sessions, first start
//!        └─ engine()   ─▶ Engine   the scheduler's view: runs of all tenants, leases, outbox
//! ```
//!
//! One set of entities serves both databases. No type of the database library leaves the crate.
//! Every write is one transaction; on SQLite all writes of a process go through one connection
//! (`BEGIN IMMEDIATE`), so that none of them ever sees a busy database.
//!
//! A change of the schema works with the code before and after it (expand, deploy, contract); see
//! the `migrations` crate.

mod auth;
mod bulk;
mod clock;
mod connect;
mod engine;
mod entity;
mod error;
mod json;
mod objects;
mod operator;
mod page;
mod payload;
pub mod seal;
mod secret;
mod tenant;

pub use auth::{Auth, FirstUser, Principal};
pub use clock::{id_in_order, now};
pub use connect::{Settings, Store};
pub use engine::{
    AdmissionSettings, Asked, AttemptFigures, BatchOutcome, Engine, Expired, ExpiredAttempt,
    FIGURES_STATEMENTS, FROZEN_BYTES_MAX, FrozenKey, HumanRequest, OpenGroup, OutboxMessage,
    PoolSize, Pruned, Queued, Removed, RoundLock, RunRecord, TaskResult, Transition, Waiting,
    WorkerRow, Workers,
};
pub use error::{Error, ObjectFault};
pub use objects::{Objects, PayloadStore, S3};
pub use operator::TenantInfo;
pub use page::{Listing, Page};
pub use secret::Secret;
pub use tenant::Tenant;
pub use tenant::api_keys::{ApiKey, CreatedKey, NewApiKey};
pub use tenant::child::Parent;
pub use tenant::connections::AttemptConnections;
pub use tenant::decisions::{Decided, PendingRequest};
pub use tenant::egress::{EgressEntry, NewEgressRule};
pub use tenant::files::{File, FileOwner, NewFile};
pub use tenant::flows::{Flow, FlowFilter, FlowHeader, FlowPatch, NewFlow};
pub use tenant::knowledge::{KnowledgeBase, NewKnowledgeBase, NewSegment, Segments};
pub use tenant::live_outputs::LiveOutput;
pub use tenant::messages::{Message, MessageFilter, MessagePatch, NewMessage, Unheard};
pub use tenant::projects::{NewProject, Project, ProjectPatch, STARTER_PROJECT};
pub use tenant::rerun::{Again, EndedRun};
pub use tenant::run_settings::RunSettings;
pub use tenant::run_view::{
    AttemptView, RUNS_COUNTED_MAX, RunCursor, RunFilter, RunHeader, RunListing, RunView, TaskView,
};
pub use tenant::runtimes::RuntimeBuild;
pub use tenant::standing::{QueueLoad, Standing};
pub use tenant::submit::{Concurrency, NewRun, NewTask, Submitted, Turn};
pub use tenant::users::{NewUser, User};
pub use tenant::variables::{NewVariable, Variable, VariableKind, VariablePatch};
pub use tenant::versions::{FlowVersion, NewVersion};
