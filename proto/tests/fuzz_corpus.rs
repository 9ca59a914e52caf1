//! Every seed of the fuzz targets for frames still holds.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by failing"
)]

#[path = "../../fuzz/checks/frame.rs"]
mod frame;

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = format!("{}/../fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let files = std::fs::read_dir(folder).unwrap();
    let seeds: Vec<_> = files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
    assert!(seeds.len() > 5);
    seeds
}

#[test]
fn frames_of_a_cell() {
    let read: usize = seeds("frame_from_runner").iter().map(|seed| frame::from_runner(seed)).sum();
    assert!(read > 10, "only {read} frames: the seeds are out of date");
}

#[test]
fn frames_into_a_cell() {
    let seeds = seeds("frame_to_runner");
    let sent = seeds.iter().filter(|seed| frame::to_runner(seed)).count();
    assert!(sent > 4, "only {sent} frames: the seeds are out of date");
}
