//! All probes, on all backends, with their controls.

use std::time::Instant;

use crate::backends::{self, Backend};
use crate::cell::Said;
use crate::register::{self, Control, Mode, Probe};
use crate::report::Report;
use crate::world::World;
use crate::{alone, namespace, skip, together, weak};

/// Fewer than this would mean that some were lost.
const PROBES_MIN: usize = 400;
/// Probes that may do without a control, in per cent.
const WITHOUT_CONTROL_MAX: usize = 10;

#[test]
fn every_barrier_holds_and_every_control_finds() {
    if !skip() {
        namespace::run("suite::inside");
    }
}

/// Not a test by itself: what the one above runs in a network namespace of its own.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by every_barrier_holds_and_every_control_finds"]
async fn inside() {
    if !namespace::is_inside() {
        return;
    }
    let all = register::all();
    assert!(all.len() >= PROBES_MIN, "only {} probes", all.len());
    let without = all.iter().filter(|probe| !probe.no_control.is_empty()).count();
    assert!(without * 100 <= all.len() * WITHOUT_CONTROL_MAX, "{without} without a control");
    let wanted = |probe: &Probe| register::wanted(&probe.id);
    let probes: Vec<Probe> = all.into_iter().filter(wanted).collect();
    let mut report = Report::new(probes.clone());

    let began = Instant::now();
    let chosen = probes.clone();
    let controls = tokio::task::spawn_blocking(move || {
        let mut said = weak::run(&chosen, Control::Weak);
        said.extend(weak::run(&chosen, Control::Host));
        said
    });
    report.controls(controls.await.unwrap());
    eprintln!("controls: {} s", began.elapsed().as_secs());

    let world = World::open().await;
    let dir = tempfile::tempdir().unwrap();
    for backend in backends::available(dir.path()).await {
        let began = Instant::now();
        let said = Box::pin(on(&backend, &probes, &world)).await;
        report.backend(&backend, said);
        for address in world.reached() {
            report.wrong(format!("{address} was connected to from a cell of {}", backend.name));
        }
        eprintln!("{}: {} s", backend.name, began.elapsed().as_secs());
    }
    let path = concat!(env!("CARGO_TARGET_TMPDIR"), "/hostile.txt");
    std::fs::write(path, report.details()).unwrap();
    eprintln!("details: {path}");
    report.finish();
}

async fn on(backend: &Backend, probes: &[Probe], world: &World) -> Vec<Said> {
    let of = |mode: Mode| probes.iter().filter(move |probe| probe.mode == mode);
    let mut said = Vec::new();
    // Pairs first: they run a cell with a secret that the others look for in their memory.
    let mut groups: Vec<&str> = of(Mode::Pair).map(|probe| probe.group.as_str()).collect();
    groups.dedup();
    for group in groups {
        let pairs: Vec<&Probe> = of(Mode::Pair).filter(|probe| probe.group == group).collect();
        said.extend(timed(group, together::run_pairs(backend, &pairs)).await);
    }
    for mode in [Mode::Together, Mode::Egress] {
        let chosen: Vec<&Probe> = of(mode).collect();
        said.extend(timed(&format!("{mode:?}"), together::run(backend, &chosen, world)).await);
    }
    let chosen: Vec<&Probe> = of(Mode::Alone).collect();
    if !chosen.is_empty() {
        said.extend(timed("Alone", alone::run(backend, &chosen)).await);
    }
    said
}

async fn timed(what: &str, run: impl Future<Output = Vec<Said>>) -> Vec<Said> {
    let began = Instant::now();
    let said = run.await;
    eprintln!("  {what}: {} probes in {} s", said.len(), began.elapsed().as_secs());
    said
}
