//! A thousand readers of event logs, on two real `flowcell api` processes with Postgres and NATS.
//!
//! No container runs: the test publishes events as workers do and ends runs as schedulers do.
//! Whatever a reader goes through (late, cut off, on another replica, in the archive), it gets
//! every event once and in order.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod cluster;
mod many_runs;
mod one_run;
mod slow;
mod subscriber;
