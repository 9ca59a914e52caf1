//! What a cluster costs without its cells: real APIs, schedulers, Postgres and NATS, and workers
//! that have no containers (`hollow`), so that what is measured is orchestration alone.
//!
//! Each part starts a cluster of its own, so that none inherits another's backlog:
//!
//! | part | question |
//! |---|---|
//! | `intake` | how many runs a second are durably acknowledged |
//! | `runs` | how long a task waits for everything but its own work, and where throughput ends |
//! | `scaling` | what 1, 2 and 4 workers give when cells only wait |
//! | `fairness` | what one tenant's backlog costs another one |
//! | `tokens` | from a component's token to the client |
//! | `recovery` | from a worker's death to its tasks being elsewhere |
//! | `soak` | whether memory stays flat |
//! | `history` | what ended runs cost those that follow, and what their removal costs |

mod args;
mod fairness;
mod flow;
mod history;
mod hollow;
mod intake;
mod measured;
mod plot;
mod recovery;
mod report;
mod runs;
mod scaling;
mod scene;
mod soak;
mod table;
mod tokens;

pub use args::{Cli, execute};
pub use report::Report;
