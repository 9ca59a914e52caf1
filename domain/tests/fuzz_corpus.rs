//! Every seed of the fuzz target for imports still holds.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by failing"
)]

#[path = "../../fuzz/checks/flow.rs"]
mod flow;

#[test]
fn imports() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/flow_import");
    let mut planned = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        planned += flow::import(&std::fs::read(file.unwrap().path()).unwrap());
    }
    assert!(planned > 5, "only {planned} flows: the seeds are out of date");
}
