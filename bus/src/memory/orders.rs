//! Orders to workers of this process.

use std::collections::HashMap;
use std::sync::Mutex;

use bytes::Bytes;
use domain::id::WorkerEpoch;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::lock;

/// Orders that wait for one listener. More are lost, as they would be on NATS: the next heartbeat
/// carries the same news.
const WAITING_MAX: usize = 1024;

/// Who listens for what.
#[derive(Debug, Default)]
pub(super) struct Table(Mutex<HashMap<WorkerEpoch, Vec<mpsc::Sender<Bytes>>>>);

impl Table {
    pub(super) fn tell(&self, worker: WorkerEpoch, body: &Bytes) {
        let mut table = lock(&self.0);
        let Some(listeners) = table.get_mut(&worker) else {
            return;
        };
        listeners.retain(|listener| !listener.is_closed());
        if listeners.is_empty() {
            table.remove(&worker);
            return;
        }
        for listener in listeners {
            if listener.try_send(body.clone()).is_err() {
                tracing::debug!(worker.epoch = %worker, "an order was lost: its listener is slow");
            }
        }
    }

    pub(super) fn listen(&self, worker: WorkerEpoch, closed: CancellationToken) -> Orders {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let mut table = lock(&self.0);
        table.retain(|_, listeners| {
            listeners.retain(|listener| !listener.is_closed());
            !listeners.is_empty()
        });
        table.entry(worker).or_default().push(sender);
        Orders { receiver, closed }
    }
}

/// The orders to one worker.
#[derive(Debug)]
pub(crate) struct Orders {
    receiver: mpsc::Receiver<Bytes>,
    closed: CancellationToken,
}

impl Orders {
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        tokio::select! {
            biased;
            order = self.receiver.recv() => order,
            () = self.closed.cancelled() => None,
        }
    }
}
