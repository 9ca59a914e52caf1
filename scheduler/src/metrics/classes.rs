//! What waits by class of tenants, and how far apart those are who share a pool.
//!
//! No metric names a tenant: there may be thousands, and who they are is not everybody's business.
//! What is set for them sorts them into three classes.

use std::collections::BTreeMap;

use domain::admission::{Shares, WEIGHT};
use domain::id::TenantId;
use domain::time::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use store::{AdmissionSettings, Queued};

use super::{Seconds, age, whole};
use crate::task_queue::TaskQueue;

/// Tenants with less than the usual weight, with it, and with more.
const CLASSES: [&str; 3] = ["light", "usual", "heavy"];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Class {
    class: &'static str,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Classes {
    waiting: Family<Class, Gauge>,
    waiting_oldest: Family<Class, Seconds>,
    spread: Seconds,
}

impl Classes {
    pub(super) fn expose(&self, registry: &mut Registry) {
        let help = "Runs that wait for their turn, by the weight of their tenants";
        registry.register("flowcell_runs_waiting", help, self.waiting.clone());
        let help = "How long the first of them has been waiting";
        registry.register(
            "flowcell_runs_waiting_oldest_seconds",
            help,
            self.waiting_oldest.clone(),
        );
        let help = "Slot time at the usual weight by which tenants that share a queue are apart";
        registry.register("flowcell_fairness_spread_seconds", help, self.spread.clone());
    }

    pub(super) fn saw(
        &self,
        queued: &[(TenantId, Queued)],
        settings: &AdmissionSettings,
        shares: &BTreeMap<String, Shares>,
        now: Timestamp,
    ) {
        let found = by_class(queued, settings);
        for class in CLASSES {
            let of_class = found.get(class).copied().unwrap_or_default();
            self.waiting.get_or_create_owned(&Class { class }).set(whole(of_class.count));
            self.waiting_oldest.get_or_create_owned(&Class { class }).set(age(of_class, now));
        }
        self.spread.set(spread_seconds(shares));
    }
}

fn by_class(
    queued: &[(TenantId, Queued)],
    settings: &AdmissionSettings,
) -> BTreeMap<&'static str, Queued> {
    let mut found: BTreeMap<&'static str, Queued> = BTreeMap::new();
    for (tenant, queued) in queued {
        let weight = settings.tenants.get(tenant).and_then(|set| set.weight).unwrap_or(WEIGHT);
        let sum = found.entry(class(weight)).or_default();
        sum.count += queued.count;
        sum.oldest = sum.oldest.into_iter().chain(queued.oldest).min();
    }
    found
}

fn class(weight: u32) -> &'static str {
    match weight.cmp(&WEIGHT) {
        std::cmp::Ordering::Less => "light",
        std::cmp::Ordering::Equal => "usual",
        std::cmp::Ordering::Greater => "heavy",
    }
}

/// Of the queue where they are furthest apart. Virtual times are in microseconds of one slot.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn spread_seconds(shares: &BTreeMap<String, Shares>) -> f64 {
    let of_tasks = shares.iter().filter(|(queue, _)| queue.parse::<TaskQueue>().is_ok());
    let apart = of_tasks.filter_map(|(_, shares)| {
        let furthest = shares.known.values().max()?;
        Some(furthest.saturating_sub(shares.present))
    });
    apart.max().unwrap_or(0) as f64 / 1_000_000.0
}

#[cfg(test)]
mod tests {
    use domain::admission::TenantSettings;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn tenants_are_sorted_by_their_weight() {
        let tenant = |n| TenantId(Uuid::from_u128(n));
        let queued = |count, oldest| Queued { count, oldest: Some(Timestamp(oldest)) };
        let set = |weight| TenantSettings { weight: Some(weight), ..TenantSettings::default() };
        let tenants = [(tenant(1), set(50)), (tenant(2), set(300)), (tenant(3), set(200))].into();
        let settings = AdmissionSettings { tenants, ..AdmissionSettings::default() };
        let waiting = [
            (tenant(1), queued(1, 7)),
            (tenant(2), queued(2, 9)),
            (tenant(3), queued(3, 8)),
            (tenant(4), queued(4, 5)),
        ];
        let found = by_class(&waiting, &settings);
        let heavy = queued(5, 8);
        assert_eq!(
            found,
            [("light", queued(1, 7)), ("usual", queued(4, 5)), ("heavy", heavy)].into()
        );
    }

    #[test]
    fn who_is_furthest_ahead_of_the_present_counts() {
        let shares = |present, known: &[u64]| {
            let known = (1..).map(|n| TenantId(Uuid::from_u128(n))).zip(known.iter().copied());
            Shares { present, known: known.collect(), ..Shares::default() }
        };
        let two = [
            ("default".to_owned(), shares(1_000_000, &[1_000_000, 3_500_000])),
            ("gpu".to_owned(), shares(0, &[1_000_000])),
        ];
        assert!((spread_seconds(&two.into()) - 2.5).abs() < 1e-9);
        assert!(spread_seconds(&BTreeMap::new()).abs() < 1e-9);
    }
}
