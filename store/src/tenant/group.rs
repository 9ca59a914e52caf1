//! Runs that are accepted at the same time are written in one transaction.
//!
//! ```text
//! submit ─▶ queue ─▶ a writer takes all that came while the last one wrote ─▶ commit ─▶ answers
//! ```
//! Nothing waits for company: a run that comes alone is written alone, at once. Where not every run
//! of a group can be written, each is written again by itself, so that it fails for its own reasons
//! only.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::future::join_all;
use tokio::sync::{Semaphore, oneshot};

use super::submit::{Accepting, DOING, RUN_ID, Submitted, insert_runs, insert_tasks, rows_in_one};
use crate::connect::Store;
use crate::error::Error;

/// Runs in one transaction. Larger ones save little more and make the first wait for the last.
const GROUP_MAX: usize = 64;

/// Most bytes of the request of one of them, and most tasks: a larger run would make the others
/// wait, and 64 of four megabytes would fill the memory.
const REQUEST_BYTES_MAX: usize = 32 * 1024;
const TASKS_MAX: usize = 64;

/// Transactions at once: one works in the database while another one waits for its disk.
const WRITERS: usize = 2;

/// The runs that wait to be written, of one process. Each belongs to a caller who waits too, so
/// whoever bounds the callers bounds them.
pub(crate) struct Group {
    waiting: Mutex<Vec<Waiting>>,
    writers: Semaphore,
}

struct Waiting {
    run: Accepting,
    answer: oneshot::Sender<Result<Submitted, Error>>,
}

impl Default for Group {
    fn default() -> Self {
        Self { waiting: Mutex::default(), writers: Semaphore::new(WRITERS) }
    }
}

impl Group {
    /// Those that came first, in the order of their keys: two processes that write the same keys
    /// then wait for each other instead of blocking each other.
    fn next(&self) -> Vec<Waiting> {
        let mut waiting = self.waiting();
        let next = waiting.len().min(GROUP_MAX);
        let mut next: Vec<Waiting> = waiting.drain(..next).collect();
        drop(waiting);
        next.sort_by(|one, other| one.run.key().cmp(&other.run.key()));
        next
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Accepting {
    fn key(&self) -> (uuid::Uuid, Option<&str>) {
        (self.tenant.id().uuid(), self.new.idempotency_key.as_deref())
    }
}

/// Whether a run is written with others. A child holds its parent, a rate limit its tenant, and a
/// rerun copies what an ended run has: for those nobody else shall wait.
pub(super) fn takes(run: &Accepting) -> bool {
    let is_small = run.request.len() <= REQUEST_BYTES_MAX && run.new.tasks.len() <= TASKS_MAX;
    let is_free = run.new.parent.is_none() && run.new.turn.per_minute.is_none();
    is_small && is_free && run.new.again.is_none()
}

/// Writes a run, together with others that come at the same time; returns after the commit.
pub(super) async fn submit(store: &Store, run: Accepting) -> Result<Submitted, Error> {
    let (answer, answered) = oneshot::channel();
    store.group().waiting().push(Waiting { run, answer });
    // A task of its own: that one caller goes away ends nobody else's transaction.
    tokio::spawn(write_next(store.clone()));
    answered.await.unwrap_or(Err(Error::Interrupted { doing: DOING }))
}

/// Takes its turn as a writer. Whoever was before may have left nothing to write.
async fn write_next(store: Store) {
    let Ok(_turn) = store.group().writers.acquire().await else { return };
    let next = store.group().next();
    let written = if next.len() > 1 { together(&store, &next).await } else { Ok(Written::Nothing) };
    let written = written.unwrap_or(Written::Nothing);
    join_all(next.into_iter().map(|Waiting { run, answer }| async move {
        let accepted = Submitted { run: run.new.id, existing: false };
        let answered = match written {
            Written::All => Ok(accepted),
            Written::Nothing => run.alone().await,
            Written::Perhaps => match run.alone().await {
                Err(Error::Duplicate { field: RUN_ID }) => Ok(accepted),
                answered => answered,
            },
        };
        let _gone = answer.send(answered);
    }))
    .await;
}

/// What became of a group.
#[derive(Clone, Copy)]
enum Written {
    All,
    /// One of them was accepted before, or cannot be.
    Nothing,
    /// The answer to the commit was lost.
    Perhaps,
}

/// Writes all of them, or none.
async fn together(store: &Store, group: &[Waiting]) -> Result<Written, Error> {
    let tx = store.begin(DOING).await?;
    let mut names = HashMap::new();
    let mut rows = Vec::with_capacity(group.len());
    for Waiting { run, .. } in group {
        let (tenant, new) = (&run.tenant, &run.new);
        let of = (tenant.id(), new.flow, new.version, new.submitted_by);
        let name = match names.get(&of) {
            Some(name) => String::clone(name),
            None => tenant.flow_name(&tx, new).await?,
        };
        names.insert(of, name.clone());
        rows.push(run.row(name));
    }
    while !rows.is_empty() {
        let rest = rows.split_off(rows_in_one(rows.len()));
        let expected = rows.len();
        if usize::try_from(insert_runs(&tx, rows).await?) != Ok(expected) {
            return Ok(Written::Nothing);
        }
        rows = rest;
    }
    insert_tasks(&tx, group.iter().map(|waiting| &waiting.run.new)).await?;
    Ok(if tx.commit().await.is_ok() { Written::All } else { Written::Perhaps })
}
