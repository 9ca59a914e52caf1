//! Bytes of a cell, as the worker reads them.
#![no_main]

#[path = "../checks/frame.rs"]
#[allow(dead_code, reason = "one of its two checks")]
mod frame;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    frame::from_runner(data);
});
