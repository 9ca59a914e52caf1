//! The wall clock of a process, which can be set: libfaketime, loaded into the process, adds what a
//! file says. The monotonic clock is left alone, as it is when somebody sets a real clock.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use reqwest::header::DATE;
use tokio::time::Instant;

use crate::command::Program;

/// Forth and back. More than any lease, delay or deadline of a drill.
pub(crate) const JUMP: Duration = Duration::from_hours(1);

/// A process reads the file at most once a second.
const NOTICED_WITHIN: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(200);
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Which way a clock is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shift {
    Ahead,
    Behind,
    None,
}

impl Shift {
    /// As libfaketime reads it, in seconds.
    fn text(self) -> String {
        match self {
            Self::Ahead => format!("+{}", JUMP.as_secs()),
            Self::Behind => format!("-{}", JUMP.as_secs()),
            Self::None => "+0".to_owned(),
        }
    }
}

/// Clocks of the processes of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Clocks {
    library: PathBuf,
    folder: PathBuf,
}

/// libfaketime, where Debian's package puts it.
pub(crate) fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
    let library = |folder: PathBuf| folder.join("faketime/libfaketimeMT.so.1");
    folders.map(library).find(|library| library.is_file())
}

impl Clocks {
    /// Clocks that are right.
    pub(crate) fn new(library: PathBuf, home: &Path) -> Result<Self> {
        let folder = home.join("clocks");
        fs::create_dir(&folder).context("making a folder for clocks")?;
        Ok(Self { library, folder })
    }

    /// The program with a clock of its own.
    pub(crate) fn give(&self, name: &str, program: Program) -> Result<Program> {
        self.set(name, Shift::None)?;
        let file = self.folder.join(name);
        Ok(program
            .env("LD_PRELOAD", self.library.display().to_string())
            .env("FAKETIME_TIMESTAMP_FILE", file.display().to_string())
            .env("FAKETIME_CACHE_DURATION", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1"))
    }

    /// Sets a process's clock.
    pub(crate) fn set(&self, name: &str, shift: Shift) -> Result<()> {
        // Renamed into place: half a number would be another time.
        let (new, file) = (self.folder.join(format!("{name}.new")), self.folder.join(name));
        fs::write(&new, shift.text())
            .and_then(|()| fs::rename(&new, &file))
            .context("setting a clock")
    }
}

/// Waits until a process shows in the date of its answers that its clock is ahead. That it is behind
/// cannot be seen there: the server keeps a date until it is over.
pub(crate) async fn shows_ahead(process: SocketAddr) -> Result<()> {
    let http = reqwest::Client::builder().no_proxy().timeout(ANSWER_WITHIN).build()?;
    let until = Instant::now() + NOTICED_WITHIN;
    while read(&http, process).await.is_none_or(|ahead| ahead <= JUMP / 2) {
        ensure!(Instant::now() < until, "its clock could not be set");
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// How far a process's clock is ahead.
async fn read(http: &reqwest::Client, process: SocketAddr) -> Option<Duration> {
    let answer = http.get(format!("http://{process}/healthz")).send().await.ok()?;
    let date = answer.headers().get(DATE)?.to_str().ok()?;
    let date = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
    let now = jiff::Timestamp::try_from(SystemTime::now()).ok()?;
    Duration::try_from(date - now).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_goes_by_the_clock_that_it_is_given() {
        // `scripts/test` installs it.
        let home = tempfile::tempdir().unwrap();
        let clocks = Clocks::new(library().unwrap(), home.path()).unwrap();
        let date = ["date", "+%s"].map(str::to_owned);
        let date = clocks.give("date", Program::new(date)).unwrap();
        for (shift, ahead) in [(Shift::None, 0), (Shift::Ahead, 3_600), (Shift::Behind, -3_600)] {
            clocks.set("date", shift).unwrap();
            let now = jiff::Timestamp::now().as_second();
            let said: i64 = date.output().unwrap().trim().parse().unwrap();
            assert!((said - now - ahead).abs() < 600, "{shift:?}: {said} at {now}");
        }
    }
}
