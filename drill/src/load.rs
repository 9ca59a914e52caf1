//! Runs at a steady rate, each with a key of its own, each followed to its end.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::Apis;
use crate::follow::{Followed, follow};
use crate::time::{Millis, now};

/// Every so many runs one is submitted once more after it was accepted.
const REPEATED: u32 = 4;

/// A run that a client submitted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Submitted {
    pub(crate) key: String,
    pub(crate) accepted_at: Millis,
    /// The ids that the cluster gave it: one, however often it was submitted.
    pub(crate) ids: BTreeSet<String>,
    pub(crate) tries: u32,
    /// Why it was not accepted.
    pub(crate) refused: Option<String>,
    /// What became of it; nothing yet when the drill ended first.
    pub(crate) followed: Option<Followed>,
}

/// The runs of a drill.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    apis: Apis,
    flow: String,
    every: Duration,
    runs: Arc<Mutex<Vec<Submitted>>>,
}

/// How many runs are how far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) submitted: usize,
    pub(crate) ended: usize,
}

impl Load {
    pub(crate) fn new(apis: Apis, flow: String, every: Duration) -> Self {
        Self { apis, flow, every, runs: Arc::default() }
    }

    /// Submits until told to stop, then waits for the end of all runs, as long as they end one
    /// after another.
    pub(crate) async fn run(&self, stop: CancellationToken, stalled_after: Duration) {
        let mut clients = JoinSet::new();
        let mut number = 0;
        let mut due = Instant::now();
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                () = stop.cancelled() => break,
            }
            due += self.every;
            number += 1;
            let load = self.clone();
            clients.spawn(async move { load.client(number).await });
        }
        // What has not ended by then is lost; the verdict says so.
        while let Ok(Some(_)) = tokio::time::timeout(stalled_after, clients.join_next()).await {}
    }

    /// Submits one run and waits for its end.
    pub(crate) async fn client(&self, number: u32) {
        let key = format!("run-{number:05}");
        let place = {
            let mut runs = self.lock();
            runs.push(Submitted { key: key.clone(), ..Submitted::default() });
            runs.len() - 1
        };
        if let Err(error) = self.submit(place, &key, number).await {
            self.note(place, |run| run.refused = Some(format!("{error:#}")));
        }
    }

    async fn submit(&self, place: usize, key: &str, number: u32) -> Result<()> {
        let accepted = self.apis.start(&self.flow, key).await?;
        let id = accepted.id.clone();
        self.note(place, |run| {
            run.accepted_at = now();
            run.tries = accepted.tries;
            run.ids.insert(accepted.id);
        });
        if number.is_multiple_of(REPEATED) {
            let again = self.apis.start(&self.flow, key).await?;
            self.note(place, |run| run.ids.extend([again.id]));
        }
        let followed = follow(&self.apis, &id).await?;
        self.note(place, |run| run.followed = Some(followed));
        Ok(())
    }

    pub(crate) fn tally(&self) -> Tally {
        let runs = self.lock();
        let ended = runs.iter().filter(|run| run.followed.is_some()).count();
        Tally { submitted: runs.len(), ended }
    }

    /// What was submitted, and what became of it until now.
    pub(crate) fn runs(&self) -> Vec<Submitted> {
        self.lock().clone()
    }

    fn note(&self, place: usize, change: impl FnOnce(&mut Submitted)) {
        if let Some(run) = self.lock().get_mut(place) {
            change(run);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Submitted>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
