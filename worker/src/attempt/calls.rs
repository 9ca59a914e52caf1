//! Questions of a component, passed on to the schedulers and answered in any order.

mod knowledge;
mod named;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::stream::{FuturesUnordered, StreamExt};
use proto::frame::{CallBody, ReplyBody, ReplyError, ToRunner};
use proto::message::{AttemptRef, SchedulerReply, WorkerRequestBody};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

pub(super) use self::knowledge::Bases;
pub(super) use self::named::Nameable;
use super::mask::Secrets;
use crate::backoff::Backoff;
use crate::sandbox::FrameWriter;
use crate::upstream::Upstream;

/// Questions of one cell that are under way at once; further ones wait, and with them whatever
/// the runner sends next.
const CALLS_MAX: usize = 16;
/// How long one answer may take, while schedulers come and go.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// How long is waited for one scheduler, where another may be asked the same. The longest question
/// is kept for two seconds (`flow.wait`).
const TRY_MAX: Duration = Duration::from_secs(8);
/// The question whose repetitions are told by a number.
const STORE: &str = "message.store";
/// The one whose answer depends on it.
const READ: &str = "messages.get";

/// Questions that may be asked again although somebody may have acted on them: they change nothing,
/// or the same thing once.
const REPEATABLE: [&str; 15] = [
    STORE,
    "message.update",
    "messages.delete",
    READ,
    "variable.get",
    "file.get",
    "file.list",
    "flow.list",
    "flow.get",
    // One child for the same request, however often it comes.
    "flow.run",
    "flow.wait",
    "knowledge.get",
    "knowledge.read",
    // Under a number that the runner gives.
    "knowledge.add",
    "knowledge.note",
];

/// Where questions are put in. Ends with its attempt.
#[derive(Debug)]
pub(super) struct Calls {
    sender: mpsc::Sender<CallBody>,
    _task: AbortOnDropHandle<()>,
}

impl Calls {
    pub(super) fn open(desk: Desk, replies: FrameWriter) -> Self {
        let (sender, receiver) = mpsc::channel(1);
        Self { sender, _task: AbortOnDropHandle::new(tokio::spawn(serve(desk, receiver, replies))) }
    }

    /// Puts a question in; waits while too many are open.
    pub(super) async fn put(&self, call: CallBody) {
        // Without a desk the runner is gone, and its end of stream follows.
        let _ = self.sender.send(call).await;
    }
}

/// Who answers.
pub(super) struct Desk {
    pub(super) upstream: Upstream,
    pub(super) attempt: AttemptRef,
    pub(super) secrets: Arc<Secrets>,
    pub(super) files: Nameable,
    pub(super) bases: Bases,
    /// Messages that the attempt has stored.
    pub(super) stored: AtomicU64,
}

async fn serve(desk: Desk, mut receiver: mpsc::Receiver<CallBody>, mut replies: FrameWriter) {
    let mut open = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(reply) = open.next(), if !open.is_empty() => {
                if replies.send(ToRunner::Reply(reply)).await.is_err() {
                    return;
                }
            }
            call = receiver.recv(), if open.len() < CALLS_MAX => match call {
                Some(call) => open.push(desk.answer(call)),
                None => return,
            },
        }
    }
}

impl Desk {
    async fn answer(&self, call: CallBody) -> ReplyBody {
        let id = call.id;
        match self.ask(call).await {
            Ok(ok) => ReplyBody { id, ok: Some(ok), error: None },
            Err(error) => ReplyBody { id, ok: None, error: Some(error) },
        }
    }

    async fn ask(&self, call: CallBody) -> Result<Value, ReplyError> {
        self.files.check(&call)?;
        self.bases.check(&call)?;
        let op = call.op;
        let is_variable = op == "variable.get";
        let request = self.upstream.encoded(WorkerRequestBody::Call {
            attempt: self.attempt,
            op: op.clone(),
            args: self.secrets.mask().value(call.args),
            nth: match op.as_str() {
                STORE => Some(self.stored.fetch_add(1, Ordering::Relaxed)),
                READ => Some(self.stored.load(Ordering::Relaxed)),
                _ => None,
            },
        });
        let request = request.map_err(|_| error("invalid", "the call cannot be encoded"))?;
        let until = Instant::now() + ANSWER_MAX;
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        loop {
            let wait = until.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                return Err(error("unavailable", "no scheduler answered in time"));
            }
            let is_repeatable = REPEATABLE.contains(&op.as_str());
            let wait = if is_repeatable { wait.min(TRY_MAX) } else { wait };
            match self.upstream.send(request.clone(), wait).await {
                Ok(SchedulerReply::Call { ok, error: None }) => {
                    let ok = ok.unwrap_or(Value::Null);
                    let is_secret = ok.get("secret").and_then(Value::as_bool).unwrap_or(true);
                    if is_variable
                        && is_secret
                        && let Some(secret) = ok.get("value").and_then(Value::as_str)
                    {
                        self.secrets.learn(secret);
                    }
                    self.files.learn(&op, &ok);
                    self.bases.learn(&op, &ok);
                    return Ok(ok);
                }
                Ok(SchedulerReply::Call { error: Some(refusal), .. }) => return Err(refusal),
                Ok(SchedulerReply::Refused { reason }) => return Err(error("refused", &reason)),
                // Nobody acted on it: asking again is safe.
                Ok(SchedulerReply::Unavailable { .. }) | Err(bus::Error::NoServer { .. }) => {
                    backoff.pause().await;
                }
                Err(bus::Error::TooLarge { .. }) => {
                    return Err(error("invalid", "the call is too large"));
                }
                Err(bus::Error::TimedOut { .. } | bus::Error::Dropped { .. }) if is_repeatable => {
                    backoff.pause().await;
                }
                // Somebody may have acted: a file must not be written twice.
                Ok(_) | Err(_) => return Err(error("unavailable", "no scheduler answered")),
            }
        }
    }
}

fn error(kind: &str, message: &str) -> ReplyError {
    ReplyError { kind: kind.into(), message: message.into() }
}
