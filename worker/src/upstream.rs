//! The schedulers and the event logs, as a worker sees them through the bus.

use std::time::Duration;

use bus::wire::{decode, encode};
use bus::{Bus, Service};
use bytes::Bytes;
use domain::id::{RunId, WorkerEpoch};
use proto::event::RunEvent;
use proto::message::{SchedulerReply, VERSION, WorkerRequest, WorkerRequestBody};

/// Named in errors about messages that cannot be read.
const SUBJECT: &str = "requests to the schedulers";

/// A worker's end of the bus.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    bus: Bus,
    epoch: WorkerEpoch,
}

impl Upstream {
    pub(crate) fn new(bus: Bus, epoch: WorkerEpoch) -> Self {
        Self { bus, epoch }
    }

    /// The same end over a connection that the current runtime drives.
    pub(crate) async fn apart(&self) -> Result<Self, bus::Error> {
        Ok(Self { bus: self.bus.apart().await?, epoch: self.epoch })
    }

    /// Asks the schedulers once.
    pub(crate) async fn ask(
        &self,
        body: WorkerRequestBody,
        wait: Duration,
    ) -> Result<SchedulerReply, bus::Error> {
        let request = WorkerRequest { v: VERSION, worker: self.epoch, body };
        let bytes = encode(SUBJECT, &request)?;
        self.send(bytes, wait).await
    }

    /// The bytes of a request that will be repeated.
    pub(crate) fn encoded(&self, body: WorkerRequestBody) -> Result<Bytes, bus::Error> {
        encode(SUBJECT, &WorkerRequest { v: VERSION, worker: self.epoch, body })
    }

    /// Sends such a request.
    pub(crate) async fn send(
        &self,
        request: Bytes,
        wait: Duration,
    ) -> Result<SchedulerReply, bus::Error> {
        let reply = self.bus.request(Service::Scheduler, request, wait).await?;
        decode(SUBJECT, &reply)
    }

    /// Stores entries in a run's event log; each comes with its id.
    pub(crate) async fn append(
        &self,
        run: RunId,
        events: Vec<(String, Bytes)>,
    ) -> Result<(), bus::Error> {
        self.bus.append(run, events).await
    }

    /// One entry, ready to be appended.
    pub(crate) fn entry(id: String, event: &RunEvent) -> Result<(String, Bytes), bus::Error> {
        Ok((id, encode("event log", event)?))
    }
}
