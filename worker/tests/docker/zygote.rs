//! Forked runners: what two children of one zygote share, and what happens when zygotes go.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use flowcell_worker::config::{Backend, PoolImage};
use proto::frame::Task;
use proto::message::{Assignment, ReportOutcome};
use serde_json::Value;

use crate::cluster::{Cluster, containers_of};
use crate::real::{image, is_built, limits};
use crate::skip;

/// A worker whose cells are forked.
async fn cluster(size: u32) -> Cluster {
    cluster_with(size, |_| {}).await
}

async fn cluster_with(
    size: u32,
    change: impl FnOnce(&mut flowcell_worker::config::SandboxConfig),
) -> Cluster {
    Cluster::with(|config| {
        config.pool.images = vec![PoolImage::fixed(image(), size)];
        config.limits = limits();
        config.sandbox.backend = Backend::Zygote;
        config.sandbox.zygotes = 1;
        config.pool.ready_ms_max = 120_000;
        config.pool.take_ms_max = 120_000;
        change(&mut config.sandbox);
    })
    .await
}

/// A cell of one component whose method runs these lines and returns `said`.
fn assignment(cluster: &Cluster, lines: &str) -> Assignment {
    let mut task: Value =
        serde_json::from_str(include_str!("../fixtures/fetch_task.json")).unwrap();
    let code = format!(
        "from langflow.custom import Component\n\
         from langflow.io import MessageTextInput, Output\n\
         from langflow.schema.message import Message\n\n\
         class Fetch(Component):\n    \
             display_name = 'Fetch'\n    \
             inputs = [MessageTextInput(name='input_value', display_name='Input')]\n    \
             outputs = [Output(display_name='Out', name='output', method='build_output')]\n\n    \
             def build_output(self) -> Message:\n        {}\n        return Message(text=said)\n",
        lines.trim().replace('\n', "\n        ")
    );
    task["graph"]["nodes"][0]["data"]["node"]["template"]["code"]["value"] = code.into();
    let task: Task = serde_json::from_value(task).unwrap();
    let mut assignment = cluster.assignment("", "");
    assignment.image = image();
    assignment.limits = limits();
    assignment.task = Task { run_id: assignment.attempt.run, ..task };
    assignment
}

async fn said(cluster: &Cluster, lines: &str) -> String {
    match cluster.run(assignment(cluster, lines)).await.0 {
        ReportOutcome::Done { result } => {
            let output = &result.nodes["Fetch-aaaaa"].outputs["output"];
            find_text(output).unwrap_or_else(|| panic!("no text in {output}"))
        }
        ReportOutcome::Failed { failure } => panic!("{failure:?}"),
    }
}

fn find_text(value: &Value) -> Option<String> {
    match value {
        Value::Object(map) => match map.get("text").and_then(Value::as_str) {
            Some(text) => Some(text.to_owned()),
            None => map.values().find_map(find_text),
        },
        Value::Array(all) => all.iter().find_map(find_text),
        _ => None,
    }
}

fn ready() -> bool {
    if skip() {
        return false;
    }
    if !is_built() {
        eprintln!("skipped: {} is not built", image());
    }
    is_built()
}

fn zygotes_of(worker: &str) -> Vec<String> {
    let filters = [format!("label=flowcell.worker={worker}"), "label=flowcell.kind=zygote".into()];
    let output = Command::new("docker")
        .args(["ps", "-q", "--no-trunc", "--filter", &filters[0], "--filter", &filters[1]])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

const IDENTITY: &str = r#"
import json, os, random, secrets, ssl, sys, tempfile, uuid
import numpy
facts = {
    "random": random.random(), "secrets": secrets.token_hex(), "uuid4": str(uuid.uuid4()),
    "ssl": ssl.RAND_bytes(16).hex(), "numpy global": float(numpy.random.random()),
    "numpy generator": float(numpy.random.default_rng().random()),
    "temporary name": next(tempfile._get_candidate_names()), "urandom": os.urandom(16).hex(),
}
shared = {
    "descriptors": sorted(os.listdir("/proc/self/fd")), "argv": sys.argv,
    "environment": sorted(k for k in os.environ if k != "LC_CTYPE"), "tmp": sorted(os.listdir("/tmp")),
    "processes": sorted(int(p) for p in os.listdir("/proc") if p.isdigit())[:1],
}
said = json.dumps([facts, shared])
"#;

#[tokio::test(flavor = "multi_thread")]
async fn two_children_of_one_zygote_share_no_secret_of_chance() {
    if !ready() {
        return;
    }
    let cluster = cluster(2).await;
    cluster.warm(2).await;
    let mut all = Vec::new();
    for _ in 0..2 {
        let text = said(&cluster, IDENTITY).await;
        all.push(serde_json::from_str::<Vec<BTreeMap<String, Value>>>(&text).unwrap());
    }
    assert_eq!(zygotes_of(&cluster.name).len(), 1, "both came from one zygote");
    for (name, value) in &all[0][0] {
        assert_ne!(value, &all[1][0][name], "{name} repeats");
    }
    assert_eq!(all[0][1]["environment"], all[1][1]["environment"]);
    assert_eq!(all[0][1]["processes"], serde_json::json!([1]));
    for facts in &all {
        let names = facts[1]["environment"].to_string();
        assert!(!names.contains("HOSTNAME") && !names.contains("FLOWCELL"), "{names}");
        // Three standard streams, two ends of the captured output, the worker, the event loop's
        // own three, and the listing itself; nothing of the zygote's.
        assert!(facts[1]["descriptors"].as_array().unwrap().len() <= 12, "{facts:?}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_zygote_costs_no_cell() {
    if !ready() {
        return;
    }
    let cluster = cluster(1).await;
    cluster.warm(1).await;
    let slow =
        cluster.submit(assignment(&cluster, "import time\ntime.sleep(3)\nsaid = 'lived'")).await;
    cluster.scheduler.until(|state| state.began.get(&slow).cloned()).await;
    let before = zygotes_of(&cluster.name);
    for zygote in &before {
        Command::new("docker").args(["kill", zygote]).output().unwrap();
    }
    let (outcome, _) = cluster.report(slow).await;
    assert!(matches!(outcome, ReportOutcome::Done { .. }), "{outcome:?}");
    assert_eq!(said(&cluster, "said = 'again'").await, "again");
    let after = zygotes_of(&cluster.name);
    assert!(after.iter().all(|zygote| !before.contains(zygote)), "{before:?} {after:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worn_zygote_is_replaced_and_goes_with_its_last_child() {
    if !ready() {
        return;
    }
    let cluster = cluster_with(1, |sandbox| sandbox.zygote_forks_max = 2).await;
    cluster.warm(1).await;
    let first = zygotes_of(&cluster.name);
    let replaced = async {
        loop {
            assert_eq!(said(&cluster, "said = 'x'").await, "x");
            let now = zygotes_of(&cluster.name);
            if now.iter().all(|zygote| !first.contains(zygote)) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(100), replaced).await.expect("it was never replaced");
    let name = cluster.name.clone();
    cluster.stop().await;
    assert!(containers_of(&name).is_empty());
}
