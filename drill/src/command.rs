//! How a process is started: as whom, where, and so that it cannot outlive this one.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::unistd::{Uid, User};

/// An unprivileged user of this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunAs {
    pub(crate) user: u32,
    pub(crate) group: u32,
}

impl RunAs {
    /// Whom Postgres runs as when this process is root, which Postgres refuses to be.
    pub(crate) fn for_postgres() -> Result<Option<Self>> {
        if !Uid::effective().is_root() {
            return Ok(None);
        }
        for name in ["postgres", "nobody"] {
            if let Some(user) = User::from_name(name)? {
                return Ok(Some(Self { user: user.uid.as_raw(), group: user.gid.as_raw() }));
            }
        }
        anyhow::bail!(
            "Postgres refuses to run as root, and there is neither a user postgres nor nobody"
        )
    }
}

/// A program with everything that it is started with, as often as wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Program {
    pub(crate) words: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) run_as: Option<RunAs>,
    /// The process whose view of the file system it has.
    pub(crate) sees_files_of: Option<u32>,
}

impl Program {
    pub(crate) fn new<W: Into<String>>(words: impl IntoIterator<Item = W>) -> Self {
        Self { words: words.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Starts it; what it says is appended to the file.
    ///
    /// The signal that it gets when its parent dies belongs to the thread that started it. Threads
    /// of the runtime live as long as the process; those for blocking work do not.
    pub(crate) fn start(&self, log: &Path) -> Result<Child> {
        let log = File::options().create(true).append(true).open(log);
        let log = log.context("opening the log of a process")?;
        let mut command = self.command();
        command.stdout(log.try_clone()?).stderr(log);
        command.spawn().with_context(|| format!("starting {}", self.name()))
    }

    /// Executes it and returns what it printed.
    pub(crate) fn output(&self) -> Result<String> {
        let output = self.command().output();
        let output = output.with_context(|| format!("starting {}", self.name()))?;
        ensure!(
            output.status.success(),
            "{} ended with {}\n{}{}",
            self.name(),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn name(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    fn command(&self) -> Command {
        let words = self.all_words();
        let (program, arguments) = words.split_first().map_or(("", &[][..]), |(p, a)| (p, a));
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| name == "PATH"))
            .env("HOME", "/nonexistent")
            .env("RUST_BACKTRACE", "1")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            // A terminal's ^C is for the drill alone, which then ends the others.
            .process_group(0);
        command
    }

    /// A change of user clears the death signal, so `setpriv` sets it last.
    fn all_words(&self) -> Vec<String> {
        let mut words = Vec::new();
        if let Some(process) = self.sees_files_of {
            words.extend([
                "nsenter".to_owned(),
                format!("--mount=/proc/{process}/ns/mnt"),
                "--".into(),
            ]);
        }
        words.extend(["setpriv".to_owned(), "--pdeathsig=KILL".into()]);
        if let Some(RunAs { user, group }) = self.run_as {
            words.extend([format!("--reuid={user}"), format!("--regid={group}")]);
            words.push("--clear-groups".into());
        }
        words.push("--".into());
        words.extend(self.words.iter().cloned());
        words
    }
}

/// The newest Postgres that Debian's packages installed.
pub(crate) fn postgres_programs() -> Result<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .context("no Postgres server is installed (Debian: apt install postgresql)")?;
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join("bin/initdb").is_file())
        .max_by_key(|path| version(path));
    let newest = newest.context("no initdb below /usr/lib/postgresql (apt install postgresql)")?;
    Ok(newest.join("bin"))
}

/// A `nats-server`: as given, else on `PATH`, else where `scripts/lib/nats.sh` puts it.
pub(crate) fn nats_program(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(given) = given {
        ensure!(given.is_file(), "there is no nats-server at {}", given.display());
        return Ok(given.to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("nats-server"));
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .map(|cache| cache.join("flowcell/nats-server"));
    let found = on_path.chain(cache).find(|program| program.is_file());
    found.context("no nats-server is here: name one with --nats-server PATH")
}
