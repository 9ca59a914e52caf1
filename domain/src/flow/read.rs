//! From the `data` of an export to a checked graph.

use std::collections::HashMap;

use serde_json::Value;

use super::address::addresses;
use super::edge::Ends;
use super::error::{Issue, Issues};
use super::flatten::{Flat, flatten, is_group};
use super::{Edge, Graph, Node, json};
use crate::limits::{FLOW_EDGES_MAX, FLOW_NODES_MAX};

pub(super) fn graph(data: &Value) -> Result<Graph, Issues> {
    let mut issues = Issues::default();
    let data = data.get("data").filter(|inner| inner.is_object()).unwrap_or(data);
    let nodes = list(data, "nodes", &mut issues);
    let edges = list(data, "edges", &mut issues);
    if nodes.len() > FLOW_NODES_MAX {
        issues.push(Issue::TooManyNodes);
    }
    if edges.len() > FLOW_EDGES_MAX {
        issues.push(Issue::TooManyEdges);
    }
    if !issues.is_empty() {
        return Err(issues);
    }
    let addresses = addresses(nodes);
    let flat = flatten(nodes.to_vec(), edges.to_vec(), &mut issues);
    let graph = build(flat, &mut issues);
    if !issues.is_empty() {
        return Err(issues);
    }
    Ok(Graph { addresses, ..graph })
}

fn list<'a>(data: &'a Value, field: &'static str, issues: &mut Issues) -> &'a [Value] {
    match data.get(field).and_then(Value::as_array) {
        Some(list) => list,
        None => {
            issues.push(Issue::Shape { field, expected: "an array" });
            &[]
        }
    }
}

fn build(flat: Flat, issues: &mut Issues) -> Graph {
    let mut nodes: Vec<Node> = Vec::with_capacity(flat.nodes.len());
    let mut positions = HashMap::with_capacity(flat.nodes.len());
    // Nodes that cannot be read still count as existing, so that one broken node does not also
    // report every edge that touches it.
    let mut broken = Vec::new();
    for (index, value) in flat.nodes.into_iter().enumerate() {
        if json::text(&value, "type") == Some("noteNode") || is_group(&value) {
            continue;
        }
        let id = json::text(&value, "id").map(str::to_owned);
        match Node::read(index, value) {
            Ok(node) if positions.contains_key(&node.id) => {
                issues.push(Issue::DuplicateNode { node: node.id });
            }
            Ok(node) => {
                positions.insert(node.id.clone(), nodes.len());
                nodes.push(node);
            }
            Err(issue) => {
                issues.push(issue);
                broken.extend(id);
            }
        }
    }
    if nodes.is_empty() && broken.is_empty() && issues.is_empty() {
        issues.push(Issue::NoNodes);
    }
    let edges = read_edges(flat.edges, &nodes, &positions, &broken, issues);
    let (incoming, outgoing) = adjacency(&edges, nodes.len());
    Graph { nodes, edges, positions, incoming, outgoing, addresses: Vec::new() }
}

fn read_edges(
    raw: Vec<Value>,
    nodes: &[Node],
    positions: &HashMap<String, usize>,
    broken: &[String],
    issues: &mut Issues,
) -> Vec<Edge> {
    let ends = Ends { nodes, positions };
    let mut edges: Vec<Edge> = Vec::with_capacity(raw.len());
    let mut by_target: HashMap<usize, Vec<usize>> = HashMap::new();
    let is_broken = |value: &Value, end: &str| {
        json::text(value, end).is_some_and(|id| broken.iter().any(|broken| broken == id))
    };
    for (index, value) in raw.into_iter().enumerate() {
        if is_broken(&value, "source") || is_broken(&value, "target") {
            continue;
        }
        let Some(edge) = ends.read(index, value, issues) else {
            continue;
        };
        // lfx keeps edges in a set: a connection that was drawn twice counts once.
        let known = by_target.entry(edge.target_position).or_default();
        if known.iter().filter_map(|index| edges.get(*index)).any(|other| edge.is_same(other)) {
            continue;
        }
        known.push(edges.len());
        edges.push(edge);
    }
    edges
}

fn adjacency(edges: &[Edge], nodes_count: usize) -> (Vec<Vec<usize>>, Vec<Vec<usize>>) {
    let mut incoming = vec![Vec::new(); nodes_count];
    let mut outgoing = vec![Vec::new(); nodes_count];
    for (index, edge) in edges.iter().enumerate() {
        if let Some(list) = incoming.get_mut(edge.target_position) {
            list.push(index);
        }
        if let Some(list) = outgoing.get_mut(edge.source_position) {
            list.push(index);
        }
    }
    (incoming, outgoing)
}
