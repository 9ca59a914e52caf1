//! The part of the graph that goes into a cell's container.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::Cell;
use crate::flow::{Edge, Graph, Node, json};

/// The `{"nodes": […], "edges": […]}` with which lfx builds the members of a cell.
///
/// Beside the members it holds their direct neighbours, because lfx checks edges against both
/// ends, computes only outputs that have an edge, and streams tokens only next to a `ChatOutput`.
/// Neighbours are never built there, so their code and secrets stay out, except what a Loop builds
/// anew for every item. An edge that leaves is kept only if somebody takes its data from this very
/// cell: otherwise a copied model would also compute the text that its own cell gives.
#[must_use]
pub fn cell_graph(graph: &Graph, cell: &Cell) -> Value {
    let positions = |ids: &[String]| -> BTreeSet<usize> {
        ids.iter().filter_map(|id| graph.position(id)).collect()
    };
    let (members, inner) = (positions(&cell.members), positions(&cell.inner));
    let built: BTreeSet<usize> = members.union(&inner).copied().collect();
    let is_rebuilt = |edge: &Edge| {
        let touches =
            inner.contains(&edge.source_position) || inner.contains(&edge.target_position);
        touches && built.contains(&edge.source_position) && built.contains(&edge.target_position)
    };
    let belongs = |edge: &&Edge| belongs(graph, cell, &members, edge) || is_rebuilt(edge);
    let edges: Vec<&Edge> = graph.edges().iter().filter(belongs).collect();
    let mut present = built.clone();
    for edge in &edges {
        present.extend([edge.source_position, edge.target_position]);
    }
    let nodes: Vec<Value> = present
        .iter()
        .filter_map(|position| Some((*position, graph.nodes().get(*position)?)))
        .map(
            |(position, node)| {
                if built.contains(&position) { node.to_value() } else { neighbour(node) }
            },
        )
        .collect();
    let edges: Vec<Value> = edges.into_iter().map(Edge::to_value).collect();
    json!({"nodes": nodes, "edges": edges})
}

fn belongs(graph: &Graph, cell: &Cell, members: &BTreeSet<usize>, edge: &Edge) -> bool {
    let from = members.contains(&edge.source_position);
    let to = members.contains(&edge.target_position);
    if to {
        return true;
    }
    if !from || cell.copied.contains(&edge.source) {
        return false;
    }
    let is_taken =
        cell.outputs.iter().any(|out| out.node == edge.source && out.output == edge.output);
    // Langflow computes what an unused tool would have taken, so its edge stays as well.
    is_taken || graph.is_orphan_tool(edge.target_position)
}

/// A node of which only the shape is needed.
fn neighbour(node: &Node) -> Value {
    let mut template: Map<String, Value> = node.template.clone();
    for (name, field) in &mut template {
        let is_code = name == "code" || json::text(field, "type") == Some("code");
        let is_secret = field.get("password").is_some_and(json::is_truthy);
        if (is_code || is_secret)
            && let Some(value) = field.get_mut("value")
        {
            *value = Value::String(String::new());
        }
    }
    node.to_value_with(template)
}
