//! How a flow's tasks are retried and where they run: what may be set, checked against the flow.

use domain::admission::{FlowSettings, NodeSettings};
use domain::failure::FailureCode;
use domain::retry::RetrySettings;
use domain::terms::Terms;
use serde_json::{Map, Value};

use super::admission::{known, positive};
use super::runs::pool;
use crate::config::Config;
use crate::error::Error;
use crate::extract::Raw;
use crate::versions::Version;

const FIELDS: [&str; 4] = ["runs_max", "pool", "retry", "nodes"];
const NODE_FIELDS: [&str; 2] = ["pool", "retry"];
const RETRY_FIELDS: [&str; 5] =
    ["attempts_max", "backoff_ms", "backoff_ms_max", "component_errors", "errors"];

/// Most attempts that may be set; each may cost a container.
const ATTEMPTS_MAX: u32 = 1_000;

/// Longest delay that may be set: a day.
const BACKOFF_MS_MAX: u64 = 24 * 60 * 60 * 1_000;

/// Reads what a caller sets for a flow. The stored form passes over keys that it does not know; a
/// caller's spelling mistake is told, at any depth.
pub(super) fn read(body: &Raw) -> Result<FlowSettings, Error> {
    let object: Map<String, Value> = body.json()?;
    check_fields("retry", object.get("retry"), &RETRY_FIELDS)?;
    let nodes = object.get("nodes").and_then(Value::as_object);
    for (node, set) in nodes.into_iter().flatten() {
        check_fields(&format!("nodes.{node}"), Some(set), &NODE_FIELDS)?;
        check_fields(&format!("nodes.{node}.retry"), set.get("retry"), &RETRY_FIELDS)?;
    }
    let set: FlowSettings = known(body, &FIELDS)?;
    check_retry("retry", &set.retry)?;
    for (node, NodeSettings { pool: named, retry }) in &set.nodes {
        check_retry(&format!("nodes.{node}.retry"), retry)?;
        named.as_deref().map(pool).transpose()?;
    }
    Ok(set)
}

/// Whether the flow has these nodes, and its cells a host that is in every pool they name.
pub(super) fn check(config: &Config, version: &Version, set: &FlowSettings) -> Result<(), Error> {
    let retry = config.retry.with(&set.retry);
    let terms = Terms { graph: &version.graph, settings: set, retry: &retry };
    if let Some(unknown) = terms.unknown_nodes().first() {
        let text = format!("nodes: the flow has no node with the id or display name {unknown:?}");
        return Err(Error::BodyInvalid(text));
    }
    let plan = version.plans.under(config.isolation);
    terms.of_plan(plan).map(drop).map_err(|conflict| Error::BodyInvalid(conflict.to_string()))
}

fn check_fields(place: &str, value: Option<&Value>, fields: &[&str]) -> Result<(), Error> {
    let object = match value {
        None => return Ok(()),
        Some(Value::Object(object)) => object,
        Some(_) => return Err(Error::BodyInvalid(format!("{place} must be an object"))),
    };
    match object.keys().find(|key| !fields.contains(&key.as_str())) {
        None => Ok(()),
        Some(unknown) => {
            let there = fields.join(", ");
            let text = format!("{place} has no field {unknown:?}; there are {there}");
            Err(Error::BodyInvalid(text))
        }
    }
}

fn check_retry(place: &str, retry: &RetrySettings) -> Result<(), Error> {
    positive(&format!("{place}.attempts_max"), retry.attempts_max)?;
    if retry.attempts_max.is_some_and(|most| most > ATTEMPTS_MAX) {
        let text = format!("{place}.attempts_max must be at most {ATTEMPTS_MAX}");
        return Err(Error::BodyInvalid(text));
    }
    for (name, delay) in
        [("backoff_ms", retry.backoff_ms), ("backoff_ms_max", retry.backoff_ms_max)]
    {
        if delay.is_some_and(|delay| delay > BACKOFF_MS_MAX) {
            let text = format!("{place}.{name} must be at most {BACKOFF_MS_MAX}");
            return Err(Error::BodyInvalid(text));
        }
    }
    for error in retry.errors.iter().flatten() {
        FailureCode::try_from(error.clone())
            .map_err(|unknown| Error::BodyInvalid(format!("{place}.errors: {unknown}")))?;
    }
    Ok(())
}
