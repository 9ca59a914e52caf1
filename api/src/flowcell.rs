//! Our own routes under `/api/flowcell/v1`.

pub(crate) mod admission;
pub(crate) mod connections;
pub(crate) mod egress;
pub(crate) mod events;
mod flow_terms;
pub(crate) mod limits;
pub(crate) mod logs;
pub(crate) mod me;
pub(crate) mod pausing;
pub(crate) mod plan;
pub(crate) mod rerun;
pub(crate) mod resume;
pub(crate) mod retention;
pub(crate) mod runs;
pub(crate) mod runtime;
pub(crate) mod standing;
mod view;
pub(crate) mod ws;
