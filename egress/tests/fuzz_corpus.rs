//! Every seed of the fuzz target for the egress proxy still holds.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by failing"
)]

// The names that these have where no alias is set.
extern crate domain as flowcell_domain;
extern crate proto as flowcell_proto;

#[path = "../../fuzz/checks/egress.rs"]
mod egress;

#[test]
fn requests_to_the_egress_proxy() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/egress_proxy");
    let mut made = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        eprintln!("{}", path.display());
        made += egress::request(&std::fs::read(path).unwrap());
    }
    assert!(made > 5, "only {made} connections: the seeds are out of date");
}
