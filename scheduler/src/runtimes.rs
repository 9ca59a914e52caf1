//! Tasks that run in an image with their flow's own packages: they wait until a worker has it.
//!
//! ```text
//! claim ─ image is there ──────────────────────────▶ assigned
//!       ├ image failed a moment ago ─ task rejected ▶ refused
//!       └ otherwise ───────────────────────────────▶ prepare ─ worker builds ─▶ claim
//! ```

use std::time::Duration;

use domain::failure::{Failure, FailureKind};
use domain::id::{RunId, TenantId};
use domain::run::{Command, TaskState};
use domain::runtime::{Build, BuildState, Needs, Packaged};
use domain::time::Timestamp;
use proto::message::{RuntimeOrder, RuntimeProgress, SchedulerReply};
use store::{RuntimeBuild, now};

use crate::engine::Engine;
use crate::error::Error;

/// How long a failed build answers for runs that come after it. Whoever lists the requirements
/// again need not wait.
const FAILED_FOR: Duration = Duration::from_secs(60);

/// What a worker that claims the task is told instead of being given it; nothing when the task can
/// run where it is.
pub(crate) async fn gate(
    engine: &Engine,
    run: RunId,
    task: u32,
    ready: &[String],
) -> Result<Option<SchedulerReply>, Error> {
    // Without packages of flows, a claim reads the run once.
    if engine.runtimes.build == Build::Off {
        return Ok(None);
    }
    let record = engine.load(run).await?;
    if record.run.task(task).is_none_or(|task| task.state != TaskState::Ready) {
        return Ok(None);
    }
    let version = engine.catalog.version(record.flow_version).await?;
    let Some(packaged) = engine.runtimes.packaged(record.tenant, &version.needs) else {
        return Ok(None);
    };
    if ready.contains(&packaged.image) {
        return Ok(None);
    }
    let build = engine.store.engine().runtime_build(record.tenant, &packaged.image).await?;
    if let Some(why) = build.as_ref().and_then(|build| failed(build, now())) {
        return reject(engine, run, task, why).await.map(Some);
    }
    if build.is_none() {
        let queued = (BuildState::Queued, "");
        let store = engine.store.engine();
        store.record_build(record.tenant, &packaged.image, queued, now()).await?;
    }
    let lock = build.and_then(|build| build.lock);
    Ok(Some(SchedulerReply::Prepare { runtime: Box::new(order(record.tenant, &packaged, lock)) }))
}

/// Why a version cannot run at all as the operator has it.
pub(crate) fn refused(engine: &Engine, needs: &Needs) -> Option<Failure> {
    let is_refused = engine.runtimes.build == Build::Off && !needs.requirements.is_empty();
    let why = "the flow lists packages of its own, and `runtimes.build` is off here";
    is_refused.then(|| Failure::new(FailureKind::RuntimeNotBuilt, why))
}

/// Records what a worker says about an image.
pub(crate) async fn heard(
    engine: &Engine,
    tenant: TenantId,
    image: &str,
    progress: RuntimeProgress,
) -> Result<SchedulerReply, Error> {
    let store = engine.store.engine();
    let (state, detail) = match progress {
        RuntimeProgress::Locked { lock } => {
            let lock = store.keep_lock(tenant, image, &lock, now()).await?;
            return Ok(SchedulerReply::Lock { lock });
        }
        RuntimeProgress::Building { doing } => (BuildState::Building, doing),
        RuntimeProgress::Ready => (BuildState::Ready, String::new()),
        RuntimeProgress::Failed { reason } => {
            tracing::info!(%image, tenant.id = %tenant, "a runtime cannot be built");
            (BuildState::Failed, reason)
        }
    };
    store.record_build(tenant, image, (state, &detail), now()).await?;
    Ok(SchedulerReply::Accepted)
}

fn order(tenant: TenantId, packaged: &Packaged<'_>, lock: Option<String>) -> RuntimeOrder {
    RuntimeOrder {
        tenant,
        image: packaged.image.clone(),
        base: packaged.base.to_owned(),
        requirements: packaged.requirements.clone(),
        lock,
    }
}

fn failed(build: &RuntimeBuild, now: Timestamp) -> Option<String> {
    let is_fresh = build.state == BuildState::Failed && now.since(build.updated) < FAILED_FOR;
    is_fresh.then(|| format!("the flow's packages cannot be installed: {}", build.detail))
}

async fn reject(
    engine: &Engine,
    run: RunId,
    task: u32,
    why: String,
) -> Result<SchedulerReply, Error> {
    let failure = Failure::new(FailureKind::RuntimeNotBuilt, why);
    let reason = failure.message.clone();
    engine.transition(run, &Command::Reject { task, failure }).await?;
    Ok(SchedulerReply::Refused { reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_build_answers_for_a_while() {
        let at = Timestamp(1_000_000);
        let build =
            |state| RuntimeBuild { state, detail: "no six".into(), lock: None, updated: at };
        let why = failed(&build(BuildState::Failed), at + Duration::from_secs(59)).unwrap();
        assert!(why.ends_with("cannot be installed: no six"), "{why}");
        assert_eq!(failed(&build(BuildState::Failed), at + FAILED_FOR), None);
        assert_eq!(failed(&build(BuildState::Building), at), None);
    }
}
