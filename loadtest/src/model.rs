//! The scripted model server: a [`Config`], the [`Model`] bound to an address, and the
//! [`ModelHandle`] others hold to find it and stop it.
//!
//! ```text
//!  POST /v1/chat/completions ─► wire (read) ─► plan (pure: which rule, what answer) ─► chat (say it, in time)
//!  POST /v1/embeddings       ─► wire ─► embeddings
//!  GET|DELETE /recorded      ─► record (a bounded ring of what was asked)
//! ```

mod args;
mod chat;
mod chunks;
mod embeddings;
mod error;
mod plan;
mod record;
mod responses;
mod script;
mod server;
mod speech;
mod wire;

pub use args::{Cli, run};
pub use plan::Timing;
pub use script::{Fail, FinishReason, Match, Rule, Script, ScriptedCall, ScriptedUsage};
pub use server::{Config, Model, ModelHandle};
