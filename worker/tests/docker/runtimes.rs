//! Tasks that run in an image with their flow's own packages.

use std::process::{Command, Stdio};

use domain::failure::FailureKind;
use domain::id::TenantId;
use domain::runtime::Requirements;
use proto::message::{RuntimeOrder, RuntimeProgress};
use uuid::Uuid;

use crate::cluster::{Cluster, text_of};
use crate::{image, skip};

fn order(image: &str, base: String) -> RuntimeOrder {
    RuntimeOrder {
        tenant: TenantId(Uuid::new_v4()),
        image: image.to_owned(),
        base,
        requirements: Requirements::read(["humanize>=4"]).unwrap(),
        lock: None,
    }
}

/// The packages of an image that is there are not looked at again: an earlier process made it.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_waits_for_its_image_and_runs_in_it() {
    if skip() {
        return;
    }
    let base = image::of("normal");
    let name = format!("flowcell/runtime:t{}", Uuid::new_v4().simple());
    docker(
        &["build", "-q", "-t", &name, "-"],
        &format!("FROM {base}\nLABEL flowcell.runtime.base={}\n", id_of(&base)),
    );
    let cluster = Cluster::start().await;
    cluster.scheduler.with(|state| state.orders.insert(name.clone(), order(&name, base)));
    let mut assignment = cluster.assignment("echo", "in its image");
    assignment.image.clone_from(&name);
    assert_eq!(text_of(&cluster.result(assignment).await), "in its image");
    let progress = cluster.scheduler.with(|state| state.progress.clone());
    assert_eq!(progress, [RuntimeProgress::Ready]);
    cluster.stop().await;
    docker(&["image", "rm", "--force", &name], "");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_an_image_from_being_built_is_told_before_the_task_is_asked_for_again() {
    if skip() {
        return;
    }
    let base = image::of("normal");
    let name = "flowcell/runtime:never-built";
    let cluster = Cluster::start().await;
    cluster.scheduler.with(|state| state.orders.insert(name.into(), order(name, base.clone())));
    let mut assignment = cluster.assignment("echo", "s");
    assignment.image = name.into();
    let failure = cluster.failure(assignment).await;
    assert_eq!(failure.kind, FailureKind::StartFailed, "this scheduler gives it all the same");
    let progress = cluster.scheduler.with(|state| state.progress.clone());
    let [RuntimeProgress::Failed { reason }] = &*progress else { panic!("{progress:?}") };
    assert_eq!(*reason, format!("image {base}-builder is not on this worker's engine"));
    cluster.stop().await;
}

fn id_of(image: &str) -> String {
    docker(&["image", "inspect", "--format", "{{.Id}}", image], "").trim().to_owned()
}

/// What docker prints, given this.
fn docker(arguments: &[&str], input: &str) -> String {
    use std::io::Write;
    let mut command = Command::new("docker");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = command.spawn().unwrap();
    running.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let done = running.wait_with_output().unwrap();
    assert!(done.status.success(), "docker {arguments:?}");
    String::from_utf8(done.stdout).unwrap()
}
