//! Nodes that stand in a circle, and what belongs to them.
//!
//! lfx runs a circle as one graph: what is built next depends on what was built before. So its
//! nodes are one cell. Two kinds are told apart. A Loop of today runs its body itself, in a copy
//! of the graph that it makes for each item; a Loop of an older export, or a router that leads
//! back, is driven by lfx's scheduler turn after turn.

use std::collections::BTreeSet;

use super::order::{components, successors};
use crate::flow::{Edge, Graph};

/// What the code of a Loop calls that runs its body itself.
const BODY_RUNNERS: [&str; 2] = ["execute_loop_body", "create_subgraph"];

/// What the code of a component calls that closes one of its outputs, now and then.
const CLOSERS: [&str; 3] = ["stop(", "mark_branch", "exclude_branch"];

/// A strongly connected component of the graph, by position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cycle {
    /// The Loop; in a cycle without one, where it is entered.
    pub(super) entry: usize,
    /// The nodes of the circle.
    pub(super) nodes: BTreeSet<usize>,
    /// Nodes behind it that lfx builds again at every turn.
    pub(super) every_turn: BTreeSet<usize>,
    /// Loops that run their body themselves, with the nodes outside the circle that they build
    /// anew for every item.
    pub(super) self_driven: Vec<(usize, BTreeSet<usize>)>,
}

/// Every cycle of the graph.
pub(super) fn find(graph: &Graph) -> Vec<Cycle> {
    let next = successors(graph);
    let is_cycle = |part: &Vec<usize>| match part.as_slice() {
        [only] => next.get(*only).is_some_and(|list| list.contains(only)),
        _ => true,
    };
    let parts = components(&next).into_iter().filter(is_cycle);
    parts.map(|part| Cycle::new(graph, part.into_iter().collect())).collect()
}

impl Cycle {
    fn new(graph: &Graph, nodes: BTreeSet<usize>) -> Self {
        let is_loop = |position: &usize| {
            let mut incoming = graph.incoming(*position);
            incoming.any(|edge| edge.is_feedback && nodes.contains(&edge.source_position))
        };
        let loops: Vec<usize> = nodes.iter().copied().filter(is_loop).collect();
        let (mut bodies, mut self_driven) = (BTreeSet::new(), Vec::new());
        for position in &loops {
            if runs_its_body(graph, *position) {
                let body = body(graph, *position);
                self_driven.push((*position, body.difference(&nodes).copied().collect()));
                bodies.extend(body);
            }
        }
        let entry = entry(graph, &nodes, &loops);
        let every_turn = every_turn(graph, &nodes, &bodies);
        Self { entry, nodes, every_turn, self_driven }
    }

    /// Everything that must share a container.
    pub(super) fn all(&self) -> BTreeSet<usize> {
        self.nodes.union(&self.every_turn).copied().collect()
    }
}

/// A node that is entered from outside goes before others, a Loop before everything.
fn entry(graph: &Graph, nodes: &BTreeSet<usize>, loops: &[usize]) -> usize {
    let is_entered = |position: &&usize| {
        graph.incoming(**position).any(|edge| !nodes.contains(&edge.source_position))
    };
    let pick = |list: &mut dyn Iterator<Item = &usize>| {
        let list: Vec<&usize> = list.collect();
        list.iter().copied().find(is_entered).or(list.first().copied()).copied()
    };
    pick(&mut loops.iter()).or_else(|| pick(&mut nodes.iter())).unwrap_or_default()
}

fn runs_its_body(graph: &Graph, position: usize) -> bool {
    let code = graph.nodes().get(position).and_then(|node| node.code()).unwrap_or_default();
    BODY_RUNNERS.iter().any(|call| code.contains(call))
}

/// What a Loop builds for each item, by lfx's rule: what lies between its item and the node that
/// leads back, and all that those need, whether or not it was built before.
fn body(graph: &Graph, position: usize) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    for back in graph.incoming(position).filter(|edge| edge.is_feedback) {
        let starts = graph.outgoing(position).filter(|edge| edge.output == back.field);
        let mut stack: Vec<usize> = starts.map(|edge| edge.target_position).collect();
        while let Some(at) = stack.pop() {
            if found.insert(at) && at != back.source_position {
                stack.extend(graph.outgoing(at).map(|edge| edge.target_position));
            }
        }
    }
    let mut stack: Vec<usize> = found.iter().copied().collect();
    while let Some(at) = stack.pop() {
        let sources = graph.incoming(at).map(|edge| edge.source_position);
        stack.extend(sources.filter(|source| *source != position && found.insert(*source)));
    }
    found.remove(&position);
    found
}

/// Whoever takes an output that is there at every turn gets a new value each time, and so does
/// everything behind. That is an output that also goes on in the circle, and any output of a node
/// that closes none. Another one is taken for an exit: a router opens it once. What a Loop runs
/// itself does not leave its body.
fn every_turn(graph: &Graph, nodes: &BTreeSet<usize>, bodies: &BTreeSet<usize>) -> BTreeSet<usize> {
    let goes_on = |edge: &Edge| {
        graph
            .outgoing(edge.source_position)
            .any(|other| other.output == edge.output && nodes.contains(&other.target_position))
    };
    let is_behind =
        |position: &usize| !graph.is_orphan_tool(*position) && !nodes.contains(position);
    let turning = nodes.iter().filter(|position| !bodies.contains(position));
    let leaving = turning
        .flat_map(|position| graph.outgoing(*position))
        .filter(|edge| goes_on(edge) || !closes_outputs(graph, edge.source_position));
    let mut stack: Vec<usize> =
        leaving.map(|edge| edge.target_position).filter(|position| is_behind(position)).collect();
    let mut found = BTreeSet::new();
    while let Some(at) = stack.pop() {
        if found.insert(at) {
            let targets = graph.outgoing(at).map(|edge| edge.target_position);
            stack.extend(targets.filter(|position| is_behind(position)));
        }
    }
    found
}

/// Whether a node may close an output; one whose code is not known may. A Loop that runs its body
/// itself is done once.
fn closes_outputs(graph: &Graph, position: usize) -> bool {
    let code = graph.nodes().get(position).and_then(|node| node.code());
    let mut calls = CLOSERS.iter().chain(&BODY_RUNNERS);
    code.is_none_or(|code| calls.any(|call| code.contains(call)))
}
