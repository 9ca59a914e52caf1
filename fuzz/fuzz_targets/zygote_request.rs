//! What a worker writes to a zygote or a launcher.
#![no_main]

#[path = "../checks/zygote.rs"]
mod zygote;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    zygote::request(data);
});
