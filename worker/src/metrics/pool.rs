//! The pool's own counts, read when they are asked for: they are numbers in memory.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::service::Handle;

/// The figures of a worker's pool and sweeper.
#[derive(Debug)]
pub(crate) struct PoolFigures(pub(crate) Handle);

impl Collector for PoolFigures {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let (figures, leaked) = (self.0.figures(), self.0.leaked());
        let counters = [
            ("flowcell_slots_prepared", "Containers that became ready", figures.prepared),
            ("flowcell_slots_failed", "Containers whose start failed", figures.prepare_failed),
            ("flowcell_slots_hit", "Tasks that found a ready container", figures.taken_ready),
            ("flowcell_slots_missed", "Tasks that waited for one", figures.taken_after_wait),
            (
                "flowcell_slots_prepare_milliseconds",
                "Time from asking for a container until it was ready; divide by prepared",
                figures.prepare_ms,
            ),
            (
                "flowcell_slots_expired",
                "Containers given up because they waited too long",
                figures.expired,
            ),
            ("flowcell_slots_died", "Containers that ended while they waited", figures.died),
            ("flowcell_slots_destroyed", "Containers destroyed", figures.destroyed),
            (
                "flowcell_slots_leaked",
                "Containers without an owner that the sweeper removed",
                leaked,
            ),
        ];
        for (name, help, value) in counters {
            write(&mut encoder, name, help, &ConstCounter::new(value))?;
        }
        let gauges = [
            ("flowcell_slots_waiting", "Tasks that wait for a container", figures.waiting),
            ("flowcell_containers", "Containers that exist now", figures.containers),
            ("flowcell_slots_ready", "Containers that wait for a task", figures.ready),
            ("flowcell_slots_warming", "Containers that are starting", figures.warming),
        ];
        for (name, help, value) in gauges {
            write(&mut encoder, name, help, &ConstGauge::new(value))?;
        }
        Ok(())
    }
}

/// A full stop ends every help text, as the registry does for what is registered there.
fn write(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metric: &impl EncodeMetric,
) -> Result<(), fmt::Error> {
    let help = format!("{help}.");
    metric.encode(encoder.encode_descriptor(name, &help, None, metric.metric_type())?)
}
