//! A process of the cluster that is started again whenever it ends, as a service manager does.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;

use crate::child::{Child, Ended};
use crate::command::Program;

/// How often somebody looks whether it still runs.
const LOOK: Duration = Duration::from_millis(100);

/// From an end that nobody asked for to the next start.
const RESTART_AFTER: Duration = Duration::from_secs(1);

/// An end that nobody asked for.
#[derive(Clone, Debug)]
pub(crate) struct Exit {
    pub(crate) part: String,
    pub(crate) how: String,
}

#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) name: String,
    log: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    program: Program,
    child: Option<Child>,
    /// Whether it should run now.
    wanted: bool,
    exits: Vec<Exit>,
}

impl Part {
    /// Starts it, and again whenever it ends, until the value is dropped.
    pub(crate) fn start(name: String, program: Program, log: PathBuf) -> Result<Arc<Self>> {
        let state = State { program, child: None, wanted: false, exits: Vec::new() };
        let part = Arc::new(Self { name, log, state: Mutex::new(state) });
        part.resume()?;
        let watched = Arc::downgrade(&part);
        tokio::spawn(async move {
            while let Some(part) = watched.upgrade() {
                let pause = if part.has_ended() { RESTART_AFTER } else { LOOK };
                drop(part);
                tokio::time::sleep(pause).await;
                if pause == RESTART_AFTER
                    && let Some(part) = watched.upgrade()
                {
                    // It cannot be started at all: the next look tries again.
                    let _ = part.replace();
                }
            }
        });
        Ok(part)
    }

    /// SIGKILL. It stays away until [`Part::resume`].
    pub(crate) fn kill(&self) -> Result<()> {
        let mut state = self.lock();
        state.wanted = false;
        if let Some(mut child) = state.child.take() {
            child.kill()?;
        }
        Ok(())
    }

    /// SIGTERM, and waits for the end of its drain. It stays away until [`Part::resume`].
    pub(crate) async fn stop(&self, patience: Duration) -> Result<Option<Ended>> {
        self.finish(Signal::SIGTERM, patience).await
    }

    /// The same with another signal.
    pub(crate) async fn finish(&self, signal: Signal, patience: Duration) -> Result<Option<Ended>> {
        let child = {
            let mut state = self.lock();
            state.wanted = false;
            state.child.take()
        };
        let Some(mut child) = child else { return Ok(None) };
        child.signal(signal)?;
        child.wait(patience).await.map(Some)
    }

    /// Starts it after it was ended on purpose.
    pub(crate) fn resume(&self) -> Result<()> {
        let mut state = self.lock();
        state.wanted = true;
        state.child = Some(Child::new(state.program.start(&self.log)?));
        Ok(())
    }

    /// Its process, while it runs.
    pub(crate) fn id(&self) -> Option<u32> {
        self.lock().child.as_ref().map(Child::id)
    }

    /// Has it be another program from its next start on, with the same arguments and settings.
    pub(crate) fn become_program(&self, program: String) {
        if let Some(first) = self.lock().program.words.first_mut() {
            *first = program;
        }
    }

    /// A signal to the process alone.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        self.lock().child.as_mut().map_or(Ok(()), |child| child.signal(signal))
    }

    /// The ends that nobody asked for.
    pub(crate) fn exits(&self) -> Vec<Exit> {
        self.lock().exits.clone()
    }

    /// Whether it ended by itself just now; notes how.
    fn has_ended(&self) -> bool {
        let mut state = self.lock();
        let Some(status) = state.child.as_mut().and_then(Child::ended) else {
            return state.wanted && state.child.is_none();
        };
        state.child = None;
        let exit = Exit { part: self.name.clone(), how: status.to_string() };
        state.exits.push(exit);
        true
    }

    fn replace(&self) -> Result<()> {
        let mut state = self.lock();
        if state.wanted && state.child.is_none() {
            state.child = Some(Child::new(state.program.start(&self.log)?));
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
