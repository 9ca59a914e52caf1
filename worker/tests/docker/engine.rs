//! An engine that is killed, and one that is restarted: every attempt is accounted for, and
//! nothing is left. On an engine of the test's own, beside the one that other tests use.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use domain::failure::FailureKind;
use flowcell_worker::config::{Backend, PoolImage};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use proto::message::{Assignment, AttemptRef, ReportOutcome};
use tempfile::TempDir;

use crate::cluster::{Cluster, containers_on};
use crate::real::{self, component};
use crate::{image, skip};

/// After this long nothing may be left.
const GONE_WITHIN: Duration = Duration::from_secs(30);
/// An engine that starts looks at what is left of its last life.
const START_MAX: Duration = Duration::from_secs(120);

/// A `dockerd` with folders of its own and no network.
struct Engine {
    dir: TempDir,
    process: Child,
}

impl Engine {
    fn start() -> Self {
        // Its sockets have long names, and those have a limit.
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        // Not the host's.
        std::fs::write(dir.path().join("daemon.json"), "{}").unwrap();
        let process = spawn(&dir);
        let mut engine = Self { dir, process };
        engine.answers();
        engine
    }

    fn host(&self) -> String {
        format!("unix://{}", self.path("docker.sock").display())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn docker(&self) -> Command {
        let mut command = Command::new("docker");
        command.arg("--host").arg(self.host()).stderr(Stdio::null());
        command
    }

    fn answers(&mut self) {
        let began = Instant::now();
        while !self.docker().args(["ps", "-q"]).output().unwrap().status.success() {
            assert!(began.elapsed() < START_MAX, "the engine does not answer:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(100));
            // It gives its own parts fifteen seconds, which a busy machine may not have.
            if self.process.try_wait().unwrap().is_some() {
                self.process = spawn(&self.dir);
            }
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Takes over an image from the engine that all tests share.
    fn load(&self, image: &str) {
        let mut save =
            Command::new("docker").args(["save", image]).stdout(Stdio::piped()).spawn().unwrap();
        let stdin = save.stdout.take().unwrap();
        let loaded = self.docker().arg("load").stdin(stdin).output().unwrap();
        assert!(loaded.status.success() && save.wait().unwrap().success());
    }

    /// The one process, without a chance to clean up; its `containerd` dies with it.
    fn crash(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn stop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.process.id()).unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        self.process.wait().unwrap();
    }

    fn start_again(&mut self) {
        self.process = spawn(&self.dir);
        self.answers();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // A test that failed leaves containers; an engine that is asked to end ends them.
        self.stop();
    }
}

fn spawn(dir: &TempDir) -> Child {
    let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let log = std::fs::File::options().create(true).append(true).open(path("log")).unwrap();
    Command::new("dockerd")
        .args(["--host", &format!("unix://{}", path("docker.sock"))])
        .args(["--data-root", &path("data"), "--exec-root", &path("exec")])
        .args(["--pidfile", &path("pid"), "--config-file", &path("daemon.json")])
        .args(["--bridge", "none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"])
        // Signals of the terminal are for the test.
        .process_group(0)
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// A worker on that engine.
async fn worker(engine: &Engine, image: &str, backend: Backend) -> Cluster {
    engine.load(image);
    let cluster = Cluster::with(|config| {
        config.docker_host = engine.host();
        config.pool.images = vec![PoolImage::fixed(image, 2)];
        config.sandbox.backend = backend;
        config.sandbox.zygotes = 1;
        config.pool.ready_ms_max = 120_000;
        config.pool.take_ms_max = 120_000;
        if backend != Backend::Warm {
            config.limits = real::limits();
        }
    });
    let cluster = cluster.await;
    cluster.warm(2).await;
    cluster
}

/// An attempt whose cell has begun.
async fn begun(cluster: &Cluster, assignment: Assignment) -> AttemptRef {
    let attempt = cluster.submit(assignment).await;
    cluster.scheduler.until(|state| state.began.get(&attempt).cloned()).await;
    attempt
}

/// What is on the engine soon is what this process of the worker has made since.
async fn only_fresh_ones(cluster: &Cluster, engine: &Engine, before: &[String]) {
    let began = Instant::now();
    loop {
        let found = containers_on(&engine.host(), &cluster.name);
        let old: Vec<_> = found.iter().filter(|id| before.contains(id)).collect();
        if old.is_empty() {
            eprintln!("the old ones are gone {} ms after the start", began.elapsed().as_millis());
            return;
        }
        assert!(began.elapsed() < GONE_WITHIN, "{old:?} are left\n{}", engine.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_and_a_restart_of_the_engine_leave_nothing() {
    if skip() {
        return;
    }
    let mut engine = Engine::start();
    let image = image::of("normal");
    let cluster = worker(&engine, &image, Backend::Warm).await;
    for crash in [true, false] {
        // Longer than an engine takes to come back.
        let mut sleep = cluster.assignment("sleep", "");
        sleep.limits.wall_ms = 300_000;
        let attempt = begun(&cluster, sleep).await;
        let before = cluster.containers();
        if crash {
            engine.crash()
        } else {
            engine.stop()
        };
        engine.start_again();
        only_fresh_ones(&cluster, &engine, &before).await;
        let failure = match cluster.report(attempt).await.0 {
            ReportOutcome::Failed { failure } => failure,
            ReportOutcome::Done { .. } => panic!("a cell that sleeps for ever has ended well"),
        };
        // Not the component's doing: another attempt may follow. An engine that is told to stop
        // kills what it runs, which looks as if the process had ended itself.
        let killed = FailureKind::ExitedEarly { exit_code: Some(137) };
        let expected = if crash { FailureKind::WorkerLost } else { killed };
        assert_eq!(failure.kind, expected, "{failure:?}");
        assert_eq!(cluster.text("echo", "fine").await, "fine");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forked_cell_outlives_a_crash_of_the_engine() {
    crashed_and_restarted(Backend::Zygote).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_of_our_own_making_outlives_a_crash_of_the_engine() {
    crashed_and_restarted(Backend::Native).await;
}

async fn crashed_and_restarted(backend: Backend) {
    if skip() || !real::is_there() {
        return;
    }
    let mut engine = Engine::start();
    let cluster = worker(&engine, &real::image(), backend).await;
    let nap = "import time\ntime.sleep(2)\nreturn Message(text='slept')";
    let attempt = begun(&cluster, component(&cluster, nap)).await;
    let before = cluster.containers();
    engine.crash();
    // The engine has no part in a cell that runs.
    assert!(matches!(cluster.report(attempt).await.0, ReportOutcome::Done { .. }));
    engine.start_again();
    only_fresh_ones(&cluster, &engine, &before).await;
    works(&cluster).await;

    let mut sleep = component(&cluster, "import time\ntime.sleep(290)");
    sleep.limits.wall_ms = 300_000;
    let attempt = begun(&cluster, sleep).await;
    let cell = cluster.scheduler.with(|state| state.began[&attempt].clone());
    let before = cluster.containers();
    engine.stop();
    engine.start_again();
    only_fresh_ones(&cluster, &engine, &before).await;
    if backend == Backend::Native {
        // The engine does not know of it; its worker ends it.
        assert!(cluster.scheduler.with(|state| !state.reports.contains_key(&attempt)));
        cluster.order_stop(attempt).await;
    } else {
        // Not the component's doing, as above.
        let outcome = cluster.report(attempt).await.0;
        let ReportOutcome::Failed { failure } = outcome else { panic!("{outcome:?}") };
        let killed = FailureKind::ExitedEarly { exit_code: Some(137) };
        assert!([FailureKind::WorkerLost, killed].contains(&failure.kind), "{failure:?}");
    }
    let ended = Instant::now();
    cluster.gone(&cell).await;
    assert!(ended.elapsed() < GONE_WITHIN, "{:?}", ended.elapsed());
    works(&cluster).await;
    cluster.stop().await;
}

async fn works(cluster: &Cluster) {
    let quick = component(cluster, "return Message(text='again')");
    let outcome = cluster.run(quick).await.0;
    assert!(matches!(outcome, ReportOutcome::Done { .. }), "{outcome:?}");
}
