//! Tasks and answers, as the worker sends them into a cell.
#![no_main]

#[path = "../checks/frame.rs"]
#[allow(dead_code, reason = "one of its two checks")]
mod frame;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    frame::to_runner(data);
});
