//! What a person decides about a run: the one use-case behind every protocol.

use bus::Queue;
use bytes::Bytes;
use domain::id::RunId;
use proto::message::{RunOrder, VERSION};
use serde_json::Value;
use store::{Decided, HumanRequest, Tenant};

use crate::app::App;
use crate::error::Error;

/// Records a decision, and tells the schedulers at once. That nobody heard is no failure: it is
/// committed, and the relay sends the same message from the outbox.
pub(crate) async fn decide(
    app: &App,
    tenant: &Tenant,
    run: RunId,
    asked: &HumanRequest,
    decision: &Value,
) -> Result<Decided, Error> {
    let decided = tenant.decide(run, &asked.request_id, decision, store::now()).await?;
    let order = RunOrder { v: VERSION, run, cancel: false, answered: true, hold: None };
    if decided == Decided::Now
        && let Ok(body) = serde_json::to_vec(&order)
    {
        let id = format!("answer:{run}:{}:{}", asked.task, asked.attempt);
        if let Err(error) = app.bus.enqueue(&Queue::Runs, &id, Bytes::from(body)).await {
            tracing::warn!(run.id = %run, error = %error, "a decision waits for the outbox relay");
        }
    }
    Ok(decided)
}
