use uuid::Uuid;

use super::*;
use crate::id::FlowId;

fn tenant(n: u128) -> TenantId {
    TenantId(Uuid::from_u128(n))
}

fn tasks(count: u128) -> Backlog {
    let task = |n| ReadyTask { run: RunId(Uuid::from_u128(n)), task: 0, priority: 0 };
    Backlog { tasks: (0..count).map(task).collect(), runs: VecDeque::new() }
}

fn run(n: u128, priority: i32, limits: &[RunLimit]) -> QueuedRun {
    QueuedRun { run: RunId(Uuid::from_u128(n)), priority, limits: limits.to_vec() }
}

fn queue(slots: u32, waiting: &[(u128, u128)]) -> Queue {
    let waiting = waiting.iter().map(|(who, count)| (tenant(*who), tasks(*count))).collect();
    Queue { slots, waiting, ..Queue::default() }
}

fn round(terms: &BTreeMap<TenantId, Terms>, now: i64) -> Round<'_> {
    Round { now: Timestamp(now), policy: Policy::default(), terms }
}

fn admit(queue: &mut Queue) -> usize {
    round(&BTreeMap::new(), 0).admit(queue, &mut OpenRuns::default()).len()
}

fn in_slots(slots: u32) -> Held {
    Held { offered: 0, in_slots: slots }
}

fn held(queue: &Queue, who: u128) -> u32 {
    queue.held(tenant(who))
}

#[test]
fn no_more_is_admitted_than_workers_can_take_soon() {
    let mut alone = queue(8, &[(1, 100)]);
    assert_eq!(admit(&mut alone), 10, "8 slots, and a quarter more on the queue");
    assert_eq!(admit(&mut alone), 0);
    assert!(alone.is_waited_for());
    assert_eq!(admit(&mut queue(0, &[(1, 100)])), 2, "for the first worker that comes");
}

#[test]
fn tenants_share_by_weight() {
    let mut two = queue(8, &[(1, 100), (2, 100)]);
    admit(&mut two);
    assert_eq!((held(&two, 1), held(&two, 2)), (5, 5));
    let mut two = queue(8, &[(1, 100), (2, 100)]);
    let terms = BTreeMap::from([(tenant(2), Terms { weight: 400, slots_max: None })]);
    round(&terms, 0).admit(&mut two, &mut OpenRuns::default());
    assert_eq!((held(&two, 1), held(&two, 2)), (2, 8));
}

#[test]
fn what_was_held_is_paid_for_and_absence_is_no_credit() {
    let mut queue = queue(2, &[(1, 100)]);
    admit(&mut queue);
    assert_eq!(held(&queue, 1), 3);
    // Nine seconds later a slot is free, and somebody else is there.
    queue.held.insert(tenant(1), in_slots(2));
    queue.waiting.insert(tenant(2), tasks(100));
    let terms = BTreeMap::new();
    let admitted = round(&terms, 9_000).admit(&mut queue, &mut OpenRuns::default());
    assert_eq!((admitted.len(), held(&queue, 2)), (1, 1));
    let (first, second) = (queue.shares.of(tenant(1)), queue.shares.of(tenant(2)));
    assert_eq!(first, 15_000 + 18_000_000, "three tasks, and nine seconds of two slots");
    assert_eq!(second, first + 5_000, "it starts where the other one is");
    assert_eq!(queue.shares.present, first);
}

#[test]
fn where_nobody_is_the_past_is_forgotten() {
    let mut queue = queue(2, &[(1, 100)]);
    admit(&mut queue);
    let had = queue.shares.of(tenant(1));
    queue.held.clear();
    queue.waiting.clear();
    admit(&mut queue);
    assert!(queue.shares.known.is_empty());
    assert_eq!((queue.shares.present, queue.shares.of(tenant(2))), (had, had));
}

#[test]
fn who_waits_keeps_its_place() {
    let mut queue = queue(1, &[(1, 100), (2, 100)]);
    queue.held.insert(tenant(1), in_slots(2));
    let terms = BTreeMap::new();
    for second in 0..3 {
        let admitted = round(&terms, second * 1_000).admit(&mut queue, &mut OpenRuns::default());
        assert_eq!(admitted, [], "no slot is free");
    }
    queue.held.insert(tenant(1), in_slots(1));
    round(&terms, 3_000).admit(&mut queue, &mut OpenRuns::default());
    assert_eq!(held(&queue, 2), 1);
    assert!(queue.shares.of(tenant(1)) - queue.shares.of(tenant(2)) > 4_000_000);
}

#[test]
fn the_last_slots_are_for_those_who_have_none() {
    let mut queue = queue(20, &[(1, 100)]);
    assert_eq!(admit(&mut queue), 18, "2 of 20 are kept back");
    queue.waiting.insert(tenant(2), tasks(100));
    assert_eq!(admit(&mut queue), 1, "the newcomer gets one of them and not both");
    assert_eq!(held(&queue, 2), 1);
}

#[test]
fn a_tenant_gets_no_more_slots_than_it_may() {
    let mut queue = queue(8, &[(1, 100), (2, 100)]);
    let terms = BTreeMap::from([(tenant(1), Terms { slots_max: Some(2), ..Terms::default() })]);
    round(&terms, 0).admit(&mut queue, &mut OpenRuns::default());
    assert_eq!((held(&queue, 1), held(&queue, 2)), (2, 8));
}

#[test]
fn limits_hold_back_runs_and_not_what_stands_behind_them() {
    let one = RunLimit { key: LimitKey::Flow(FlowId(Uuid::nil())), most: 1 };
    let runs = [run(1, 0, std::slice::from_ref(&one)), run(2, 0, &[one]), run(3, 0, &[])];
    let backlog = Backlog { runs: runs.into(), ..Backlog::default() };
    let mut queue = queue(8, &[]);
    queue.waiting.insert(tenant(1), backlog);
    let mut open = OpenRuns::default();
    let terms = BTreeMap::new();
    let admitted = round(&terms, 0).admit(&mut queue, &mut open);
    let run = |n| Admitted::Run(RunId(Uuid::from_u128(n)));
    assert_eq!(admitted, [run(1), run(3)]);
    assert_eq!(open.count(tenant(1), &LimitKey::Flow(FlowId(Uuid::nil()))), 1);
    assert_eq!(open.count(tenant(2), &LimitKey::Flow(FlowId(Uuid::nil()))), 0);
}

#[test]
fn what_is_begun_goes_on_first_unless_something_is_more_urgent() {
    let mut backlog = tasks(1);
    backlog.runs = [run(7, 1, &[]), run(8, 0, &[])].into();
    let first = ReadyTask { run: RunId(Uuid::from_u128(0)), task: 0, priority: 0 };
    let mut queue = queue(8, &[]);
    queue.waiting.insert(tenant(1), backlog);
    let terms = BTreeMap::new();
    let admitted = round(&terms, 0).admit(&mut queue, &mut OpenRuns::default());
    let run = |n| Admitted::Run(RunId(Uuid::from_u128(n)));
    assert_eq!(admitted, [run(7), Admitted::Task(first), run(8)]);
}
