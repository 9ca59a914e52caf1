//! A seeded simulation of a cluster around the real state machine, under named faults and with
//! named invariants: `docs/FAILURES.md` says which of them stands for which failure.
//!
//! ```text
//! clients ─▶ store ◀─ schedulers (decide, commit) ◀── network ──▶ workers
//!              └──────── every event is checked (invariant.rs)
//! ```
//!
//! Each seed has some of the faults, so that one cannot hide another. To see one seed again, with
//! every event printed: `FLOWCELL_SIMULATION_SEED=17 cargo nextest run --workspace --no-capture -E
//! 'binary(simulation) & test(every_invariant_holds)'`. `FLOWCELL_SIMULATION_SEEDS` says how many.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test says what is wrong by failing"
)]

mod broken;
mod database;
mod fault;
mod invariant;
mod message;
mod network;
mod person;
mod replan;
mod scheduler;
mod seeds;
mod single;
mod worker;
mod world;
