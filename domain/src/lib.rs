//! The pure core of Flowcell: what a flow is, how it is split into cells, and how a run moves.
//!
//! Nothing here does input or output, reads a clock or draws a random number: time, ids and
//! randomness are arguments, effects are data. The same functions serve the live engine, the
//! simulation and a replay.

pub mod admission;
pub mod failure;
pub mod files;
pub mod id;
pub mod limits;
pub mod retention;
pub mod retry;
pub mod run;
pub mod runtime;
pub mod time;
// flow graph and planner (kept together):
pub mod branch;
pub mod defaults;
pub mod flow;
pub mod history;
pub mod human;
pub mod input;
pub mod pause;
pub mod plan;
pub mod rerun;
pub mod selection;
pub mod terms;
pub mod tweaks;
pub mod upstream;
