//! The proxy alone, against servers on loopback.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

// The name that the worker's tests know it by.
extern crate flowcell_egress as egress;

mod cell;
mod latency;
mod requests;
mod tunnels;
mod world;
