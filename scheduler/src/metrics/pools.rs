//! What waits and who works, by pool of workers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::time::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use store::{Queued, Waiting, Workers};

use super::{Seconds, age, whole};
use crate::task_queue::TaskQueue;

/// Whoever starts a run may name a pool that nobody has heard of. So many such names are told
/// apart; pools with workers always are.
const NAMES_MAX: usize = 100;
/// What waits for the pools beyond that. No pool can have this name.
const OTHERS: &str = "(other)";

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Pool {
    pool: String,
}

/// The figures of every pool that was ever seen: one that has emptied says zero, not nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Pools {
    ready: Family<Pool, Gauge>,
    ready_oldest: Family<Pool, Seconds>,
    leases: Family<Pool, Gauge>,
    workers: Family<Pool, Gauge>,
    slots: Family<Pool, Gauge>,
    seen: Arc<Mutex<BTreeMap<String, Figures>>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Figures {
    ready: Queued,
    leased: u64,
    workers: Workers,
}

impl Pools {
    pub(super) fn expose(&self, registry: &mut Registry) {
        let help = "Tasks that a worker could take now: what to scale workers on";
        registry.register("flowcell_tasks_ready", help, self.ready.clone());
        let help = "How long the first of them has been waiting";
        registry.register("flowcell_tasks_ready_oldest_seconds", help, self.ready_oldest.clone());
        let mut add = |name: &str, help: &str, gauges: &Family<Pool, Gauge>| {
            registry.register(name, help, gauges.clone());
        };
        add("flowcell_leases", "Tasks that a worker holds", &self.leases);
        add("flowcell_cluster_workers", "Workers whose lease is good", &self.workers);
        add("flowcell_cluster_slots", "Cells that these workers can run at once", &self.slots);
    }

    /// `own` is the schedulers' pool.
    pub(super) fn saw(&self, waiting: &Waiting, own: &str, now: Timestamp) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        count(&mut seen, waiting, own);
        for (pool, figures) in &*seen {
            let pool = Pool { pool: pool.clone() };
            self.ready.get_or_create(&pool).set(whole(figures.ready.count));
            self.ready_oldest.get_or_create(&pool).set(age(figures.ready, now));
            self.leases.get_or_create(&pool).set(whole(figures.leased));
            self.workers.get_or_create(&pool).set(whole(figures.workers.count));
            self.slots.get_or_create(&pool).set(whole(figures.workers.slots));
        }
    }
}

/// The newest figures in the place of the last ones. The queues of all depths of a pool are one.
fn count(seen: &mut BTreeMap<String, Figures>, waiting: &Waiting, own: &str) {
    for figures in seen.values_mut() {
        *figures = Figures::default();
    }
    seen.entry(own.to_owned()).or_default();
    for (pool, workers) in &waiting.workers {
        let pool = if pool.is_empty() { own } else { pool };
        let sum = &mut seen.entry(pool.to_owned()).or_default().workers;
        sum.count += workers.count;
        sum.slots += workers.slots;
    }
    for (queue, queued) in &waiting.ready {
        let sum = &mut of_queue(seen, queue, own).ready;
        sum.count += queued.count;
        sum.oldest = sum.oldest.into_iter().chain(queued.oldest).min();
    }
    for (queue, leased) in &waiting.leased {
        of_queue(seen, queue, own).leased += leased;
    }
}

fn of_queue<'a>(
    seen: &'a mut BTreeMap<String, Figures>,
    queue: &str,
    own: &str,
) -> &'a mut Figures {
    let pool = match queue.parse::<TaskQueue>() {
        Ok(queue) if queue.pool.is_empty() => own.to_owned(),
        Ok(queue) if seen.len() < NAMES_MAX || seen.contains_key(&queue.pool) => queue.pool,
        _ => OTHERS.to_owned(),
    };
    seen.entry(pool).or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queued(count: u64, oldest: i64) -> Queued {
        Queued { count, oldest: Some(Timestamp(oldest)) }
    }

    #[test]
    fn depths_are_summed_and_the_empty_name_is_our_own() {
        let mut seen = BTreeMap::new();
        let waiting = Waiting {
            ready: vec![
                ("gpu".into(), queued(3, 50)),
                ("gpu/2".into(), queued(1, 20)),
                (String::new(), queued(2, 70)),
            ],
            leased: vec![("gpu/1".into(), 4), ("default".into(), 1)],
            workers: vec![("gpu".into(), Workers { count: 2, slots: 8 })],
            ..Waiting::default()
        };
        count(&mut seen, &waiting, "default");
        let gpu =
            Figures { ready: queued(4, 20), leased: 4, workers: Workers { count: 2, slots: 8 } };
        let own = Figures { ready: queued(2, 70), leased: 1, ..Figures::default() };
        assert_eq!(seen, [("default".to_owned(), own), ("gpu".to_owned(), gpu)].into());

        count(&mut seen, &Waiting::default(), "default");
        assert_eq!(seen.get("gpu"), Some(&Figures::default()), "an emptied pool says zero");
    }

    #[test]
    fn names_that_callers_make_up_are_bounded() {
        let mut seen = BTreeMap::new();
        let made_up = (0..500).map(|n| (format!("x{n}"), queued(1, 1))).collect();
        let workers = vec![("gpu".to_owned(), Workers { count: 1, slots: 1 })];
        count(&mut seen, &Waiting { ready: made_up, workers, ..Waiting::default() }, "default");
        assert_eq!(seen.len(), NAMES_MAX + 1);
        assert_eq!(seen.values().map(|figures| figures.ready.count).sum::<u64>(), 500);
        assert_eq!(seen.get("gpu").map(|figures| figures.workers.count), Some(1));
        let late = vec![("eu".to_owned(), Workers { count: 1, slots: 1 })];
        count(&mut seen, &Waiting { workers: late, ..Waiting::default() }, "default");
        assert!(seen.contains_key("eu"), "a pool with workers is always told");
    }
}
