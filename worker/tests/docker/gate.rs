//! Workers behind a `docker-gate`: everything works, and nothing else does.

use std::path::PathBuf;
use std::process::Command;

use bollard::Docker;
use bollard::errors::Error;
use bollard::exec::CreateExecOptions;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters as query;
use flowcell_worker::config::{Backend, Config, PoolImage};
use flowcell_worker::doctor::examine;
use gate::Gate;
use proto::message::ReportOutcome;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::cluster::{Cluster, containers_of};
use crate::{image, real, skip};

const CLUSTER: &str = "flowcell-test";

/// A gate before the engine that all tests share.
struct World {
    dir: TempDir,
    /// Of this process: tests are root, which a worker behind a gate is not.
    user: u32,
    _serving: AbortOnDropHandle<()>,
}

impl World {
    fn open(dir: TempDir) -> Self {
        let user = nix::unistd::geteuid().as_raw();
        let repository = |image: String| image.rsplit_once(':').unwrap().0.to_owned();
        let config = gate::Config {
            listen: dir.path().join("gate.sock"),
            docker: "/var/run/docker.sock".into(),
            cluster: CLUSTER.into(),
            binds: dir.path().join("b"),
            users: vec![user],
            images: vec![repository(image::of("normal")), repository(real::image())],
            oci_runtimes: Vec::new(),
            wheels: None,
            layer_bytes_max: 1 << 30,
        };
        let gate = Gate::open(config).unwrap();
        let serving = tokio::spawn(gate.serve(CancellationToken::new()));
        Self { dir, user, _serving: AbortOnDropHandle::new(serving) }
    }

    fn host(&self) -> String {
        format!("unix://{}", self.dir.path().join("gate.sock").display())
    }

    fn binds(&self) -> PathBuf {
        self.dir.path().join("b")
    }

    fn place(&self, config: &mut Config) {
        assert_eq!(config.cluster, CLUSTER);
        config.docker_host = self.host();
        config.socket_dir = self.binds().join(self.user.to_string());
    }

    async fn worker(&self, change: impl FnOnce(&mut Config)) -> Cluster {
        let cluster = Cluster::with(|config| {
            change(config);
            self.place(config);
        });
        let mut cluster = cluster.await;
        // What the tests themselves look at.
        cluster.docker_host = Config::default().docker_host;
        cluster
    }

    fn docker(&self) -> Docker {
        Docker::connect_with_unix(&self.host(), 60, bollard::API_DEFAULT_VERSION).unwrap()
    }
}

fn world() -> Option<World> {
    if skip() {
        return None;
    }
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: a gate gives folders to root, which only root can do");
        return None;
    }
    Some(World::open(tempfile::tempdir_in("/tmp").unwrap()))
}

/// A container that is none of ours, removed at the end.
struct Foreign(String);

impl Foreign {
    fn made_of(image: &str, labels: &[&str]) -> Self {
        let labels = labels.iter().flat_map(|label| ["--label", label]);
        let mut make = Command::new("docker");
        make.args(["create", "--network", "none"]).args(labels).arg(image);
        let made = make.output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self(String::from_utf8(made.stdout).unwrap().trim().to_owned())
    }

    fn is_there(&self) -> bool {
        Command::new("docker").args(["inspect", &self.0]).output().unwrap().status.success()
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rm", "--force", &self.0]).output();
    }
}

/// What was answered, and with which rule.
fn refusal<T: std::fmt::Debug>(answer: Result<T, Error>) -> (u16, String) {
    match answer {
        Err(Error::DockerResponseServerError { status_code, message }) => (status_code, message),
        other => panic!("it went through: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn warm_cells_run_and_leftovers_are_swept_through_a_gate() {
    let Some(world) = world() else { return };
    let fake = image::of("normal");
    let cluster = world.worker(|_| {}).await;
    cluster.warm(2).await;
    assert_eq!(cluster.text("echo", "through the gate").await, "through the gate");
    let probe = cluster.text("probe", "s").await;
    assert!(probe.contains("Seccomp=2") && probe.contains("socket_dir_write=false"), "{probe}");
    // Left by an earlier process of this worker, and by somebody else.
    let (worker, user) = (format!("flowcell.worker={}", cluster.name), world.user);
    let cluster_label = format!("flowcell.cluster={CLUSTER}");
    let user = format!("flowcell.user={user}");
    let labels = [&*cluster_label, &worker, &user, "flowcell.epoch=0", "flowcell.kind=cell"];
    let left = Foreign::made_of(&fake, &labels);
    let other = Foreign::made_of(&fake, &[&worker]);
    cluster.gone(&left.0).await;
    assert!(other.is_there(), "it belongs to no cluster of this gate");
    drop(other);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forked_cells_run_through_a_gate() {
    let Some(world) = world() else { return };
    if !real::is_there() {
        return;
    }
    let cluster = world.worker(|config| {
        config.pool.images = vec![PoolImage::fixed(real::image(), 1)];
        config.sandbox.backend = Backend::Zygote;
        config.sandbox.zygotes = 1;
        config.pool.ready_ms_max = 120_000;
        config.pool.take_ms_max = 120_000;
        config.limits = real::limits();
    });
    let cluster = cluster.await;
    cluster.warm(1).await;
    for _ in 0..2 {
        let task = real::component(&cluster, "return Message(text='forked')");
        let said = cluster.run(task).await.0;
        assert!(matches!(said, ReportOutcome::Done { .. }), "{said:?}");
    }
    // Other limits than the pool's: `docker update`, or an answer that names the gate.
    let mut task = real::component(&cluster, "return Message(text='small')");
    task.limits.pids -= 1;
    let said = cluster.run(task).await.0;
    assert!(matches!(said, ReportOutcome::Done { .. }), "{said:?}");
    let kept = std::fs::read_dir(world.binds().join(format!("kept/{}", world.user)));
    assert!(kept.unwrap().count() >= 2, "a zygote and a cell see folders that the gate keeps");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_the_gate_s_socket_is_not_root_on_the_host() {
    let Some(world) = world() else { return };
    let docker = world.docker();
    let fake = image::of("normal");
    let foreign = Foreign::made_of(&fake, &[]);
    let body = |host: HostConfig| ContainerCreateBody {
        image: Some(fake.clone()),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    };
    let named = || {
        Some(query::CreateContainerOptions {
            name: Some("flowcell-0000000000000001".into()),
            ..query::CreateContainerOptions::default()
        })
    };
    for host in [
        HostConfig { privileged: Some(true), ..HostConfig::default() },
        HostConfig { binds: Some(vec!["/:/host".into()]), ..HostConfig::default() },
        HostConfig { pid_mode: Some("host".into()), ..HostConfig::default() },
        HostConfig::default(),
    ] {
        let (status, said) = refusal(docker.create_container(named(), body(host)).await);
        assert!(status == 403 && said.contains("(rule body)"), "{status} {said}");
    }
    let execute = CreateExecOptions { cmd: Some(vec!["/runner"]), ..CreateExecOptions::default() };
    assert!(refusal(docker.create_exec(&foreign.0, execute).await).1.contains("(rule call)"));
    let none = None::<query::RemoveContainerOptions>;
    assert_eq!(refusal(docker.remove_container(&foreign.0, none).await).0, 404);
    let none = None::<query::InspectContainerOptions>;
    assert_eq!(refusal(docker.inspect_container(&foreign.0, none).await).0, 404);
    let none = None::<query::StartContainerOptions>;
    assert_eq!(refusal(docker.start_container(&foreign.0, none).await).0, 404);
    assert!(foreign.is_there());
    let all = query::ListContainersOptions { all: true, ..query::ListContainersOptions::default() };
    let listed = docker.list_containers(Some(all)).await.unwrap();
    let ours = |found: &bollard::models::ContainerSummary| {
        found.labels.as_ref().and_then(|l| l.get("flowcell.cluster")).is_some_and(|c| c == CLUSTER)
    };
    assert!(listed.iter().all(ours), "a list shows the cluster's containers only");
    let pull = query::RemoveImageOptions::default();
    assert_eq!(refusal(docker.remove_image(&fake, Some(pull), None).await).0, 403);
    let volumes = docker.list_volumes(None::<query::ListVolumesOptions>).await;
    assert_eq!(refusal(volumes).0, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_of_one_s_own_is_not_entered_or_exported() {
    let Some(world) = world() else { return };
    let cluster = world.worker(|_| {}).await;
    cluster.warm(1).await;
    let own = containers_of(&cluster.name).remove(0);
    let docker = world.docker();
    docker.inspect_container(&own, None::<query::InspectContainerOptions>).await.unwrap();
    let execute = CreateExecOptions { cmd: Some(vec!["/runner"]), ..CreateExecOptions::default() };
    assert_eq!(refusal(docker.create_exec(&own, execute).await).0, 403);
    let commit = query::CommitContainerOptions {
        container: Some(own.clone()),
        repo: Some("flowcell/runtime".into()),
        tag: Some("x".into()),
        ..query::CommitContainerOptions::default()
    };
    let said =
        refusal(docker.commit_container(commit, bollard::models::ContainerConfig::default()).await)
            .1;
    assert!(said.contains("(rule commit)"), "{said}");
    let upload = query::UploadToContainerOptions { path: "/".into(), ..Default::default() };
    let body = bollard::body_full(Vec::new().into());
    let said = refusal(docker.upload_to_container(&own, Some(upload), body).await).1;
    assert!(said.contains("(rule archive)"), "{said}");
    let update = bollard::models::ContainerUpdateBody {
        restart_policy: Some(bollard::models::RestartPolicy::default()),
        ..Default::default()
    };
    let said = refusal(docker.update_container(&own, update).await).1;
    assert!(said.contains("(rule body)"), "{said}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_tells_a_gate_from_the_engine() {
    let Some(world) = world() else { return };
    let mut config = Config { cluster: CLUSTER.into(), ..Config::default() };
    let found = |checks: Vec<flowcell_worker::doctor::Check>| {
        checks.into_iter().find(|check| check.name == "docker socket").unwrap().found
    };
    assert!(found(examine(&config).await).starts_with("not restricted"));
    world.place(&mut config);
    assert_eq!(found(examine(&config).await), "restricted by a docker-gate");
}
