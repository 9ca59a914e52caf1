//! Runs one cell in one throwaway container: dispatcher, pool, sandbox, egress proxy.
//!
//! A worker has no database and no secret of the platform. [`Worker`] takes offers from the
//! queue, claims them by request, runs each in a container of its own and reports until a
//! scheduler has answered; [`Handle`] drains it and tells how it is doing.

mod attempt;
mod backoff;
pub mod config;
mod dispatch;
pub mod doctor;
mod heartbeat;
mod held;
mod metrics;
pub mod pool;
pub mod reaper;
mod runtimes;
pub mod sandbox;
mod service;
mod sweeper;
mod trace;
mod upstream;

pub use config::Config;
pub use service::{Error, Handle, Health, Worker};
pub use sweeper::{Sweeper, Swept};
