//! The worker against a real Docker engine, with a fake runner that misbehaves on request.
//!
//! Set `FLOWCELL_SKIP_DOCKER=1` where there is no engine.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod blind;
mod cluster;
mod egress;
mod engine;
mod forwards;
mod gate;
mod hostile;
mod hygiene;
mod image;
mod lifeline;
mod limits;
mod native;
mod real;
mod runtimes;
mod spans;
mod tls;
mod work;
#[path = "../../../egress/tests/proxy/world.rs"]
mod world;
mod zygote;

/// Whether this run is to do without an engine. Says so.
fn skip() -> bool {
    let skip = std::env::var_os("FLOWCELL_SKIP_DOCKER").is_some_and(|value| value == "1");
    if skip {
        eprintln!("skipped: FLOWCELL_SKIP_DOCKER=1");
    }
    skip
}
