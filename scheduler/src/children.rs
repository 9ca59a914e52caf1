//! Runs that components of other runs started, when those end.

use bus::Queue;
use bytes::Bytes;
use domain::id::RunId;
use domain::run::Run;
use proto::message::{RunOrder, VERSION};

use crate::engine::Engine;
use crate::error::Error;

/// Asks for the end of what a run leaves behind. A failure is made good by the sweep, which looks
/// for such runs all the time.
pub(crate) async fn end(engine: &Engine, run: &Run) {
    if let Err(error) = order(engine, run.id).await {
        tracing::warn!(run.id = %run.id, error = %error, "children go on until the sweep finds them");
    }
}

async fn order(engine: &Engine, run: RunId) -> Result<(), Error> {
    for child in engine.store.engine().open_children(run).await? {
        let body = serde_json::to_vec(&RunOrder {
            v: VERSION,
            run: child,
            cancel: true,
            answered: false,
            hold: None,
        })?;
        let id = format!("cancel:{child}");
        engine.bus.enqueue(&Queue::Runs, &id, Bytes::from(body)).await?;
    }
    Ok(())
}
