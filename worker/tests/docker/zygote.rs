//! Forked runners: what two children of one zygote share, and what happens when zygotes go.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use flowcell_worker::config::{Backend, PoolImage, SandboxConfig};
use proto::message::ReportOutcome;
use serde_json::Value;

use crate::cluster::{Cluster, containers_of};
use crate::real::{component, configure, image, is_there, real_with};

/// A worker whose cells are forked, all from one zygote.
async fn forking(size: u32, change: impl FnOnce(&mut SandboxConfig)) -> Option<Cluster> {
    let one = |sandbox: &mut SandboxConfig| {
        sandbox.zygotes = 1;
        change(sandbox);
    };
    real_with(size, Backend::Zygote, one).await
}

async fn said(cluster: &Cluster, body: &str) -> String {
    match cluster.run(component(cluster, &returning(body))).await.0 {
        ReportOutcome::Done { result } => {
            let output = &result.nodes["Fetch-aaaaa"].outputs["output"];
            find_text(output).unwrap_or_else(|| panic!("no text in {output}"))
        }
        ReportOutcome::Failed { failure } => panic!("{failure:?}"),
    }
}

/// A body that returns `said`.
fn returning(body: &str) -> String {
    format!("{}\nreturn Message(text=said)", body.trim())
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

fn zygotes_of(worker: &str) -> Vec<String> {
    helpers_of(worker, "zygote")
}

/// Zygotes or launchers.
fn helpers_of(worker: &str, kind: &str) -> Vec<String> {
    let filters =
        [format!("label=flowcell.worker={worker}"), format!("label=flowcell.kind={kind}")];
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

const HASHED: &str = "said = str(hash('the same text'))";

#[tokio::test(flavor = "multi_thread")]
async fn two_children_of_one_zygote_share_no_secret_of_chance() {
    let Some(cluster) = forking(2, |_| {}).await else { return };
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
    let Some(cluster) = forking(1, |_| {}).await else { return };
    survives_the_end_of(cluster, "zygote").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_zygote_costs_no_cell_of_our_own_making() {
    let Some(cluster) = launching().await else { return };
    survives_the_end_of(cluster, "zygote").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_launcher_costs_no_cell() {
    let Some(cluster) = launching().await else { return };
    survives_the_end_of(cluster, "launcher").await;
}

async fn launching() -> Option<Cluster> {
    real_with(1, Backend::Native, |sandbox| sandbox.zygotes = 1).await
}

async fn survives_the_end_of(cluster: Cluster, helper: &str) {
    let helpers = || helpers_of(&cluster.name, helper);
    cluster.warm(1).await;
    let slow = returning("import time\ntime.sleep(12)\nsaid = 'lived'");
    let slow = cluster.submit(component(&cluster, &slow)).await;
    let cell = cluster.scheduler.until(|state| state.began.get(&slow).cloned()).await;
    let before = helpers();
    assert_eq!(before.len(), 1, "{before:?}");
    docker(&["kill", &before[0]]);
    // What was made before it ended may serve one more; then another has taken its place.
    let mut left = 50;
    while helpers().iter().all(|id| before.contains(id)) {
        left -= 1;
        assert!(left > 0, "none has taken its place");
        assert_eq!(said(&cluster, "said = 'again'").await, "again");
    }
    let (outcome, _) = cluster.report(slow).await;
    assert!(matches!(outcome, ReportOutcome::Done { .. }), "{outcome:?}");
    cluster.gone(&cell).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worn_zygote_is_replaced_and_goes_with_its_last_child() {
    is_replaced(|sandbox| sandbox.zygote_forks_max = 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_zygote_is_replaced_and_goes_with_its_last_child() {
    is_replaced(|sandbox| sandbox.zygote_age_s_max = 3).await;
}

async fn is_replaced(worn: fn(&mut SandboxConfig)) {
    let Some(cluster) = forking(1, worn).await else { return };
    cluster.warm(1).await;
    let first = zygotes_of(&cluster.name);
    let hashed = said(&cluster, HASHED).await;
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
    // Siblings have one seed (docs/adr/0029); it goes with their zygote.
    assert_ne!(said(&cluster, HASHED).await, hashed, "two zygotes have one hash seed");
    let name = cluster.name.clone();
    cluster.stop().await;
    assert!(containers_of(&name).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn several_zygotes_share_the_forks() {
    let Some(cluster) = forking(1, |sandbox| sandbox.zygotes = 2).await else { return };
    let mut seeds = BTreeSet::new();
    let both = async {
        while seeds.len() < 2 {
            seeds.insert(said(&cluster, HASHED).await);
        }
    };
    tokio::time::timeout(Duration::from_secs(100), both).await.expect("one did all of them");
    for _ in 0..6 {
        seeds.insert(said(&cluster, HASHED).await);
    }
    assert_eq!((seeds.len(), zygotes_of(&cluster.name).len()), (2, 2));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cells_are_of_the_very_image_that_their_zygote_is_of() {
    let Some(name) = real_under_another_name() else { return };
    let cluster = Cluster::with(|config| {
        configure(config, 1, Backend::Zygote);
        config.pool.images = vec![PoolImage::fixed(&*name, 1)];
        config.sandbox.zygotes = 1;
    });
    let cluster = cluster.await;
    cluster.warm(1).await;
    // From now on the name stands for an image that nothing can be forked into.
    docker(&["tag", &crate::image::of("normal"), &name]);
    for _ in 0..3 {
        let mut assignment = component(&cluster, "return Message(text='of the same')");
        assignment.image.clone_from(&name);
        let outcome = cluster.run(assignment).await.0;
        assert!(matches!(outcome, ReportOutcome::Done { .. }), "{outcome:?}");
    }
    cluster.stop().await;
    docker(&["rmi", &name]);
}

fn real_under_another_name() -> Option<String> {
    let name = format!("flowcell/test-{}:moves", uuid::Uuid::new_v4().simple());
    is_there().then(|| docker(&["tag", &image(), &name]))?;
    Some(name)
}

fn docker(arguments: &[&str]) {
    assert!(Command::new("docker").args(arguments).output().unwrap().status.success());
}
