//! What a cell writes to its way out.
#![no_main]

#[path = "../checks/egress.rs"]
mod egress;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    egress::request(data);
});
