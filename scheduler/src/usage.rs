//! What models cost before a cell: Langflow's chat outputs show the sum over all nodes before them.
//!
//! ```text
//! Agent-1 ─▶ Agent-2 ─▶ Prompt ─▶ ChatOutput       a cell's graph: its members and neighbours
//!    3          4                  Prompt: 7        so the others' share is laid on a neighbour
//! ```

use std::collections::BTreeSet;

use domain::flow::Graph;
use domain::plan::{Cell, Plan};
use domain::upstream;
use proto::frame::UsageByNode;
use store::RunRecord;

use crate::engine::Engine;
use crate::error::Error;

/// The tokens that each neighbour stands for, where the cell has an output that would show them.
pub(crate) async fn before(
    engine: &Engine,
    record: &RunRecord,
    plan: &Plan,
    graph: &Graph,
    cell: &Cell,
    neighbours: &[String],
) -> Result<Option<UsageByNode>, Error> {
    let is_output = |member: &String| graph.node(member).is_some_and(|node| node.is_output);
    if neighbours.is_empty() || !cell.members.iter().any(is_output) {
        return Ok(None);
    }
    let tasks: Vec<u32> = upstream::cells(plan, cell).into_iter().collect();
    let spent = engine.store.engine().usage(record.run.id, &tasks).await?;
    Ok(Some(shares(graph, cell, neighbours, spent)))
}

/// Gives every node's tokens to one neighbour: itself, or the first one behind it.
fn shares(
    graph: &Graph,
    cell: &Cell,
    neighbours: &[String],
    spent: impl IntoIterator<Item = UsageByNode>,
) -> UsageByNode {
    let ways: Vec<(&String, BTreeSet<&str>)> =
        neighbours.iter().map(|node| (node, upstream::nodes(graph, node))).collect();
    let mut shares = UsageByNode::new();
    for (node, tokens) in spent.into_iter().flatten() {
        // A member counts its own.
        if cell.members.contains(&node) {
            continue;
        }
        let itself = neighbours.iter().find(|neighbour| **neighbour == node);
        let behind = || ways.iter().find(|(_, before)| before.contains(node.as_str()));
        // Without any it led to a branch that was not taken, which counts all the same.
        let stands = itself.or_else(|| behind().map(|(n, _)| *n)).or_else(|| neighbours.first());
        if let Some(neighbour) = stands {
            shares.entry(neighbour.clone()).or_default().add(tokens);
        }
    }
    shares
}
