//! One cell of any backend, driven without a worker: a slot, a task, its frames.

use std::time::Duration;

use egress::Policy;
use flowcell_worker::sandbox::{Job, Running, Slot, SlotSpec};
use proto::frame::FromRunner;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;

use crate::IMAGE;
use crate::backends::{Backend, limits};
use crate::component::{Plan, text_in};

/// What `hostile_cell.leave` writes.
const LEFT: &str = "HOSTILE-LEFT ";
/// Many probes in one cell take a while on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// What a probe said about itself.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Said {
    pub(crate) id: String,
    pub(crate) finding: Option<String>,
    /// Which barrier it met.
    #[serde(default)]
    pub(crate) why: String,
    /// A mistake in the probe.
    pub(crate) error: Option<String>,
}

/// A cell that has its task.
pub(crate) struct Cell {
    slot: Slot,
    running: Running,
}

pub(crate) fn spec() -> SlotSpec {
    SlotSpec { image: IMAGE.into(), tmpfs_bytes: limits().tmpfs_bytes }
}

impl Cell {
    /// Makes a slot and gives it the plan. `secret` becomes a variable of the task.
    pub(crate) async fn start(
        backend: &Backend,
        plan: &Plan,
        secret: Option<String>,
        egress: Option<Policy>,
    ) -> Self {
        let mut slot = backend.sandbox.prepare(&spec()).await.unwrap();
        let mut task = plan.task();
        task.variables.extend(secret.map(|value| ("TOKEN".to_owned(), value)));
        let job = Job { task, limits: limits(), egress };
        let running = backend.sandbox.run(&mut slot, job).await.unwrap();
        Self { slot, running }
    }

    /// Ends it.
    pub(crate) async fn end(self, backend: &Backend) {
        drop(self.running);
        backend.sandbox.destroy(self.slot).await;
    }

    /// The engine's name of it.
    pub(crate) fn container(&self) -> &str {
        &self.slot.container
    }

    /// The text of its result that begins so, or how it ended instead.
    pub(crate) async fn text(&mut self, start: &str) -> Result<String, String> {
        let ended = timeout(PATIENCE, async {
            loop {
                match self.running.frames.next().await {
                    Some(Ok(received)) => match received.frame {
                        FromRunner::Result(result) => {
                            let value = serde_json::to_value(&result).unwrap();
                            let text = text_in(&value, start).map(str::to_owned);
                            return text.ok_or_else(|| format!("it gave {value}"));
                        }
                        FromRunner::Failure(failure) => return Err(format!("{failure:?}")),
                        _ => {}
                    },
                    Some(Err(error)) => return Err(error.to_string()),
                    None => return Err("it ended without a result".into()),
                }
            }
        });
        ended.await.unwrap_or_else(|_| Err("it did not end".into()))
    }

    /// What the probes said.
    pub(crate) async fn said(&mut self) -> Result<Vec<Said>, String> {
        #[derive(Deserialize)]
        struct All {
            hostile: Vec<Said>,
        }
        let text = self.text("{\"hostile\"").await?;
        serde_json::from_str::<All>(&text).map(|all| all.hostile).map_err(|error| error.to_string())
    }

    /// Waits until every trace has been left; what that gave is for the other side.
    pub(crate) async fn left(&mut self) -> Result<Value, String> {
        let mut text = String::new();
        let waited = timeout(PATIENCE, async {
            while let Some(received) = self.running.frames.next().await {
                match received.map_err(|error| error.to_string())?.frame {
                    FromRunner::Log(log) => text.push_str(&log.text),
                    FromRunner::Failure(failure) => return Err(format!("{failure:?}")),
                    _ => {}
                }
                if let Some((_, left)) = text.split_once(LEFT)
                    && let Some((left, _)) = left.split_once('\n')
                {
                    return serde_json::from_str(left).map_err(|error| error.to_string());
                }
            }
            Err(format!("it ended: {text}"))
        });
        waited.await.unwrap_or_else(|_| Err("it left nothing".into()))
    }
}
