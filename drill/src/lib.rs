//! `flowcell drill`: proves on real processes that no run is lost, nothing that is finished is done
//! again, and no result counts twice.
//!
//! It starts a cluster of its own (`cluster`) whose connections to Postgres and NATS lead through
//! proxies in this process (`link`), sends it runs (`load`) whose cells have their executions
//! counted outside of it (`effects`), makes faults (`fault`, `inject`), and compares what
//! clients saw, what was counted and what the database says (`verdict`).
//!
//! Every process that it starts ends with it, also when it is killed.

mod api;
mod build;
mod child;
mod clock;
mod cluster;
mod command;
mod database;
mod disk;
mod drill;
mod effects;
mod engine;
mod fault;
mod flow;
mod follow;
mod home;
mod inject;
mod link;
mod load;
mod memory;
mod part;
mod postgres;
mod progress;
mod recovery;
mod report;
mod servers;
mod stage;
mod time;
mod verdict;

pub use self::drill::{Length, Options, run};
pub use self::report::Report;
pub use self::stage::{Cast, Stage, WorkerAccess};
