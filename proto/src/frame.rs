//! Frames between a worker and the runner in a cell; `FRAMES.md` is the contract.

mod body;
mod codec;
mod usage;

pub use body::{
    CallBody, CellResult, EgressBody, Event, FailureBody, Forward, FrameLimits, LiveValue,
};
pub use body::{Log, NodeResult, Paused, Ready, ReplyBody, ReplyError, Task};
pub use codec::{Error, FrameCodec, FromRunner, ToRunner};
pub use usage::{TokenUsage, UsageByNode};
