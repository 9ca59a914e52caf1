//! Cells of our own making, with the real runner in them: what containers get from the engine,
//! these get from `zygote::launch`.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use domain::failure::FailureKind;
use domain::id::WorkerEpoch;
use flowcell_worker::config::{Backend, Config, PoolImage};
use flowcell_worker::sandbox::containers::Containers;
use flowcell_worker::sandbox::{Sandbox, SlotSpec};
use proto::event::RunEventKind;
use proto::frame::Task;
use proto::message::{Assignment, ReportOutcome};
use serde_json::Value;
use uuid::Uuid;

use crate::cluster::{Cluster, config, containers_of, groups_of};
use crate::real::{image, is_there, limits};

const NAME: &str = "FLOWCELL_TEST_NATIVE_VICTIM";
const NODE: &str = "Fetch-aaaaa";

fn native(config: &mut Config) {
    config.pool.images = vec![PoolImage::fixed(image(), 2)];
    config.limits = limits();
    config.sandbox.backend = Backend::Native;
    config.sandbox.zygotes = 1;
    config.pool.ready_ms_max = 120_000;
    config.pool.take_ms_max = 120_000;
}

/// A task of the probe component that calls this method of it.
fn probe(cluster: &Cluster, method: &str) -> Assignment {
    let mut task: Value =
        serde_json::from_str(include_str!("../fixtures/fetch_task.json")).unwrap();
    let code = &mut task["graph"]["nodes"][0]["data"]["node"]["template"]["code"]["value"];
    *code = include_str!("../fixtures/probe.py").into();
    task["parameters"][NODE]["input_value"] = method.into();
    let task: Task = serde_json::from_value(task).unwrap();
    let mut assignment = cluster.assignment("", "");
    assignment.image = image();
    assignment.limits = limits();
    assignment.task = Task { run_id: assignment.attempt.run, ..task };
    assignment
}

async fn found(cluster: &Cluster, assignment: Assignment) -> Value {
    let outcome = cluster.run(assignment).await.0;
    let ReportOutcome::Done { result } = outcome else { panic!("{outcome:?}") };
    let outputs = serde_json::to_value(&result.nodes[NODE].outputs).unwrap();
    said(&outputs).unwrap_or_else(|| panic!("{outputs}"))
}

/// What the probe put into its message, wherever that is.
fn said(value: &Value) -> Option<Value> {
    match value {
        Value::String(text) => serde_json::from_str(text.strip_prefix("JSON")?).ok(),
        Value::Array(all) => all.iter().find_map(said),
        Value::Object(all) => all.values().find_map(said),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_of_our_own_making_has_nothing_to_take() {
    if !is_there() {
        return;
    }
    let cluster = Cluster::with(native).await;
    let found = found(&cluster, probe(&cluster, "look")).await;
    let zeros = "0".repeat(16);
    let own = "65532\t65532\t65532\t65532";
    for (key, value) in [
        ("Gid", own),
        ("CapEff", &zeros),
        ("CapBnd", &zeros),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
    ] {
        assert_eq!(found["status"][key], value, "{key} in {found:#}");
    }
    let empty: [&str; 0] = [];
    for (key, value) in [
        ("interfaces", serde_json::json!(["lo"])),
        ("run", serde_json::json!(["flowcell"])),
        ("slot", serde_json::json!(["hosts"])),
        ("sys", serde_json::json!(empty)),
        ("acpi", serde_json::json!(empty)),
        ("writes", serde_json::json!(empty)),
        ("groups", serde_json::json!(["/"])),
        ("first", serde_json::json!(["PermissionError"])),
        ("oom_score_adj", "500".into()),
        ("hostname", "cell".into()),
        ("localhost", "127.0.0.1".into()),
        ("cwd", "/tmp".into()),
        ("terminal", "0".into()),
        ("loopback", true.into()),
    ] {
        assert_eq!(found[key], value, "{key} in {found:#}");
    }
    let user = found["status"]["Uid"].as_str().unwrap().split('\t').next().unwrap();
    assert!(user.parse::<u32>().unwrap() >= 1 << 30, "{found:#}");
    let hidden = found["hidden"].as_object().unwrap();
    let nothing = |text: &Value| {
        ["", "FileNotFoundError", "PermissionError"].contains(&text.as_str().unwrap())
    };
    assert!(hidden.values().all(nothing), "{found:#}");
    // Only devices are on a mount with devices, and nothing writable runs programs.
    let mut paths = found["devices"].as_array().unwrap().iter().map(|path| path.as_str().unwrap());
    assert!(paths.all(|path| path.starts_with("/dev") || path.starts_with("/proc/")), "{found:#}");
    let mut paths = found["exec"].as_array().unwrap().iter().map(|path| path.as_str().unwrap());
    assert!(paths.all(|path| path.starts_with("/dev/") || path.starts_with("/proc/")), "{found:#}");
    assert!(found["tmp_bytes"].as_u64().unwrap() <= limits().tmpfs_bytes, "{found:#}");
    assert!(found["shm_bytes"].as_u64().unwrap() <= 8 << 20, "{found:#}");
    assert!(found["pids"].as_array().unwrap().len() <= 3, "{found:#}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_of_our_own_making_keeps_its_limits() {
    if !is_there() {
        return;
    }
    let cluster = Cluster::with(native).await;
    let children = found(&cluster, probe(&cluster, "fork")).await.as_u64().unwrap();
    assert!(children > 40 && children < u64::from(limits().pids), "{children}");
    let mut assignment = probe(&cluster, "fork");
    assignment.limits.pids = 20;
    let children = found(&cluster, assignment).await.as_u64().unwrap();
    assert!(children > 5 && children < 20, "a task's own limit: {children}");
    for memory_bytes in [limits().memory_bytes, 128 << 20, 768 << 20] {
        let mut assignment = probe(&cluster, "alloc");
        assignment.limits.memory_bytes = memory_bytes;
        let failure = cluster.failure(assignment).await;
        let expected = FailureKind::OutOfMemory { limit_bytes: memory_bytes };
        assert_eq!(failure.kind, expected, "{failure:?}");
    }
    cluster.stop().await;
}

/// Cells of one image share its files, but not what the kernel keeps about open ones.
#[tokio::test(flavor = "multi_thread")]
async fn cells_of_our_own_making_do_not_see_each_other() {
    if !is_there() {
        return;
    }
    let cluster = Cluster::with(native).await;
    cluster.warm(2).await;
    let watcher = probe(&cluster, "watch");
    let run = watcher.attempt.run;
    let watching = async {
        loop {
            let printed = |event: &RunEventKind| matches!(event, RunEventKind::Log { text, .. } if text.contains("watching"));
            if cluster.events(run).await.iter().any(printed) {
                return found(&cluster, probe(&cluster, "disturb")).await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (saw, locked) = tokio::join!(found(&cluster, watcher), watching);
    assert_eq!((saw, locked), (false.into(), true.into()));
    cluster.stop().await;
}

/// Not a test: the worker that the next one kills.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by a_killed_worker_leaves_no_cell_of_our_own_making"]
async fn native_victim() {
    let Some(name) = std::env::var_os(NAME) else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&image(), dir.path(), name.to_str().unwrap());
    native(&mut config);
    let cells = Containers::open(&config, WorkerEpoch(Uuid::new_v4())).await.unwrap();
    let spec = SlotSpec { image: image(), tmpfs_bytes: 1 << 20 };
    let slots = [cells.prepare(&spec).await.unwrap(), cells.prepare(&spec).await.unwrap()];
    for slot in &slots {
        println!("\n{}", slot.container);
    }
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_leaves_no_cell_of_our_own_making() {
    if !is_there() {
        return;
    }
    let name = format!("v-{}", &Uuid::new_v4().simple().to_string()[..12]);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "native::native_victim"])
        .env(NAME, &name)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let slots: Vec<String> =
        lines.filter_map(|line| Some(line.strip_prefix("native-")?.to_owned())).take(2).collect();
    let groups: Vec<PathBuf> = slots.iter().flat_map(|slot| groups_of(slot)).collect();
    assert!(groups.len() >= 2, "{slots:?} have no control groups");
    // SIGKILL: nothing in the process can react.
    child.kill().unwrap();
    child.wait().unwrap();
    let killed = Instant::now();
    while groups.iter().any(|group| group.exists()) || !containers_of(&name).is_empty() {
        assert!(killed.elapsed() < Duration::from_secs(30), "cells outlived their worker");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(groups.iter().all(|group| !group.parent().unwrap().exists()), "empty groups are left");
    eprintln!("gone {} ms after kill -9", killed.elapsed().as_millis());
}
