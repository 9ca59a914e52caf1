//! What a container is, seen from the engine and from inside.

use std::collections::HashMap;
use std::process::Command;

use domain::failure::FailureKind;
use flowcell_worker::config::PoolImage;
use serde_json::{Value, json};

use crate::cluster::{Cluster, containers_of, limits};
use crate::{image, skip};

fn inspect(container: &str) -> Value {
    let output = Command::new("docker").args(["inspect", container]).output().unwrap();
    let mut all: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    all.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_hardening_setting_is_on() {
    if skip() {
        return;
    }
    let cluster = Cluster::start().await;
    cluster.warm(2).await;
    let waiting = cluster.containers();
    assert_eq!(waiting.len(), 2, "made before there is any task");
    let found = inspect(&waiting[0]);
    let host = &found["HostConfig"];
    // A user of its own for every cell: what the kernel counts by user is not shared.
    let slot = found["Config"]["Labels"]["flowcell.slot"].as_str().unwrap();
    let user = zygote::lockdown::user_of(u64::from_str_radix(slot, 16).unwrap());
    let expected = json!({
        "AutoRemove": true, "NetworkMode": "none", "ReadonlyRootfs": true, "CapDrop": ["ALL"],
        "CapAdd": null, "Privileged": false,
        "SecurityOpt": ["no-new-privileges:true", format!("seccomp={}", seccomp::docker_profile())],
        "Memory": 67_108_864, "MemorySwap": 67_108_864, "PidsLimit": 32,
        "NanoCpus": 1_000_000_000, "CpuShares": 512, "ShmSize": 8_388_608, "OomScoreAdj": 500,
        "IpcMode": "private", "PidMode": "", "UTSMode": "", "UsernsMode": "",
        "Binds": null, "Devices": null,
        "Tmpfs": {"/tmp": format!("rw,noexec,nosuid,nodev,uid={user},gid=65532,mode=0700,size=4194304,nr_inodes=1024")},
        "LogConfig": {"Type": "none", "Config": {}},
        "Ulimits": [
            {"Name": "nofile", "Hard": 4096, "Soft": 4096}, {"Name": "core", "Hard": 0, "Soft": 0}
        ],
    });
    for (key, value) in expected.as_object().unwrap() {
        let empty = host[key].as_array().is_some_and(Vec::is_empty) && value.is_null();
        assert!(&host[key] == value || empty, "{key}: {} is not {value}", host[key]);
    }
    for path in ["/proc/kcore", "/proc/interrupts", "/sys/firmware"] {
        let masked = host["MaskedPaths"].as_array().unwrap();
        assert!(masked.contains(&json!(path)), "{path} is not in {masked:?}");
    }
    let settings = &found["Config"];
    for (key, value) in [
        ("User", json!(format!("{user}:65532"))),
        ("NetworkDisabled", json!(true)),
        ("OpenStdin", json!(true)),
        ("StdinOnce", json!(true)),
        ("AttachStdin", json!(true)),
        ("Tty", json!(false)),
        ("Hostname", json!("cell")),
    ] {
        assert_eq!(settings[key], value, "{key}");
    }
    let labels: HashMap<String, String> =
        serde_json::from_value(settings["Labels"].clone()).unwrap();
    assert_eq!(labels["flowcell.cluster"], "flowcell-test");
    assert_eq!(labels["flowcell.worker"], cluster.name);
    assert_eq!(labels["flowcell.epoch"], cluster.worker.epoch().to_string());
    assert_eq!(labels["flowcell.kind"], "cell");
    let mounts = found["Mounts"].as_array().unwrap();
    assert_eq!(mounts.len(), 2, "{mounts:?}");
    for mount in mounts {
        let place = mount["Destination"].as_str().unwrap();
        assert!(["/run/flowcell", "/etc/hosts"].contains(&place), "{place}");
        assert_eq!((&mount["RW"], &mount["Propagation"]), (&json!(false), &json!("rprivate")));
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inside_there_is_nothing_to_take() {
    if skip() {
        return;
    }
    let cluster = Cluster::start().await;
    let text = cluster.text("probe", "s").await;
    let found: HashMap<&str, &str> = text.lines().filter_map(|line| line.split_once('=')).collect();
    for (key, value) in [
        ("interfaces", "lo"),
        ("Gid", "65532"),
        ("CapEff", "0000000000000000"),
        ("CapBnd", "0000000000000000"),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
        ("root_write", "false"),
        ("socket_dir_write", "false"),
        ("tmp_write", "true"),
        ("tmp_exec", "false"),
        ("sockets", "hosts"),
        ("oom_score_adj", "500"),
        ("docker_sock", "false"),
    ] {
        assert_eq!(found.get(key), Some(&value), "{key} in\n{text}");
    }
    assert!(found["Uid"].parse::<u32>().unwrap() >= 1 << 30, "{text}");
    let filled: u64 = found["tmp_bytes"].parse().unwrap();
    assert!(filled <= limits().tmpfs_bytes, "{filled}");
    let files: u64 = found["open_files"].parse().unwrap();
    assert!(files <= 4_096, "{files}");
    assert!(!text.contains("CANARY"), "{text}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_container_is_one_task() {
    if skip() {
        return;
    }
    let cluster = Cluster::start().await;
    cluster.warm(1).await;
    let waiting = cluster.containers();
    let (_, first) = cluster.run(cluster.assignment("echo", "a")).await;
    let (_, second) = cluster.run(cluster.assignment("echo", "b")).await;
    let (first, second) = (first.container.unwrap(), second.container.unwrap());
    assert_ne!(first, second);
    assert!(waiting.iter().any(|id| first.starts_with(id.as_str())), "it was made ahead");
    cluster.gone(&first).await;
    cluster.gone(&second).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_cannot_start_is_a_clear_state_and_takes_no_work() {
    if skip() {
        return;
    }
    for (image, said) in [
        (image::of("exit-at-once"), "no module named lfx"),
        (image::of("garbage-first"), "did not report ready"),
        (image::of("never-ready"), "not ready within 700 ms"),
        ("flowcell/no-such-image:1".to_owned(), "not on this worker's engine"),
    ] {
        let cluster = Cluster::with(|config| {
            config.pool.images = vec![PoolImage::fixed(image.clone(), 1)];
            config.pool.ready_ms_max = 700;
        })
        .await;
        let failure = loop {
            if let Some(failure) = cluster.worker.health().pool[0].failure.clone() {
                break failure;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        };
        assert!(failure.contains(said), "{failure}");
        assert!(!cluster.worker.health().taking_work);
        cluster.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_of_a_task_that_is_missing_fails_only_that_task() {
    if skip() {
        return;
    }
    let cluster = Cluster::start().await;
    let mut assignment = cluster.assignment("echo", "s");
    assignment.image = "flowcell/no-such-image:1".into();
    let failure = cluster.failure(assignment).await;
    assert_eq!(failure.kind, FailureKind::StartFailed);
    assert!(failure.message.contains("flowcell/no-such-image:1"), "{failure:?}");
    let mut assignment = cluster.assignment("echo", "on demand");
    assignment.limits.tmpfs_bytes = 8 * 1024 * 1024;
    let result = cluster.result(assignment).await;
    assert_eq!(crate::cluster::text_of(&result), "on demand");
    let name = cluster.name.clone();
    cluster.stop().await;
    assert!(containers_of(&name).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_waited_too_long_is_replaced() {
    if skip() {
        return;
    }
    let cluster = Cluster::with(|config| config.pool.idle_s_max = 1).await;
    cluster.warm(2).await;
    let first = cluster.worker.figures();
    while cluster.worker.figures().expired < 2 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    cluster.warm(1).await;
    assert!(cluster.worker.figures().prepared > first.prepared);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_in_passing_is_kept_ready_for_a_while() {
    if skip() {
        return;
    }
    let cluster = Cluster::with(|config| {
        config.pool.passing_max = 2;
        config.slots = 6;
    })
    .await;
    cluster.warm(2).await;
    let other = || {
        let mut assignment = cluster.assignment("echo", "s");
        assignment.limits.tmpfs_bytes = 8 << 20;
        assignment
    };
    let shelves = || cluster.worker.health().pool;
    assert_eq!(shelves().len(), 1);
    let tasks = (0..6).map(|_| cluster.run(other()));
    futures::future::join_all(tasks).await;
    assert_eq!(cluster.worker.figures().taken_ready, 0, "none of them was kept");
    // Two as always, and at least one more.
    cluster.warm(3).await;
    assert!(cluster.worker.figures().ready <= 2 + 2, "{:?}", shelves());
    cluster.run(other()).await;
    assert_eq!(cluster.worker.figures().taken_ready, 1, "the next one was");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_bounds_how_many_containers_exist() {
    if skip() {
        return;
    }
    let cluster = Cluster::with(|config| {
        config.pool.images[0].size = 4;
        config.pool.memory_bytes_max = 2 * config.limits.memory_bytes;
    })
    .await;
    cluster.warm(2).await;
    let tasks = (0..4).map(|_| cluster.run(cluster.assignment("slow:300", "s")));
    let watch = async {
        loop {
            assert!(cluster.worker.figures().containers <= 2);
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        _ = futures::future::join_all(tasks) => {}
        () = watch => {}
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_sees_what_is_there_and_what_is_missing() {
    if skip() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut config = crate::cluster::config(&image::of("normal"), dir.path(), "doctor");
    let missing = PoolImage::fixed("flowcell/no-such-image:1", 1);
    config.pool.images.push(missing);
    let checks = flowcell_worker::doctor::examine(&config).await;
    let status = |name: &str| {
        let check = checks.iter().find(|check| check.name.contains(name));
        format!("{:?}", check.unwrap_or_else(|| panic!("{name} in {checks:?}")).status)
    };
    for name in [
        "settings",
        "docker",
        "docker version",
        "seccomp",
        "resource limits",
        "fake-runner",
        "sandbox",
    ] {
        assert_eq!(status(name), "Ok", "{checks:#?}");
    }
    for name in ["kernel", "cgroup version", "disk", "clock", "memory"] {
        assert_ne!(status(name), "Fail", "{checks:#?}");
    }
    assert_eq!(status("no-such-image"), "Fail");
}
