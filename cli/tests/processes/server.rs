//! A `flowcell up` with a data folder of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The last thing that a start says.
const READY: &str = "credentials for clients:";
const READY_MAX: Duration = Duration::from_secs(60);
const END_MAX: Duration = Duration::from_secs(60);
/// No container is made unless a test makes it.
const CONFIGURATION: &str = "[worker.pool]\nimages = []\n";

/// The program under test, with nothing of the caller's environment but where to find Docker.
pub(crate) fn flowcell(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowcell"));
    command.env_clear().env("HOME", home);
    command
}

pub(crate) struct Server {
    home: PathBuf,
    child: Child,
}

impl Server {
    /// Starts one, for the first time or again, and waits until clients can use it.
    pub(crate) fn start(home: &Path) -> Self {
        Self::start_with(home, "")
    }

    /// The same with settings of the top level.
    pub(crate) fn start_with(home: &Path, settings: &str) -> Self {
        let configuration = home.join("flowcell.toml");
        fs::write(&configuration, format!("{settings}\n{CONFIGURATION}")).unwrap();
        let child = flowcell(home)
            .args(["up", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(home.join("data"))
            .arg("--config")
            .arg(configuration)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(home.join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut server = Self { home: home.to_owned(), child };
        server.wait_logged(READY);
        server
    }

    /// Waits until it has said this.
    pub(crate) fn wait_logged(&mut self, text: &str) {
        let until = Instant::now() + READY_MAX;
        loop {
            let is_running = self.is_running();
            let log = self.log();
            if log.contains(text) {
                return;
            }
            assert!(is_running && Instant::now() < until, "it never said {text:?}: {log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// URL and API key for clients.
    pub(crate) fn credentials(&self) -> (String, String) {
        let text = fs::read_to_string(self.home.join("data/client.env")).unwrap();
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim_matches('\'').to_owned()
        };
        (value("export FLOWCELL_URL="), value("export FLOWCELL_API_KEY="))
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Ends it in order.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        let until = Instant::now() + END_MAX;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "it does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// SIGKILL: nothing in the process can react.
    pub(crate) fn kill(&mut self) -> ExitStatus {
        self.child.kill().unwrap();
        self.child.wait().unwrap()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.join("log")).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Only a failed test leaves it running.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
