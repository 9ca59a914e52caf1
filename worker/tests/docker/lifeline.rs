//! Whatever happens to a worker, its containers go.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use domain::id::WorkerEpoch;
use flowcell_worker::Sweeper;
use flowcell_worker::config::PoolImage;
use flowcell_worker::sandbox::containers::Containers;
use flowcell_worker::sandbox::{Sandbox, SlotSpec};
use uuid::Uuid;

use crate::cluster::{Cluster, config, containers_of};
use crate::{image, skip};

const NAME: &str = "FLOWCELL_TEST_VICTIM";

/// Not a test: the worker that the next one kills.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by a_killed_worker_leaves_nothing"]
async fn victim() {
    let Some(name) = std::env::var_os(NAME) else { return };
    let dir = tempfile::tempdir().unwrap();
    let config = config(&image::of("normal"), dir.path(), name.to_str().unwrap());
    let warm = Containers::open(&config, WorkerEpoch(Uuid::new_v4())).await.unwrap();
    let spec = SlotSpec { image: image::of("normal"), tmpfs_bytes: 1 << 20 };
    let _slots = [warm.prepare(&spec).await.unwrap(), warm.prepare(&spec).await.unwrap()];
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_leaves_nothing() {
    if skip() {
        return;
    }
    image::of("normal");
    let name = format!("v-{}", &Uuid::new_v4().simple().to_string()[..12]);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "lifeline::victim"])
        .env(NAME, &name)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while running(&name) < 2 {
        assert!(Instant::now() < until, "the victim never had its containers");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // SIGKILL: nothing in the process can react.
    child.kill().unwrap();
    child.wait().unwrap();
    let killed = Instant::now();
    while !containers_of(&name).is_empty() {
        assert!(killed.elapsed() < Duration::from_secs(30), "containers outlived their worker");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    eprintln!("gone {} ms after kill -9", killed.elapsed().as_millis());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_does_not_wait_until_containers_are_ready() {
    if skip() {
        return;
    }
    let image = image::of("never-ready");
    let cluster = Cluster::with(|config| {
        config.pool.images = vec![PoolImage::fixed(&image, 2)];
        config.pool.ready_ms_max = 3_600_000;
    })
    .await;
    let until = Instant::now() + Duration::from_secs(60);
    while cluster.containers().len() < 2 {
        assert!(Instant::now() < until, "no container was made");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let stopped = tokio::time::timeout(Duration::from_secs(60), cluster.stop()).await;
    assert!(stopped.is_ok(), "it waits for what nobody needs");
}

fn running(name: &str) -> usize {
    let filters = ["--filter", "status=running", "--filter"];
    let label = format!("label=flowcell.worker={name}");
    let output =
        Command::new("docker").args(["ps", "-q"]).args(filters).arg(label).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sweeper_removes_what_no_slot_knows() {
    if skip() {
        return;
    }
    let image = image::of("normal");
    let dir = tempfile::tempdir().unwrap();
    let name = format!("s-{}", &Uuid::new_v4().simple().to_string()[..12]);
    let config = config(&image, dir.path(), &name);
    let epoch = WorkerEpoch(Uuid::new_v4());
    let warm = Containers::open(&config, epoch).await.unwrap();
    let spec = SlotSpec { image: image.clone(), tmpfs_bytes: 1 << 20 };
    let slot = warm.prepare(&spec).await.unwrap();
    // Deaf to its lifeline, of an earlier epoch; never started, of this epoch; a stray directory.
    for (epoch, mode) in
        [("00000000-0000-0000-0000-000000000000", "run"), (&*epoch.to_string(), "create")]
    {
        let mut docker = Command::new("docker");
        docker.arg(mode);
        if mode == "run" {
            docker.arg("-d");
        }
        for label in ["flowcell.cluster=flowcell-test", &format!("flowcell.worker={name}")] {
            docker.args(["--label", label]);
        }
        docker.args(["--label", &format!("flowcell.epoch={epoch}")]);
        docker.args(["--label", "flowcell.slot=00000000000000ff", "--network", "none"]);
        docker.args(["--entrypoint", "/runner", &image, "child"]);
        assert!(docker.stdout(Stdio::null()).status().unwrap().success());
    }
    std::fs::create_dir(config.slot_root().join("00000000000000ff")).unwrap();
    assert_eq!(containers_of(&name).len(), 3);
    let swept = Sweeper::new(warm.clone()).sweep().await;
    assert_eq!((swept.containers, swept.directories), (2, 1));
    let left = containers_of(&name);
    assert!(left.len() == 1 && slot.container.starts_with(&left[0]) && slot.is_alive());
    assert_eq!(Sweeper::new(warm.clone()).sweep().await, Default::default());
    warm.destroy(slot).await;
    assert!(containers_of(&name).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_dies_while_it_waits_is_replaced() {
    if skip() {
        return;
    }
    let cluster = Cluster::start().await;
    cluster.warm(2).await;
    let waiting = cluster.containers();
    assert!(Command::new("docker").args(["kill", &waiting[0]]).output().unwrap().status.success());
    while cluster.worker.figures().died + cluster.worker.figures().destroyed == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    cluster.warm(2).await;
    assert_eq!(cluster.text("echo", "fine").await, "fine");
    cluster.stop().await;
}
