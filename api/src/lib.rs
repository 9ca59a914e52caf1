//! The HTTP edge: authentication, Langflow's routes, ours, live streams.
//!
//! ```text
//! request ─▶ edge (id, panics, headers, log, errors) ─▶ auth (PUBLIC_ROUTES or a Principal)
//!                                                          │
//!              langflow/*  (Langflow's bodies)  ◀──────────┴──────────▶  flowcell/*  (ours)
//!                    └──────────────▶ start_run, events, result ◀──────────────┘
//!                                          │
//!                                    store · bus
//! ```
//!
//! One use-case starts a run whatever protocol asked (`start_run`), one file turns errors into
//! answers of either family (`error`), one table holds every route (`routes`). No flow logic
//! lives here: it is in `domain`.

mod app;
mod auth;
mod cancel;
mod clock;
mod config;
mod decide;
mod edge;
mod error;
mod events;
mod extract;
mod flowcell;
mod governed;
mod langflow;
mod listener;
mod metrics;
mod pump;
mod python;
mod result;
mod routes;
mod start_run;
mod trace;
mod turns;
mod versions;

pub use app::Api;
pub use config::Config;

#[cfg(test)]
mod tests;
