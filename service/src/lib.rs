//! What every Flowcell process does alike: read its configuration once, trace, drain on a signal,
//! and answer an operator's questions about its health.

pub mod admin;
pub mod config;
pub mod drain;
pub mod telemetry;
