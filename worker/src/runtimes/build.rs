//! The two steps that happen in a throwaway container: resolving and installing.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use domain::id::RunId;
use proto::message::{EgressRule, RuntimeOrder};
use serde::Serialize;
use uuid::Uuid;

use super::Tools;
use super::layer;
use crate::config::RuntimesConfig;
use crate::sandbox;
use crate::sandbox::containers::{BuildJob, Built};
use egress::Policy;

/// Added to a runner image's name: the same image with the installer.
const BUILDER_SUFFIX: &str = "-builder";
/// A lock of a hundred packages with all their hashes has some hundred kilobytes.
const LOCK_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// A tar archive is larger than its files: a header and padding for each.
const ARCHIVE_FACTOR: u64 = 2;

/// Why an image cannot be built. Its text is shown to the flow's owner.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// There is nowhere to get packages from.
    #[error(
        "this worker has no package index: set worker.runtimes.index or worker.runtimes.wheels"
    )]
    NoIndex,
    /// The installer refused.
    #[error("{0}")]
    Refused(String),
    /// The images do not belong together.
    #[error("{builder} is of another build than {base}: run scripts/images on this worker's host")]
    OtherBuilder {
        /// The runner image.
        base: String,
        /// The one with the installer.
        builder: String,
    },
    /// It took too long.
    #[error("it took longer than {0} s (worker.runtimes.build_s_max)")]
    TimedOut(u64),
    /// It said too much.
    #[error("the packages are larger than {0} bytes (worker.runtimes.disk_bytes)")]
    Large(u64),
    /// What it installed is not taken.
    #[error(transparent)]
    Layer(#[from] layer::Error),
    /// Nobody keeps the lock.
    #[error("no scheduler answered")]
    Unheard,
    /// The container, or the engine.
    #[error(transparent)]
    Sandbox(#[from] sandbox::Error),
    /// A file of ours.
    #[error("{doing} failed: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Why.
        source: std::io::Error,
    },
}

/// What the container is told, as `flowcell_builder` reads it.
#[derive(Serialize)]
struct Order<'a> {
    requirements: &'a [String],
    index: Option<&'a str>,
    source_builds: bool,
    lock: Option<&'a str>,
}

/// Exact versions and hashes of what is to be added.
pub(super) async fn resolve(tools: &Tools, order: &RuntimeOrder) -> Result<String, Error> {
    let built = run(tools, order, None, LOCK_BYTES_MAX).await?;
    let io = |source| Error::Io { doing: "reading the lock", source };
    let lock = tokio::task::spawn_blocking(move || std::io::read_to_string(built.output));
    lock.await.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(io)
}

/// The archive of what a lock names.
pub(super) async fn install(
    tools: &Tools,
    order: &RuntimeOrder,
    lock: &str,
) -> Result<File, Error> {
    let bytes_max = tools.config.runtimes.disk_bytes.saturating_mul(ARCHIVE_FACTOR);
    Ok(run(tools, order, Some(lock), bytes_max).await?.output)
}

async fn run(
    tools: &Tools,
    order: &RuntimeOrder,
    lock: Option<&str>,
    output_bytes_max: u64,
) -> Result<Built, Error> {
    let config = &tools.config.runtimes;
    if config.index.is_none() && config.wheels.is_none() {
        return Err(Error::NoIndex);
    }
    let told = Order {
        requirements: order.requirements.lines(),
        index: config.index.as_deref(),
        source_builds: config.source_builds,
        lock,
    };
    let told = serde_json::to_vec(&told)
        .map_err(|error| Error::Io { doing: "writing the order", source: error.into() })?;
    let job = BuildJob {
        image: builder(&order.base),
        order: told,
        config,
        egress: policy(tools),
        output_bytes_max,
        time_max: Duration::from_secs(config.build_s_max),
    };
    let built = tools.sandbox.build(job).await?;
    if built.is_late {
        return Err(Error::TimedOut(config.build_s_max));
    }
    if built.is_large {
        return Err(Error::Large(config.disk_bytes));
    }
    match built.exit_code {
        Some(0) => Ok(built),
        Some(137) => Err(Error::Refused(format!(
            "it was killed, most likely for memory (worker.runtimes.memory_bytes is {})",
            config.memory_bytes
        ))),
        code => Err(Error::Refused(said(&built.stderr, code))),
    }
}

/// The image with the installer for a runner image.
pub(super) fn builder(base: &str) -> String {
    format!("{base}{BUILDER_SUFFIX}")
}

/// The way to the index and to nothing else.
fn policy(tools: &Tools) -> Option<Policy> {
    let rules: Vec<EgressRule> = rules(&tools.config.runtimes);
    (!rules.is_empty()).then(|| Policy {
        run: RunId(Uuid::nil()),
        cell: "build".to_owned(),
        rules,
        settings: tools.config.egress.clone(),
        closed: Arc::clone(&tools.closed),
        resolver: Arc::clone(&tools.resolver),
    })
}

fn rules(config: &RuntimesConfig) -> Vec<EgressRule> {
    let rule = |(host, port): (String, u16)| EgressRule {
        host,
        port,
        private: config.private,
        tcp: false,
    };
    config.destinations().map(rule).collect()
}

/// What the installer said.
fn said(stderr: &str, code: Option<i64>) -> String {
    let text = stderr.trim();
    if text.is_empty() {
        return format!("the installer ended with exit code {code:?} and said nothing");
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_index_and_its_files_can_be_reached() {
        let config = RuntimesConfig {
            index: Some("https://user:secret@index.example/simple/".to_owned()),
            hosts: vec!["files.example:443".to_owned()],
            ..RuntimesConfig::default()
        };
        let rules = rules(&config);
        let places: Vec<(&str, u16)> = rules.iter().map(|r| (r.host.as_str(), r.port)).collect();
        assert_eq!(places, [("index.example", 443), ("files.example", 443)]);
        assert!(rules.iter().all(|rule| !rule.private && !rule.tcp));
    }
}
