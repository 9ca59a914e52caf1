//! Takes accepted runs out of the queue and starts them; ends, pauses and lets go on those for which
//! that was asked, and goes on with those for which a person decided.

use std::sync::Arc;
use std::time::Duration;

use bus::{Consumer, Delivery, Queue};
use domain::run::Command;
use proto::message::{Hold, RunOrder, RunSubmitted, VERSION};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::engine::{Engine, Start};
use crate::error::Error;
use crate::human::Answers;
use crate::sweep::quietly;

/// Orders that are handled at the same time.
const ORDERS_MAX: usize = 64;

/// How long an order rests after a failure that may pass.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The consumer of the queue of runs.
pub(crate) struct Intake {
    engine: Arc<Engine>,
    consumer: Consumer,
}

impl Intake {
    pub(crate) async fn open(engine: Arc<Engine>) -> Result<Self, Error> {
        let consumer = engine.bus.consumer(&Queue::Runs).await?;
        Ok(Self { engine, consumer })
    }

    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        while !stop.is_cancelled() {
            let fetched = tokio::select! {
                fetched = self.consumer.fetch(ORDERS_MAX, Duration::from_secs(5)) => fetched,
                () = stop.cancelled() => break,
            };
            match fetched {
                Ok(deliveries) => {
                    for delivery in deliveries {
                        tasks.spawn(handle(Arc::clone(&self.engine), delivery));
                    }
                }
                Err(error) => {
                    tracing::warn!(error = %error, "the queue of runs cannot be read");
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            }
        }
        tasks.close();
        tasks.wait().await;
    }
}

async fn handle(engine: Arc<Engine>, delivery: Delivery) {
    let outcome = match serde_json::from_slice::<RunOrder>(&delivery.body) {
        Ok(order) if order.v == VERSION && needs_a_round(&engine, &order, &delivery) => {
            engine.admission.somebody_waits();
            Ok(())
        }
        Ok(order) if order.v == VERSION => follow(&engine, &order).await,
        Ok(order) => {
            // A newer API wrote it; a scheduler of its version will take it.
            tracing::warn!(version = order.v, "an order of another version is handed back");
            hand_back(delivery).await;
            return;
        }
        Err(error) => {
            tracing::error!(error = %error, "an unreadable order is dropped");
            Ok(())
        }
    };
    match outcome {
        Ok(()) => {
            if let Err(error) = delivery.ack().await {
                tracing::debug!(error = %error, "an order will come again");
            }
        }
        Err(error) => {
            tracing::warn!(error = %error, "an order has to wait");
            hand_back(delivery).await;
        }
    }
}

/// Whether this is a run that waits for its turn while only a round could start it. Then it is not
/// even loaded: of a flood of runs most come so.
fn needs_a_round(engine: &Engine, order: &RunOrder, delivery: &Delivery) -> bool {
    let is_new = !order.cancel && !order.answered && order.hold.is_none();
    let submitted = || serde_json::from_slice::<RunSubmitted>(&delivery.body);
    is_new && !engine.admission.has_headroom() && submitted().is_ok_and(|run| run.queued)
}

async fn hand_back(delivery: Delivery) {
    if let Err(error) = delivery.nack(RETRY_AFTER).await {
        tracing::debug!(error = %error, "an order will come again by itself");
    }
}

async fn follow(engine: &Engine, order: &RunOrder) -> Result<(), Error> {
    let outcome = if order.cancel {
        engine.transition(order.run, &Command::Cancel).await
    } else if let Some(hold) = order.hold {
        let command = match hold {
            Hold::Pause => Command::Pause,
            Hold::Unpause => Command::Unpause,
        };
        let outcome = engine.transition(order.run, &command).await;
        if outcome.is_ok() && hold == Hold::Unpause {
            quietly(order.run, engine.transition(order.run, &Start::Asked).await);
        }
        outcome
    } else if order.answered {
        engine.transition(order.run, &Answers).await
    } else {
        engine.transition(order.run, &Start::Asked).await
    };
    match outcome {
        Ok(_) => Ok(()),
        Err(Error::Refused(refused)) => {
            tracing::debug!(run.id = %order.run, reason = %refused, "an order changes nothing");
            Ok(())
        }
        Err(error) if error.is_transient() => Err(error),
        Err(error) => {
            tracing::error!(run.id = %order.run, error = %error, "an order cannot be followed");
            Ok(())
        }
    }
}
