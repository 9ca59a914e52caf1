//! The crates depend on each other only in the direction that `docs/ARCHITECTURE.md` draws, and
//! `docs/FAILURES.md` names tests that exist.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by failing"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Crate → the crates of ours that it may use at run time. Leaving a pair out forbids it.
const ALLOWED: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("proto", &["domain"]),
    ("migrations", &[]),
    ("store", &["domain", "proto", "migrations"]),
    ("bus", &["domain", "proto"]),
    ("service", &[]),
    ("seccomp", &[]),
    ("zygote", &["seccomp"]),
    ("gate", &["domain", "seccomp", "zygote"]),
    ("scheduler", &["domain", "proto", "store", "bus", "service"]),
    ("egress", &["domain", "proto"]),
    ("worker", &["domain", "proto", "bus", "service", "egress", "seccomp", "zygote"]),
    ("api", &["domain", "proto", "store", "bus", "service"]),
    (
        "cli",
        &[
            "domain",
            "proto",
            "store",
            "bus",
            "service",
            "api",
            "scheduler",
            "worker",
            "migrations",
            "simulate",
            "gate",
            "drill",
        ],
    ),
    ("drill", &["domain", "proto"]),
    ("loadtest", &["domain", "proto", "bus", "drill", "worker"]),
    ("simulate", &["domain"]),
    ("testkit", &[]),
];

/// Libraries that would break a crate's promise: what is pure stays pure, a worker has no
/// database, and nothing that parses Python lives in the control plane.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("domain", &["tokio", "rand", "reqwest", "sea-orm", "tracing", "async-trait"]),
    ("simulate", &["tokio", "reqwest", "sea-orm"]),
    ("proto", &["sea-orm", "reqwest", "axum"]),
    ("worker", &["sea-orm", "sqlx"]),
    ("egress", &["bollard", "async-nats", "reqwest", "sea-orm", "sqlx"]),
    ("zygote", &["tokio", "serde", "serde_json", "tracing"]),
    ("seccomp", &["seccompiler", "serde", "serde_json", "tokio"]),
    ("api", &["sea-orm", "sqlx", "bollard", "pyo3"]),
    ("scheduler", &["sea-orm", "sqlx", "axum", "bollard", "pyo3"]),
];

/// Our crates with the libraries that each uses at run time, ours without their prefix.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let short = |name: &str| name.strip_prefix("flowcell-").unwrap_or(name).to_owned();
    metadata
        .packages
        .iter()
        .map(|package| {
            let used = package
                .dependencies
                .iter()
                .filter(|dependency| dependency.kind == DependencyKind::Normal)
                .map(|dependency| short(&dependency.name));
            (short(&package.name), used.collect())
        })
        .collect()
}

#[test]
fn crates_use_each_other_only_downwards() {
    let found = dependencies();
    let ours: BTreeSet<&str> = found.keys().map(String::as_str).collect();
    let listed: BTreeSet<&str> = ALLOWED.iter().map(|(name, _)| *name).collect();
    assert_eq!(ours, listed, "every crate of the workspace has a row in ALLOWED");
    for (name, allowed) in ALLOWED {
        for used in found[*name].iter().filter(|used| ours.contains(used.as_str())) {
            assert!(allowed.contains(&used.as_str()), "{name} must not use {used}");
        }
    }
}

#[test]
fn nothing_forbidden_is_used() {
    let found = dependencies();
    for (name, forbidden) in FORBIDDEN {
        for library in *forbidden {
            assert!(!found[*name].contains(*library), "{name} must not use {library}");
        }
    }
}

/// Every test that `docs/FAILURES.md` names exists, and it says something of every failure, every
/// invariant and every fault of the simulation.
#[test]
fn the_failures_that_are_documented_have_their_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &str| {
        let text = std::fs::read_to_string(root.join(path));
        text.unwrap_or_else(|error| panic!("docs/FAILURES.md names {path}: {error}"))
    };
    let document = read("docs/FAILURES.md");
    let quoted = document.split('`').skip(1).step_by(2);
    let named: BTreeSet<(&str, &str)> = quoted
        .filter_map(|quoted| quoted.split_once("::"))
        .filter(|(_, name)| *name != "…")
        .collect();
    assert!(named.len() > 80, "hardly any test is named: {}", named.len());
    for (path, name) in &named {
        let is_there = read(path).lines().any(|line| defines(line, name));
        assert!(is_there, "docs/FAILURES.md names {name}, and {path} has none");
    }
    let numbers = (1..=28).map(|row| format!("\n| {row} |"));
    for row in numbers.chain((1..=8).map(|row| format!("\n| I{row} |"))) {
        assert!(document.contains(&row), "docs/FAILURES.md has no row {row:?}");
    }
    for file in ["fault.rs", "invariant.rs"] {
        let path = format!("domain/tests/simulation/{file}");
        let text = read(&path);
        let variants = text.lines().filter_map(|line| line.strip_prefix("    ")?.strip_suffix(','));
        for variant in variants.filter(|line| line.chars().all(char::is_alphanumeric)) {
            let is_named = named.contains(&(path.as_str(), variant));
            assert!(is_named, "docs/FAILURES.md does not name {path}::{variant}");
        }
    }
}

/// Whether the line begins a test, a type or a variant of this name.
fn defines(line: &str, name: &str) -> bool {
    let line = line.trim_start();
    let words = ["pub(crate) ", "pub ", "async ", "fn ", "def ", "struct "];
    let line = words.iter().fold(line, |line, word| line.strip_prefix(word).unwrap_or(line));
    let rest = line.strip_prefix(name);
    rest.is_some_and(|rest| rest.starts_with(['(', ',', '<', ' ']))
}
