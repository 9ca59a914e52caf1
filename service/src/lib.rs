//! What every Flowcell process does alike: read its configuration once, log and trace, drain on a signal,
//! and answer an operator's questions about its health.

pub mod admin;
pub mod config;
pub mod drain;
pub mod metrics;
pub mod telemetry;
pub mod trace;
