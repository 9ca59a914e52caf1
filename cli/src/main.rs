//! The flowcell command.
fn main() {}
