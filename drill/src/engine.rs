//! Container engines: what they still have of the cluster, and one of the drill's own, which can be
//! killed. The machine's is never touched.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bollard::Docker;
use bollard::errors::Error;
use bollard::query_parameters::{
    ImportImageOptionsBuilder, InspectContainerOptions, ListContainersOptions,
};
use futures::{StreamExt, TryStreamExt};
use nix::mount::{MntFlags, umount2};
use tokio::time::Instant;

use crate::command::Program;
use crate::part::{Exit, Part};

const LABEL: &str = "flowcell.cluster";
const GONE_WITHIN: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(200);

/// An image of a gigabyte is loaded meanwhile, and a call may wait for it.
const CALL_SECONDS_MAX: u64 = 600;

/// An engine that starts looks at what is left of its last life.
const ANSWERS_WITHIN: Duration = Duration::from_mins(3);
const STOPS_WITHIN: Duration = Duration::from_mins(1);

/// Pieces of an image that are on the way from one engine to the other.
const PIECES_MAX: usize = 16;

/// Connects to the engine at `unix://…`.
pub(crate) fn connect(docker_host: &str) -> Result<Docker> {
    let docker =
        Docker::connect_with_unix(docker_host, CALL_SECONDS_MAX, bollard::API_DEFAULT_VERSION);
    docker.with_context(|| format!("connecting to the engine at {docker_host}"))
}

/// An engine with folders of its own and no network, below the drill's home.
#[derive(Debug)]
pub(crate) struct OwnEngine {
    part: Arc<Part>,
    docker: Docker,
    folder: PathBuf,
    /// Where it listens.
    pub(crate) host: String,
}

impl OwnEngine {
    /// Starts it, and copies an image to it from the machine's engine.
    pub(crate) async fn start(home: &Path, machine: &Docker, image: &str) -> Result<Self> {
        let folder = home.join("engine");
        fs::create_dir(&folder).context("making a folder for an engine")?;
        let path = |name: &str| folder.join(name).display().to_string();
        // Not the machine's.
        fs::write(folder.join("daemon.json"), "{}")?;
        let host = format!("unix://{}", path("docker.sock"));
        let folders = [
            format!("--host={host}"),
            format!("--data-root={}", path("data")),
            format!("--exec-root={}", path("exec")),
            format!("--pidfile={}", path("pid")),
            format!("--config-file={}", path("daemon.json")),
        ];
        // Cells have no network, and rules of the machine's are not the drill's to change.
        let no_network =
            ["--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"];
        let no_network = no_network.map(str::to_owned);
        let words = std::iter::once("dockerd".to_owned()).chain(folders).chain(no_network);
        let part =
            Part::start("engine".to_owned(), Program::new(words), home.join("logs/engine.log"))?;
        let docker = answering(&host).await?;
        copy(machine, &docker, image).await?;
        Ok(Self { part, docker, folder, host })
    }

    /// SIGKILL, also for its `containerd`; it comes back after `down`.
    pub(crate) async fn kill(&self, down: Duration) -> Result<()> {
        self.part.kill()?;
        tokio::time::sleep(down).await;
        self.part.resume()?;
        answering(&self.host).await.map(drop)
    }

    pub(crate) async fn stop(&self) -> Result<()> {
        self.part.stop(STOPS_WITHIN).await.map(drop)
    }

    /// The ends that nobody asked for.
    pub(crate) fn exits(&self) -> Vec<Exit> {
        self.part.exits()
    }

    pub(crate) fn docker(&self) -> &Docker {
        &self.docker
    }
}

impl Drop for OwnEngine {
    /// What an engine mounts outlives it when it is killed, and its folder could not be removed.
    fn drop(&mut self) {
        // It may have been stopped in order, and then nothing is mounted either.
        let _ = self.part.kill();
        for mount in mounts_below(&self.folder) {
            let _ = umount2(&mount, MntFlags::MNT_DETACH);
        }
    }
}

/// The mounts in a folder, the innermost first.
fn mounts_below(folder: &Path) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let paths = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(PathBuf::from);
    let mut found: Vec<PathBuf> = paths.filter(|path| path.starts_with(folder)).collect();
    found.reverse();
    found
}

/// A client of an engine that has just been started, once it answers.
async fn answering(host: &str) -> Result<Docker> {
    let until = Instant::now() + ANSWERS_WITHIN;
    loop {
        let problem = match connect(host) {
            Ok(docker) => match docker.ping().await {
                Ok(_) => return Ok(docker),
                Err(error) => error.into(),
            },
            // Its socket is not there yet.
            Err(error) => error,
        };
        if Instant::now() > until {
            return Err(problem.context("the drill's engine does not answer: see logs/engine.log"));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Why there is no engine of the drill's own, if so.
pub(crate) fn unavailable() -> Option<&'static str> {
    if !nix::unistd::Uid::effective().is_root() {
        return Some("needs root, for an engine of its own");
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = std::env::split_paths(&path).any(|folder| folder.join("dockerd").is_file());
    (!is_there).then_some("needs dockerd on PATH, for an engine of its own")
}

/// Copies an image from one engine to another.
async fn copy(from: &Docker, to: &Docker, image: &str) -> Result<()> {
    let (pieces, received) = futures::channel::mpsc::channel(PIECES_MAX);
    let saving = from.export_image(image).map(Ok).forward(pieces);
    let options = ImportImageOptionsBuilder::default().quiet(true).build();
    let loading = to.import_image_stream(options, received, None).try_collect::<Vec<_>>();
    let (saved, loaded) = futures::future::join(saving, loading).await;
    loaded.with_context(|| format!("copying {image} to the drill's engine"))?;
    if saved.is_err() {
        bail!("the drill's engine did not take all of {image}: see logs/engine.log");
    }
    Ok(())
}

/// The containers of a cluster that do not go by themselves.
pub(crate) async fn left(docker: &Docker, cluster: &str) -> Result<Vec<String>> {
    let until = Instant::now() + GONE_WITHIN;
    loop {
        let left = containers(docker, cluster).await?;
        if left.is_empty() || Instant::now() > until {
            return Ok(left);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// All containers of a cluster, stopped ones included.
async fn containers(docker: &Docker, cluster: &str) -> Result<Vec<String>> {
    let filters = HashMap::from([("label".to_owned(), vec![format!("{LABEL}={cluster}")])]);
    let options = ListContainersOptions { all: true, filters: Some(filters), ..Default::default() };
    let mut there = Vec::new();
    for listed in docker.list_containers(Some(options)).await.context("listing containers")? {
        let id = listed.id.unwrap_or_default();
        // An engine that was killed may list one that is gone until its next start.
        match docker.inspect_container(&id, None::<InspectContainerOptions>).await {
            Ok(_) => there.push(listed.names.unwrap_or_default().join(" ")),
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => {}
            Err(error) => return Err(error).context("inspecting a container"),
        }
    }
    Ok(there)
}
