//! Every seed of the fuzz target for the zygote's messages still holds.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by failing"
)]

#[path = "../../fuzz/checks/zygote.rs"]
mod zygote;

#[test]
fn messages_to_a_zygote() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/zygote_request");
    let mut understood = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        understood += zygote::request(&std::fs::read(file.unwrap().path()).unwrap());
    }
    assert!(understood > 5, "only {understood} messages: the seeds are out of date");
}
