//! Exports of Langflow, as anyone with an account uploads them.
#![no_main]

#[path = "../checks/flow.rs"]
mod flow;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    flow::import(data);
});
