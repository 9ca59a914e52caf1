//! The crates depend on each other only in the direction that `docs/ARCHITECTURE.md` draws.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by failing"
)]

use std::collections::{BTreeMap, BTreeSet};

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
    ("worker", &["domain", "proto", "bus", "service", "seccomp", "zygote"]),
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
    ("loadtest", &["domain", "proto", "worker"]),
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
