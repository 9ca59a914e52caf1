//! Langflow's routes, answered as Langflow answers.

pub(crate) mod api_keys;
mod archive;
mod content_blocks;
pub(crate) mod files;
mod flow_body;
pub(crate) mod flows;
pub(crate) mod knowledge_bases;
pub(crate) mod login;
pub(crate) mod messages;
pub(crate) mod meta;
pub(crate) mod projects;
pub(crate) mod run;
mod run_body;
mod run_stream;
pub(crate) mod upload;
pub(crate) mod variables;
pub(crate) mod webhook;
pub(crate) mod workflows;
