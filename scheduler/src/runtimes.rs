//! Tasks that run in an image with their flow's own packages: they wait until a worker has it.
//!
//! ```text
//! claim ─ image is there ──────────────────────────▶ assigned
//!       ├ image failed a moment ago ─ task rejected ▶ refused
//!       └ otherwise ───────────────────────────────▶ prepare ─ worker builds ─▶ claim
//! ```

use std::time::Duration;

use domain::failure::{Failure, FailureKind};
use domain::id::TenantId;
use domain::runtime::{Build, BuildState, Needs, Packaged};
use domain::time::Timestamp;
use proto::message::{RuntimeOrder, RuntimeProgress, SchedulerReply};
use store::{RunRecord, RuntimeBuild, now};

use crate::engine::Engine;
use crate::error::Error;

/// How long a failed build answers for runs that come after it. Whoever lists the requirements
/// again need not wait.
const FAILED_FOR: Duration = Duration::from_secs(60);

/// Whether a task can run where it is claimed.
pub(crate) enum Gate {
    Open,
    /// Not before the worker has the image.
    Lacking(Lacking),
    /// Nowhere.
    Shut(Failure),
}

/// An image that a worker has to get first.
#[derive(Debug)]
pub(crate) struct Lacking {
    order: RuntimeOrder,
    /// Whether no worker was told of it before.
    is_new: bool,
}

/// Looks at the run as it is claimed: a task that becomes ready between a look and a claim would
/// reach a worker without its image.
pub(crate) async fn gate(
    engine: &Engine,
    record: &RunRecord,
    ready: &[String],
) -> Result<Gate, Error> {
    let version = engine.catalog.version(record.flow_version).await?;
    if let Some(failure) = refused(engine, &version.needs) {
        return Ok(Gate::Shut(failure));
    }
    let Some(packaged) = engine.runtimes.packaged(record.tenant, &version.needs) else {
        return Ok(Gate::Open);
    };
    if ready.contains(&packaged.image) {
        return Ok(Gate::Open);
    }
    let build = engine.store.engine().runtime_build(record.tenant, &packaged.image).await?;
    if let Some(why) = build.as_ref().and_then(|build| failed(build, now())) {
        return Ok(Gate::Shut(Failure::new(FailureKind::RuntimeNotBuilt, why)));
    }
    let is_new = build.is_none();
    let order = order(record.tenant, &packaged, build.and_then(|build| build.lock));
    Ok(Gate::Lacking(Lacking { order, is_new }))
}

/// Tells a worker to get the image.
pub(crate) async fn prepare(
    engine: &Engine,
    Lacking { order, is_new }: Lacking,
) -> Result<SchedulerReply, Error> {
    if is_new {
        let queued = (BuildState::Queued, "");
        engine.store.engine().record_build(order.tenant, &order.image, queued, now()).await?;
    }
    Ok(SchedulerReply::Prepare { runtime: Box::new(order) })
}

/// Why a version cannot run at all as the operator has it.
fn refused(engine: &Engine, needs: &Needs) -> Option<Failure> {
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
