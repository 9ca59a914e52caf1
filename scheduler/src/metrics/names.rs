//! The words that labels are made of.

use domain::run::Command;
use proto::message::{SchedulerReply, WorkerRequestBody};

/// The commands that every run gets.
pub(super) const COMMANDS: [&str; 5] = ["start", "claim", "began", "finish", "lost"];

pub(crate) fn command(command: &Command) -> &'static str {
    match command {
        Command::Start { .. } => "start",
        Command::Claim { .. } => "claim",
        Command::Began { .. } => "began",
        Command::Finish { .. } => "finish",
        Command::Lost { .. } => "lost",
        Command::Reject { .. } => "reject",
        Command::Answer { .. } => "answer",
        Command::Offer { .. } => "offer",
        Command::Pause => "pause",
        Command::Unpause => "unpause",
        Command::Wake => "wake",
        Command::Cancel => "cancel",
    }
}

/// As in the message.
pub(crate) fn request(body: &WorkerRequestBody) -> &'static str {
    match body {
        WorkerRequestBody::Claim { .. } => "claim",
        WorkerRequestBody::Runtime { .. } => "runtime",
        WorkerRequestBody::Began { .. } => "began",
        WorkerRequestBody::Report { .. } => "report",
        WorkerRequestBody::Heartbeat { .. } => "heartbeat",
        WorkerRequestBody::Goodbye => "goodbye",
        WorkerRequestBody::Connections { .. } => "connections",
        WorkerRequestBody::Call { .. } => "call",
    }
}

/// As in the message.
pub(super) fn reply(reply: &SchedulerReply) -> &'static str {
    match reply {
        SchedulerReply::Assigned { .. } => "assigned",
        SchedulerReply::Prepare { .. } => "prepare",
        SchedulerReply::Lock { .. } => "lock",
        SchedulerReply::Accepted => "accepted",
        SchedulerReply::Refused { .. } => "refused",
        SchedulerReply::Unavailable { .. } => "unavailable",
        SchedulerReply::Beat { .. } => "beat",
        SchedulerReply::Call { .. } => "call",
    }
}
