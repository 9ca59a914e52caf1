//! Ending a run on request. The schedulers decide; here the wish is put into their queue.

use bus::{Bus, Queue};
use bytes::Bytes;
use domain::id::RunId;
use proto::message::{RunOrder, VERSION};

use crate::app::App;
use crate::error::{Error, internal};

/// Asks the schedulers to end a run.
pub(crate) async fn cancel(bus: &Bus, run: RunId) -> Result<(), Error> {
    let order = RunOrder { v: VERSION, run, cancel: true, answered: false, hold: None };
    give(bus, &format!("cancel:{run}"), &order).await
}

/// Gives the schedulers an order about a run; one of the same id is dropped for a while.
pub(crate) async fn give(bus: &Bus, id: &str, order: &RunOrder) -> Result<(), Error> {
    let body = serde_json::to_vec(order).map_err(|error| internal("writing an order", &error))?;
    Ok(bus.enqueue(&Queue::Runs, id, Bytes::from(body)).await?)
}

/// Cancels a run unless it is told that the run ended: for callers that go away.
#[derive(Debug)]
pub(crate) struct Guard {
    app: App,
    run: Option<RunId>,
}

impl Guard {
    pub(crate) fn new(app: &App, run: RunId) -> Self {
        Self { app: app.clone(), run: Some(run) }
    }

    /// The run ended, or may go on by itself.
    pub(crate) fn release(&mut self) {
        self.run = None;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(run) = self.run.take() else { return };
        // Without a runtime the process ends anyway.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let app = self.app.clone();
        runtime.spawn(async move {
            if let Err(error) = cancel(&app.bus, run).await {
                tracing::warn!(run.id = %run, error = %error, "an abandoned run goes on");
            }
        });
    }
}
