//! A run's events from any position on: from the bus while the log lives there, from the archive
//! afterwards. Who reads cannot tell the difference.
//!
//! The bus is not trusted to say the last word: the run's row is looked at now and then, and a
//! log that lost its end is ended from the row.

use std::time::Duration;
use std::vec::IntoIter;

use bus::EventReader;
use bytes::Bytes;
use domain::failure::{Failure, FailureKind};
use domain::id::RunId;
use domain::run::RunState;
use proto::event::{RunEvent, RunEventKind};
use serde::Deserialize;
use store::{RunHeader, Tenant};

use crate::app::App;
use crate::error::{Error, internal};

/// After this long without an event the run's row is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The pause doubles up to this while the run is open: thousands may follow runs that wait for
/// something, and each look is a query.
const LOOK_MAX: Duration = Duration::from_secs(8);

/// An ended run whose log says nothing for this many looks has lost the log's end.
const LOOKS_MAX: u32 = 5;

/// One entry of a log.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Its position, from 1.
    pub(crate) position: u64,
    /// The event's JSON, as stored.
    pub(crate) body: Bytes,
}

/// A run's events, in order.
#[derive(Debug)]
pub(crate) struct Events {
    app: App,
    tenant: Tenant,
    run: RunId,
    position: u64,
    source: Source,
    /// How long the log may be silent before the next look.
    patience: Duration,
    /// Looks since the run is known to have ended.
    looks: u32,
}

#[derive(Debug)]
enum Source {
    Live(EventReader),
    /// What is left of a complete log, in order.
    Complete(IntoIter<Bytes>),
    Ended,
}

/// The part of an event that says what it is; readers pass on what they do not know.
#[derive(Debug, Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    name: String,
}

impl Entry {
    /// The event's type.
    pub(crate) fn name(&self) -> String {
        let kind = serde_json::from_slice::<Kind>(&self.body);
        kind.map_or_else(|_| "unknown".to_owned(), |kind| kind.name)
    }

    /// The event, if it is one that this program knows.
    pub(crate) fn event(&self) -> Option<RunEventKind> {
        serde_json::from_slice::<RunEvent>(&self.body).ok().map(|event| event.kind)
    }

    /// Whether it is the last one of its log.
    pub(crate) fn is_terminal(&self) -> bool {
        let name = self.name();
        ["run.completed", "run.failed", "run.cancelled", "run.timed_out"].contains(&&*name)
    }
}

impl Events {
    /// Events of a run of this tenant after a position. A foreign run is not found.
    pub(crate) async fn open(
        app: &App,
        tenant: Tenant,
        run: RunId,
        after: u64,
    ) -> Result<Self, Error> {
        let header = tenant.run_header(run).await?;
        let (app, source) = (app.clone(), Source::Ended);
        let (patience, looks) = (LOOK, 0);
        let mut events = Self { app, tenant, run, position: after, source, patience, looks };
        let ended = header.state.is_terminal();
        let complete = if ended { events.complete(&header).await? } else { None };
        events.source = match complete {
            Some(log) => Source::Complete(log),
            None => Source::Live(events.app.bus.read(run, after).await?),
        };
        Ok(events)
    }

    /// The next event, as soon as there is one; `None` after the last one.
    pub(crate) async fn next(&mut self) -> Result<Option<Entry>, Error> {
        loop {
            match &mut self.source {
                Source::Ended => return Ok(None),
                Source::Complete(log) => {
                    let Some(body) = log.next() else {
                        self.source = Source::Ended;
                        return Ok(None);
                    };
                    return Ok(Some(self.entry(self.position + 1, body)));
                }
                Source::Live(reader) => {
                    match tokio::time::timeout(self.patience, reader.next()).await {
                        Ok(Ok(Some((position, body)))) => {
                            return Ok(Some(self.entry(position, body)));
                        }
                        // Closed, forgotten, or unreadable for now: the row says what is true.
                        Ok(Ok(None)) => {
                            self.look().await?;
                            tokio::time::sleep(Duration::from_millis(100)).await;
                            if matches!(self.source, Source::Live(_)) {
                                let reader = self.app.bus.read(self.run, self.position).await?;
                                self.source = Source::Live(reader);
                            }
                        }
                        Ok(Err(error)) if !error.is_transient() => return Err(error.into()),
                        Ok(Err(_)) | Err(_) => self.look().await?,
                    }
                }
            }
        }
    }

    fn entry(&mut self, position: u64, body: Bytes) -> Entry {
        self.position = position;
        (self.patience, self.looks) = (LOOK, 0);
        let entry = Entry { position, body };
        if entry.is_terminal() {
            self.source = Source::Ended;
        }
        entry
    }

    /// Looks at the row; when the run has ended, reads the rest from a complete log. A look that
    /// is not answered is one for nothing: the log goes on, and so do those who read it.
    async fn look(&mut self) -> Result<(), Error> {
        match self.look_now().await {
            Err(Error::Unavailable(why)) => {
                tracing::debug!(run.id = %self.run, error = why, "looking again later");
                Ok(())
            }
            looked => looked,
        }
    }

    async fn look_now(&mut self) -> Result<(), Error> {
        let header = self.tenant.run_header(self.run).await?;
        if !header.state.is_terminal() {
            self.patience = (2 * self.patience).min(LOOK_MAX);
            return Ok(());
        }
        self.patience = LOOK;
        if let Some(log) = self.complete(&header).await? {
            self.source = Source::Complete(log);
            return Ok(());
        }
        self.looks += 1;
        if self.looks >= LOOKS_MAX
            && let Some(end) = ending(&header)?
        {
            self.source = Source::Complete(vec![end].into_iter());
        }
        Ok(())
    }

    /// What follows our position in a log that has its last entry; `None` if there is no such log
    /// yet. An archive never grows, so one without an end gets it from the row.
    async fn complete(&self, header: &RunHeader) -> Result<Option<IntoIter<Bytes>>, Error> {
        let is_end = |body: &Bytes| Entry { position: 0, body: body.clone() }.is_terminal();
        let (mut log, is_archive) = match self.tenant.event_log(self.run).await? {
            Some(archive) => (lines(archive), true),
            None => (self.app.bus.snapshot(self.run).await?, false),
        };
        if !log.last().is_some_and(is_end) {
            if !is_archive {
                return Ok(None);
            }
            log.extend(ending(header)?);
        }
        let seen = usize::try_from(self.position).unwrap_or(usize::MAX);
        Ok(Some(log.into_iter().skip(seen).collect::<Vec<_>>().into_iter()))
    }
}

/// The log of a run of this tenant as it is now, from its beginning. A foreign run is not found.
pub(crate) async fn so_far(app: &App, tenant: &Tenant, run: RunId) -> Result<Vec<Bytes>, Error> {
    if let Some(archive) = tenant.event_log(run).await? {
        return Ok(lines(archive));
    }
    let live = app.bus.snapshot(run).await?;
    if !live.is_empty() {
        return Ok(live);
    }
    // It may have been archived and forgotten in between.
    Ok(tenant.event_log(run).await?.map(lines).unwrap_or_default())
}

/// An archived log: one event a line.
fn lines(archive: Vec<u8>) -> Vec<Bytes> {
    let archive = Bytes::from(archive);
    let lines = archive.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| archive.slice_ref(line)).collect()
}

/// The last event of a run, made from its row.
fn ending(header: &RunHeader) -> Result<Option<Bytes>, Error> {
    let kind = match header.state {
        RunState::Queued | RunState::Running | RunState::Suspended | RunState::Paused => {
            return Ok(None);
        }
        RunState::Completed => RunEventKind::RunCompleted,
        RunState::Cancelled => RunEventKind::RunCancelled,
        RunState::TimedOut => RunEventKind::RunTimedOut,
        RunState::Failed => {
            let unknown = || Failure::new(FailureKind::Internal, "the run failed");
            let failure = header.failure.clone().unwrap_or_else(unknown);
            RunEventKind::RunFailed { failure }
        }
    };
    let event = RunEvent { at: header.ended.unwrap_or_else(store::now), kind };
    let bytes = serde_json::to_vec(&event).map_err(|error| internal("writing an event", &error))?;
    Ok(Some(Bytes::from(bytes)))
}
