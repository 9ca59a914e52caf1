//! What a transition says to the rest of the cluster: written to the outbox in its transaction,
//! published after it, and published again by the sweep if that was interrupted.

use bus::{Bus, Queue};
use bytes::Bytes;
use domain::id::{RunId, WorkerEpoch};
use domain::time::Timestamp;
use proto::event::RunEvent;
use proto::message::{AttemptRef, TaskOffered, VERSION, WorkerOrder};
use serde_json::value::RawValue;
use store::OutboxMessage;

use crate::error::Error;
use crate::task_queue::TaskQueue;

const RUNS: &str = "runs";
const TASKS: &str = "tasks:";
const EVENTS: &str = "events:";
const ORDERS: &str = "orders:";

/// Entries for a run's event log; one outbox row whatever their number. The ids of the entries
/// name the version that the transition made, so a repetition adds nothing.
pub(crate) fn events(
    run: RunId,
    version: u64,
    events: &[RunEvent],
    now: Timestamp,
) -> Result<OutboxMessage, Error> {
    let body = serde_json::to_vec(events)?;
    Ok(OutboxMessage::new(format!("{EVENTS}{run}"), format!("v{version}"), body, now))
}

/// An offer of a task to the workers of a pool.
pub(crate) fn offer(
    queue: &TaskQueue,
    run: RunId,
    task: u32,
    dispatch: u32,
    now: Timestamp,
) -> Result<OutboxMessage, Error> {
    let body = serde_json::to_vec(&TaskOffered { v: VERSION, run, task })?;
    let id = format!("t:{run}:{task}:{dispatch}");
    Ok(OutboxMessage::new(format!("{TASKS}{queue}"), id, body, now))
}

/// An order to a worker to end an attempt.
pub(crate) fn stop(
    worker: WorkerEpoch,
    attempt: AttemptRef,
    now: Timestamp,
) -> Result<OutboxMessage, Error> {
    let body = serde_json::to_vec(&WorkerOrder::Stop { attempt })?;
    let AttemptRef { run, task, attempt } = attempt;
    let id = format!("s:{run}:{task}:{attempt}");
    Ok(OutboxMessage::new(format!("{ORDERS}{worker}"), id, body, now))
}

/// Publishes one message of the outbox.
pub(crate) async fn publish(bus: &Bus, message: &OutboxMessage) -> Result<(), Error> {
    let body = Bytes::copy_from_slice(&message.body);
    let queue = message.queue.as_str();
    if queue == RUNS {
        bus.enqueue(&Queue::Runs, &message.message_id, body).await?;
    } else if let Some(queue) = queue.strip_prefix(TASKS).and_then(|name| name.parse().ok()) {
        let TaskQueue { pool, depth } = queue;
        bus.enqueue(&Queue::Tasks { pool, depth }, &message.message_id, body).await?;
    } else if let Some(run) = queue.strip_prefix(EVENTS).and_then(|run| run.parse().ok()) {
        let entries: Vec<Box<RawValue>> = serde_json::from_slice(&body)?;
        let entries = entries.iter().enumerate().map(|(index, entry)| {
            let id = format!("{}:{index}", message.message_id);
            (id, Bytes::copy_from_slice(entry.get().as_bytes()))
        });
        bus.append(run, entries.collect()).await?;
    } else if let Some(worker) = queue.strip_prefix(ORDERS).and_then(|id| id.parse().ok()) {
        bus.tell(worker, body).await?;
    } else {
        // Written by a newer version of this program, whose schedulers publish it.
        return Err(Error::UnknownQueue(queue.to_owned()));
    }
    Ok(())
}
