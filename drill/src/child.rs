//! A child process that is ended when it is dropped.

use std::process::{Child as Process, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::Instant;

/// How often a child's end is looked for.
const LOOK: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(crate) struct Child(Process);

impl Child {
    pub(crate) fn new(process: Process) -> Self {
        Self(process)
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().ok().flatten()
    }

    /// Sends a signal to a child that has not been waited for, so its id is its own.
    pub(crate) fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.ended().is_some() {
            return Ok(());
        }
        let pid = Pid::from_raw(self.0.id().cast_signed());
        kill(pid, signal).with_context(|| format!("sending {signal}"))
    }

    /// SIGKILL, and waits for its end.
    pub(crate) fn kill(&mut self) -> Result<ExitStatus> {
        self.0.kill().context("killing a process")?;
        self.0.wait().context("waiting for a killed process")
    }

    /// Waits for its end; kills it when that takes too long, and says so.
    pub(crate) async fn wait(&mut self, patience: Duration) -> Result<Ended> {
        let until = Instant::now() + patience;
        while Instant::now() < until {
            if let Some(status) = self.ended() {
                return Ok(Ended::ByItself(status));
            }
            tokio::time::sleep(LOOK).await;
        }
        self.kill()?;
        Ok(Ended::Killed)
    }
}

/// How a wait for a child ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ended {
    ByItself(ExitStatus),
    /// It did not end in time.
    Killed,
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
