//! Whatever kills a worker's process, its containers go: also those that cannot end themselves.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::server::Server;
use crate::skip;

const IMAGE: &str = "flowcell/runner:lfx-1.13";

#[test]
fn a_killed_server_leaves_no_container_that_is_deaf_or_was_never_started() {
    if skip() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start(home.path());
    let reaper = Reaper::of(&server);
    // Its own sweeper would remove what no slot knows.
    server.signal(Signal::SIGSTOP);
    // Hostile code may have stopped the runner from listening to its lifeline; a worker may die
    // between the creation and the start of a container.
    reaper.container("run", "00000000000000a1");
    reaper.container("create", "00000000000000a2");
    fs::create_dir_all(reaper.slot_root.join("00000000000000a1")).unwrap();
    assert_eq!(reaper.containers().len(), 2);

    // What a terminal or a service manager sends to everybody.
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        kill(reaper.pid, signal).unwrap();
    }
    let killed = Instant::now();
    assert_eq!(server.kill().signal(), Some(9));
    while !reaper.containers().is_empty() {
        assert!(killed.elapsed() < Duration::from_secs(10), "containers outlived their worker");
        std::thread::sleep(Duration::from_millis(50));
    }
    eprintln!("gone {} ms after kill -9", killed.elapsed().as_millis());
    reaper.wait_gone();
    assert!(!reaper.slot_root.join("00000000000000a1").exists());
}

#[test]
fn a_reaper_has_nothing_of_its_worker_and_ends_with_it() {
    if skip() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start(home.path());
    let reaper = Reaper::of(&server);
    let stat = fs::read_to_string(format!("/proc/{}/stat", reaper.pid)).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    assert_eq!(fields[3], reaper.pid.to_string(), "it is not in a session of its own");

    // Files, sockets and pipes have a number in their link; `/dev/null` and the like are anyone's.
    let (ours, theirs) = (links(reaper.pid), links(server.pid()));
    let shared: BTreeSet<&String> = ours
        .intersection(&theirs)
        .filter(|link| !link.starts_with("/dev/") && !link.starts_with("anon_inode"))
        .collect();
    let input = fs::read_link(format!("/proc/{}/fd/0", reaper.pid)).unwrap();
    let errors = fs::read_link(format!("/proc/{}/fd/2", reaper.pid)).unwrap();
    let expected = [input, errors].map(|path| path.to_str().unwrap().to_owned());
    assert_eq!(shared, expected.iter().collect(), "of all that the server has open");

    assert!(server.stop().success());
    reaper.wait_gone();
}

fn links(pid: Pid) -> BTreeSet<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let links = entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    links.map(|path| path.to_str().unwrap().to_owned()).collect()
}

/// The reaper of a server, found among its children.
struct Reaper {
    pid: Pid,
    labels: [String; 3],
    slot_root: std::path::PathBuf,
}

impl Reaper {
    fn of(server: &Server) -> Self {
        for process in fs::read_dir("/proc").unwrap().flatten() {
            let Ok(pid) = process.file_name().to_str().unwrap().parse::<i32>() else { continue };
            let stat = fs::read_to_string(process.path().join("stat")).unwrap_or_default();
            let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1));
            if parent != Some(&server.pid().to_string()) {
                continue;
            }
            let words = fs::read_to_string(process.path().join("cmdline")).unwrap();
            let words: Vec<&str> = words.split('\0').collect();
            assert_eq!(words[1], "reap");
            let value = |name: &str| {
                let found = words.iter().find_map(|word| word.strip_prefix(name));
                found.unwrap_or_else(|| panic!("no {name} among {words:?}")).to_owned()
            };
            return Self {
                pid: Pid::from_raw(pid),
                labels: [
                    format!("flowcell.cluster={}", value("--cluster=")),
                    format!("flowcell.worker={}", value("--worker=")),
                    format!("flowcell.epoch={}", value("--epoch=")),
                ],
                slot_root: value("--slot-root=").into(),
            };
        }
        panic!("the server has no reaper");
    }

    /// A container of this worker's process.
    fn container(&self, verb: &str, slot: &str) {
        let mut docker = Command::new("docker");
        docker.arg(verb);
        if verb == "run" {
            docker.arg("--detach");
        }
        for label in self.labels.iter().chain([&format!("flowcell.slot={slot}")]) {
            docker.args(["--label", label]);
        }
        docker.args(["--network", "none", "--entrypoint", "sleep", IMAGE, "1000"]);
        assert!(docker.stdout(Stdio::null()).status().unwrap().success());
    }

    fn containers(&self) -> Vec<String> {
        let mut docker = Command::new("docker");
        docker.args(["ps", "--all", "--quiet"]);
        for label in &self.labels {
            docker.args(["--filter", &format!("label={label}")]);
        }
        let output = docker.output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    fn wait_gone(&self) {
        let until = Instant::now() + Duration::from_secs(15);
        while kill(self.pid, None).is_ok() {
            assert!(Instant::now() < until, "the reaper goes on after its work");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
