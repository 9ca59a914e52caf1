//! What a simulation showed.

use std::fmt;

use serde::Serialize;

use crate::scenario::Scenario;

/// Of one tenant, while it goes on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    pub(crate) in_slots: u32,
    pub(crate) slot_ms: u64,
    /// The same while it and somebody else wanted more than they had.
    pub(crate) contended_ms: u64,
    /// What was its by weight then.
    pub(crate) entitled_ms: u64,
    /// From acceptance to the first cell's start, in milliseconds.
    pub(crate) waits: Vec<i64>,
    /// From acceptance to the end.
    pub(crate) latencies: Vec<i64>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// How much of all slots was used, from 0 to 1.
    pub used: f64,
    /// Jain's index of what each tenant got of what was its while several wanted more: 1 when all
    /// got the same part, 1/n when one got everything.
    pub fairness: f64,
    /// Of each tenant.
    pub tenants: Vec<TenantReport>,
}

/// Of one tenant. Times are in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TenantReport {
    /// Its name.
    pub name: String,
    /// Runs that ended.
    pub ended: usize,
    /// Seconds in slots.
    pub slot_seconds: f64,
    /// What it got of what was its by weight, while several wanted more; `None` when that never
    /// was.
    pub share: Option<f64>,
    /// Half of its runs waited less for their first cell.
    pub wait_p50_ms: Option<i64>,
    /// All but a twentieth waited less.
    pub wait_p95_ms: Option<i64>,
    /// Half of its runs took less from acceptance to end.
    pub latency_p50_ms: Option<i64>,
    /// All but a twentieth took less.
    pub latency_p95_ms: Option<i64>,
}

impl Report {
    pub(crate) fn of(scenario: &Scenario, measured: &[Measured]) -> Self {
        let tenants: Vec<TenantReport> = scenario
            .tenants
            .iter()
            .zip(measured)
            .map(|(tenant, measured)| TenantReport::of(&tenant.name, measured))
            .collect();
        let all = f64::from(scenario.slots) * f64::from(scenario.seconds);
        let used: f64 = tenants.iter().map(|tenant| tenant.slot_seconds).sum();
        let shares: Vec<f64> = tenants.iter().filter_map(|tenant| tenant.share).collect();
        Self { used: used / all, fairness: jain(&shares), tenants }
    }

    /// What is said of a tenant.
    #[must_use]
    pub fn tenant(&self, name: &str) -> Option<&TenantReport> {
        self.tenants.iter().find(|tenant| tenant.name == name)
    }
}

impl TenantReport {
    fn of(name: &str, measured: &Measured) -> Self {
        let share = ratio(measured.contended_ms, measured.entitled_ms);
        Self {
            name: name.to_owned(),
            ended: measured.latencies.len(),
            slot_seconds: ratio(measured.slot_ms, 1_000).unwrap_or(0.0),
            share,
            wait_p50_ms: percentile(&measured.waits, 50),
            wait_p95_ms: percentile(&measured.waits, 95),
            latency_p50_ms: percentile(&measured.latencies, 50),
            latency_p95_ms: percentile(&measured.latencies, 95),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |value: Option<i64>| value.map_or("-".to_owned(), |value| value.to_string());
        writeln!(
            f,
            "{:<16} {:>8} {:>12} {:>6}  {:>10} {:>10} {:>11} {:>11}",
            "tenant",
            "ended",
            "slot-seconds",
            "share",
            "wait p50",
            "wait p95",
            "latency p50",
            "latency p95"
        )?;
        for tenant in &self.tenants {
            let share = tenant.share.map_or("-".to_owned(), |share| format!("{share:.2}"));
            writeln!(
                f,
                "{:<16} {:>8} {:>12.0} {:>6}  {:>10} {:>10} {:>11} {:>11}",
                tenant.name,
                tenant.ended,
                tenant.slot_seconds,
                share,
                ms(tenant.wait_p50_ms),
                ms(tenant.wait_p95_ms),
                ms(tenant.latency_p50_ms),
                ms(tenant.latency_p95_ms),
            )?;
        }
        let used = self.used * 100.0;
        write!(f, "slots used: {used:.0} %   fairness (Jain): {:.3}   times in ms", self.fairness)
    }
}

fn jain(shares: &[f64]) -> f64 {
    let sum: f64 = shares.iter().sum();
    let squares: f64 = shares.iter().map(|share| share * share).sum();
    #[allow(clippy::cast_precision_loss, reason = "a number of tenants")]
    let count = shares.len() as f64;
    if squares > 0.0 { sum * sum / (count * squares) } else { 1.0 }
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    #[allow(clippy::cast_precision_loss, reason = "far below the 53 bits that are exact")]
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The value that so many percent do not exceed.
fn percentile(values: &[i64], percent: usize) -> Option<i64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}
