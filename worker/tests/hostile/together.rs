//! Probes that say themselves what they reached: in batches, through the proxy, and in pairs of cells.

use futures::stream::{self, StreamExt};
use serde_json::Value;

use crate::backends::Backend;
use crate::cell::{Cell, Said};
use crate::component::{Plan, SECRET};
use crate::register::{Mode, Probe};
use crate::world::World;

/// Runs these probes on a backend, as many to a cell as the backend says.
pub(crate) async fn run(backend: &Backend, probes: &[&Probe], world: &World) -> Vec<Said> {
    let egress = probes.first().is_some_and(|probe| probe.mode == Mode::Egress);
    let batches = probes.chunks(backend.batch).map(|batch| async move {
        let ids: Vec<String> = batch.iter().map(|probe| probe.id.clone()).collect();
        let plan = Plan::new("together", ids.clone());
        let mut cell = Cell::start(backend, &plan, None, egress.then(|| world.policy())).await;
        let said = cell.said().await;
        cell.end(backend).await;
        said.unwrap_or_else(|error| all_wrong(&ids, &error))
    });
    let batches: Vec<Vec<Said>> =
        stream::iter(batches).buffer_unordered(backend.at_once).collect().await;
    batches.concat()
}

/// One cell leaves traces; one beside it and one after it look for them.
pub(crate) async fn run_pairs(backend: &Backend, probes: &[&Probe]) -> Vec<Said> {
    let ids: Vec<String> = probes.iter().map(|probe| probe.id.clone()).collect();
    let secret = format!("{}{}", SECRET.0, SECRET.1);
    let leaving = Plan::new("leave", ids.clone());
    let mut first = Cell::start(backend, &leaving, Some(secret), None).await;
    let left = match first.left().await {
        Ok(left) => left,
        Err(error) => {
            first.end(backend).await;
            return all_wrong(&ids, &error);
        }
    };
    let beside = look(backend, &ids, &left).await;
    first.end(backend).await;
    let after = look(backend, &ids, &left).await;
    // A finding of either is one.
    beside.into_iter().zip(after).map(|(beside, after)| worse(beside, after)).collect()
}

async fn look(backend: &Backend, ids: &[String], left: &Value) -> Vec<Said> {
    let mut plan = Plan::new("look", ids.to_vec());
    plan.left = left.clone();
    let mut cell = Cell::start(backend, &plan, None, None).await;
    let said = cell.said().await;
    cell.end(backend).await;
    said.unwrap_or_else(|error| all_wrong(ids, &error))
}

fn worse(beside: Said, after: Said) -> Said {
    if beside.finding.is_some() || beside.error.is_some() {
        return beside;
    }
    let finding = after.finding.map(|finding| format!("after the other cell's end: {finding}"));
    Said { finding, ..after }
}

fn all_wrong(ids: &[String], error: &str) -> Vec<Said> {
    let error = Some(format!("the cell: {error}"));
    ids.iter().map(|id| Said { id: id.clone(), error: error.clone(), ..Said::default() }).collect()
}
