//! Noisy neighbours: what others may do to a tenant, and no more.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by failing")]

use flowcell_simulate::{Arrivals, Cells, Report, Scenario, Tenant, run};

/// Of every scenario.
const SECONDS: u32 = 300;

fn tenant(name: &str, at_once: u32, every_ms: u32, ms: u32) -> Tenant {
    Tenant {
        name: name.to_owned(),
        weight: 100,
        slots_max: None,
        runs_max: None,
        arrivals: Arrivals { from_s: 0, at_once, every_ms },
        cells: Cells { count: 3, ms, spread_percent: 50 },
    }
}

fn scenario(slots: u32, seed: u64, tenants: Vec<Tenant>) -> Scenario {
    Scenario {
        slots,
        seconds: SECONDS,
        seed,
        policy: domain::admission::Policy::default(),
        tenants,
    }
}

fn report(scenario: &Scenario) -> Report {
    run(scenario).unwrap()
}

/// How many times longer the victim's runs take than when it is alone.
fn slowdown(scenario: &Scenario, victim: &str) -> f64 {
    let p95 = |report: &Report| report.tenant(victim).unwrap().latency_p95_ms.unwrap();
    let (crowded, alone) = (report(scenario), report(&scenario.alone(victim)));
    f64::from(i32::try_from(p95(&crowded)).unwrap())
        / f64::from(i32::try_from(p95(&alone)).unwrap())
}

#[test]
fn a_hundred_thousand_runs_of_one_delay_single_runs_of_another_by_a_small_multiple() {
    for seed in 0..2 {
        for slots in [4, 16, 64] {
            let crowd = tenant("crowd", 100_000, 0, 1_000);
            let single = tenant("single", 0, 5_000, 1_000);
            let slowdown = slowdown(&scenario(slots, seed, vec![crowd, single]), "single");
            assert!(slowdown < 2.0, "seed {seed}, {slots} slots: {slowdown:.2} times");
        }
    }
}

#[test]
fn long_cells_get_no_more_time_than_short_ones() {
    for seed in 0..5 {
        let tenants = vec![tenant("long", 2_000, 0, 15_000), tenant("short", 50_000, 0, 200)];
        let found = report(&scenario(16, seed, tenants));
        assert!(found.fairness > 0.99, "seed {seed}:\n{found}");
        // A tenth is kept for newcomers.
        assert!(found.used > 0.90, "seed {seed}:\n{found}");
    }
}

#[test]
fn long_cells_everywhere_still_leave_a_slot_to_a_newcomer() {
    let hog = tenant("hog", 1_000, 0, 60_000);
    let single = Tenant {
        cells: Cells { count: 1, ms: 500, spread_percent: 0 },
        ..tenant("single", 0, 10_000, 500)
    };
    let found = report(&scenario(20, 1, vec![hog, single]));
    let wait = found.tenant("single").unwrap().wait_p95_ms.unwrap();
    assert!(
        wait < 5_000,
        "a cell of the hog takes a minute; the newcomer waited {wait} ms\n{found}"
    );
}

#[test]
fn weights_are_kept() {
    let tenants = vec![
        tenant("plain", 50_000, 0, 700),
        Tenant { weight: 300, ..tenant("heavy", 50_000, 0, 700) },
    ];
    let found = report(&scenario(16, 3, tenants));
    let seconds = |name: &str| found.tenant(name).unwrap().slot_seconds;
    let ratio = seconds("heavy") / seconds("plain");
    assert!((2.8..3.2).contains(&ratio), "{ratio:.2}\n{found}");
}

#[test]
fn fifty_tenants_share_a_few_slots() {
    let tenants = (0..50).map(|n| tenant(&format!("t{n}"), 2_000, 0, 100 + 37 * n)).collect();
    let found = report(&scenario(8, 4, tenants));
    assert!(found.fairness > 0.98, "{found}");
}

#[test]
fn limits_are_never_passed_and_leave_the_rest_to_others() {
    let tenants = vec![
        Tenant { runs_max: Some(2), ..tenant("limited", 10_000, 0, 1_000) },
        tenant("free", 10_000, 0, 1_000),
    ];
    let found = report(&scenario(16, 5, tenants));
    let limited = found.tenant("limited").unwrap();
    assert!(limited.slot_seconds < 2.0 * f64::from(SECONDS) + 1.0, "{found}");
    assert!(found.used > 0.90, "{found}");
}

#[test]
fn the_same_seed_gives_the_same_report_and_nonsense_is_refused() {
    let tenants = vec![tenant("a", 100, 50, 400), tenant("b", 10, 500, 4_000)];
    let one = scenario(4, 9, tenants);
    assert_eq!(report(&one), report(&one));
    let none = Scenario { slots: 0, ..one.clone() };
    assert_eq!(run(&none).unwrap_err().to_string(), "slots must be at least 1");
    let many = Scenario { tenants: vec![tenant("a", 3_000_000, 0, 1)], ..one };
    assert!(run(&many).unwrap_err().to_string().contains("at most 2000000"));
}
