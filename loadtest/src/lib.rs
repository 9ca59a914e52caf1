//! Two tools for measuring a cluster of flows: [`model`], a scripted server which speaks OpenAI's
//! API and always gives the same answer to the same request, and [`load`], a generator which calls
//! a flow's run endpoint at a known pace and says what came back, when.
//!
//! Neither knows anything of Flowcell's insides: both work against Langflow as well, so the two can
//! be measured side by side. [`cells`] is the opposite: the worker's sandbox alone, backend by backend;
//! and [`cluster`] is everything but the cells.

pub mod cells;
pub mod cluster;
mod deterministic;
pub mod load;
pub mod model;
mod plot;
mod secret;

pub use secret::ApiKey;
