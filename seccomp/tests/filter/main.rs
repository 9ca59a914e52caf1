//! The filter, judged three ways: by reading the program, against seccompiler, and by the kernel.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by failing"
)]

#[path = "../../policy/compile.rs"]
mod compile;
mod kernel;
mod lists;
mod machine;
#[path = "../../policy/policy.rs"]
mod policy;
mod profiles;
