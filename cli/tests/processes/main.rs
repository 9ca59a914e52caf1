//! `flowcell` as real processes: how servers start, refuse to, and end.
//!
//! Set `FLOWCELL_SKIP_DOCKER=1` where there is no engine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod ends;
mod metrics;
mod reaper;
mod says;
mod server;
mod starts;

/// Whether this run is to do without an engine. Says so.
fn skip() -> bool {
    let skip = std::env::var_os("FLOWCELL_SKIP_DOCKER").is_some_and(|value| value == "1");
    if skip {
        eprintln!("skipped: FLOWCELL_SKIP_DOCKER=1");
    }
    skip
}
