//! Compiles the lists of `policy/` for the target's architecture.

#![allow(
    clippy::disallowed_methods,
    reason = "cargo tells a build script everything through the environment"
)]

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use seccompiler::TargetArch;

#[path = "policy/compile.rs"]
mod compile;
#[path = "policy/docker.rs"]
mod docker;
#[path = "policy/policy.rs"]
mod policy;

fn main() -> Result<(), Box<dyn Error>> {
    for input in ["build.rs", "census.txt", "policy"] {
        println!("cargo::rerun-if-changed={input}");
    }
    let arch = TargetArch::try_from(env::var("CARGO_CFG_TARGET_ARCH")?.as_str())?;
    let out = env::var("OUT_DIR")?;
    let out = Path::new(&out);
    let census = fs::read_to_string("census.txt")?;
    let decisions = compile::decisions(&census)?;
    let mut source = String::from("&[\n");
    for line in compile::program(&decisions, arch)? {
        let (code, jt, jf, k) = (line.code, line.jt, line.jf, line.k);
        writeln!(source, "libc::sock_filter {{ code: {code}, jt: {jt}, jf: {jf}, k: {k} }},")?;
    }
    source.push(']');
    fs::write(out.join("program.rs"), source)?;
    fs::write(out.join("docker.json"), docker::cell(&decisions)?)?;
    fs::write(out.join("docker-stub.json"), docker::stub()?)?;
    Ok(())
}
