//! What of Flowcell runs inside the runner image beside Python.
//!
//! ```text
//! worker ── engine ──▶ cell's container: first process = `flowcell-cell init`     (hollow)
//!        ── engine ──▶ zygote's container: Python, Langflow's runtime imported, then `ffi`
//!        ── engine ──▶ launcher's container: `flowcell-cell launch`, makes cells itself  (native)
//!        ── fork(first process, socket) ──▶ zygote ──▶ child inside the cell, locked down
//! ```
//! The worker uses [`message`], [`channel`], [`group_files`] and the reading of [`cgroups`]; the rest
//! is for the image. Privileged code is here and nowhere else: it never reads a byte that a tenant
//! has written.

pub mod cgroups;
pub mod channel;
mod fence;
pub mod ffi;
pub mod group_files;
mod heap;
pub mod init;
pub mod launch;
pub mod lockdown;
pub mod message;
mod reap;
pub mod serve;
mod target;
