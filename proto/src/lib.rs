//! Every wire form of Flowcell: runner frames, bus messages and run events.
//!
//! Forms carry versions where old and new processes may meet; a changed form gets a golden file.
//! HTTP bodies that only the API speaks live beside its routes.

pub mod connection;
pub mod egress;
pub mod event;
pub mod frame;
pub mod http;
pub mod message;
pub mod run;
pub mod trace;
