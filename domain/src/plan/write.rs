//! Writes the groups down as cells, in an order in which they can run.

use std::collections::{BTreeMap, BTreeSet};

use super::cycle::Cycle;
use super::group::{Because, Group, Join, homes};
use super::order::sort;
use super::{Carries, Cell, Driver, Input, OutputRef, Why};
use crate::flow::{Edge, Graph};

/// Numbers the groups so that a cell depends only on cells before it, ties by the position of
/// their first primary node, and writes them down as cells.
pub(super) fn cells(
    graph: &Graph,
    carried: &[Carries],
    groups: &[Group],
    ranks: &[usize],
) -> Vec<Cell> {
    let wires = Wires::new(graph, carried);
    let homes = homes(groups);
    let crossing: Vec<Vec<OutputRefAt>> =
        groups.iter().map(|group| inputs(&wires, group)).collect();
    let mut next = vec![Vec::new(); groups.len()];
    for (index, inputs) in crossing.iter().enumerate() {
        let providers: BTreeSet<usize> =
            inputs.iter().filter_map(|input| homes.get(&input.position).copied()).collect();
        for provider in providers {
            if let Some(list) = next.get_mut(provider) {
                list.push(index);
            }
        }
    }
    let first = |group: &Group| group.primaries.first().copied().unwrap_or(usize::MAX);
    let keys: Vec<usize> = groups.iter().map(first).collect();
    let sorted = sort(&next, &keys);
    let numbers: BTreeMap<usize, u32> =
        (0_u32..).zip(&sorted).map(|(number, group)| (*group, number)).collect();
    let number = |position: &usize| numbers.get(homes.get(position)?).copied();
    let taken = crossing.iter().flatten();
    let taken = taken.map(|input| (input.position, input.output.as_str())).collect();
    let writer = Writer { graph, wires: &wires, ranks, taken };
    let write = |group: usize| {
        let index = *numbers.get(&group)?;
        let inputs = crossing.get(group)?.iter().filter_map(|input| {
            let (node, output) = (input.node.clone(), input.output.clone());
            Some(Input { node, output, cell: number(&input.position)? })
        });
        Some(writer.cell(groups.get(group)?, index, inputs.collect()))
    };
    sorted.iter().filter_map(|group| write(*group)).collect()
}

struct OutputRefAt {
    position: usize,
    node: String,
    output: String,
}

/// The edges at each node with what they carry, so that a cell costs what its own edges cost.
struct Wires<'a> {
    incoming: Vec<Vec<(&'a Edge, &'a Carries)>>,
    outgoing: Vec<Vec<(&'a Edge, &'a Carries)>>,
}

impl<'a> Wires<'a> {
    fn new(graph: &'a Graph, carried: &'a [Carries]) -> Self {
        let mut incoming = vec![Vec::new(); graph.nodes().len()];
        let mut outgoing = incoming.clone();
        for wire in graph.edges().iter().zip(carried) {
            if let Some(list) = incoming.get_mut(wire.0.target_position) {
                list.push(wire);
            }
            if let Some(list) = outgoing.get_mut(wire.0.source_position) {
                list.push(wire);
            }
        }
        Self { incoming, outgoing }
    }

    fn into(&self, position: usize) -> impl Iterator<Item = &(&'a Edge, &'a Carries)> {
        self.incoming.get(position).into_iter().flatten()
    }

    fn out_of(&self, position: usize) -> impl Iterator<Item = &(&'a Edge, &'a Carries)> {
        self.outgoing.get(position).into_iter().flatten()
    }
}

/// The data that a group takes from outside, each once, by the position of the taker.
fn inputs(wires: &Wires<'_>, group: &Group) -> Vec<OutputRefAt> {
    let mut seen = BTreeSet::new();
    let mut list = Vec::new();
    for (edge, carries) in
        group.primaries.union(&group.copies).flat_map(|position| wires.into(*position))
    {
        let crosses = !carries.is_live() && !group.has(edge.source_position);
        if crosses && seen.insert((edge.source_position, &edge.output)) {
            list.push(OutputRefAt {
                position: edge.source_position,
                node: edge.source.clone(),
                output: edge.output.clone(),
            });
        }
    }
    list
}

/// Writes groups down as cells.
struct Writer<'a> {
    graph: &'a Graph,
    wires: &'a Wires<'a>,
    ranks: &'a [usize],
    /// The outputs that some group takes from another.
    taken: BTreeSet<(usize, &'a str)>,
}

impl Writer<'_> {
    fn cell(&self, group: &Group, index: u32, inputs: Vec<Input>) -> Cell {
        let rank = |position: &usize| self.ranks.get(*position).copied();
        let in_order = |mut positions: Vec<usize>| {
            positions.sort_by_key(rank);
            positions.iter().filter_map(|position| self.name(*position)).collect::<Vec<_>>()
        };
        let last = group.primaries.iter().max_by_key(|position| rank(position));
        let main = cycles(group).map(|cycle| cycle.entry).max_by_key(rank).or(last.copied());
        let names = |positions: &BTreeSet<usize>| in_order(positions.iter().copied().collect());
        let depends_on: BTreeSet<u32> = inputs.iter().map(|input| input.cell).collect();
        Cell {
            index,
            id: main.and_then(|position| self.name(position)).unwrap_or_default(),
            members: names(&group.primaries.union(&group.copies).copied().collect()),
            copied: names(&group.copies),
            inner: names(&inner(group)),
            driver: driver(group),
            depends_on: depends_on.into_iter().collect(),
            inputs,
            outputs: self.outputs(group),
            why: self.why(group),
        }
    }

    fn name(&self, position: usize) -> Option<String> {
        self.graph.nodes().get(position).map(|node| node.id.clone())
    }

    /// What others take. Even an edge between two members may stand for such an output: its taker
    /// may be a constructor that other cells copy.
    fn outputs(&self, group: &Group) -> Vec<OutputRef> {
        let mut seen = BTreeSet::new();
        let mut list = Vec::new();
        for (edge, _) in group.primaries.iter().flat_map(|position| self.wires.out_of(*position)) {
            let key = (edge.source_position, edge.output.as_str());
            if self.taken.contains(&key) && seen.insert(key) {
                list.push(OutputRef { node: edge.source.clone(), output: edge.output.clone() });
            }
        }
        list
    }

    /// The members that take the object of a producer.
    fn consumers(&self, group: &Group, position: usize) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let mut list = Vec::new();
        for (edge, carries) in self.wires.out_of(position) {
            let takes = carries.is_live() && group.has(edge.target_position);
            if takes && seen.insert(edge.target_position) {
                list.push(edge.target.clone());
            }
        }
        list
    }

    fn why(&self, group: &Group) -> Vec<Why> {
        let mut reasons = Vec::new();
        for position in &group.copies {
            let consumers = self.consumers(group, *position);
            reasons.extend(self.name(*position).map(|node| Why::Copied { node, consumers }));
        }
        for (position, because) in &group.shared {
            let (consumers, because) = (self.consumers(group, *position), because.clone());
            let reason = |node| Why::Shared { node, consumers, because };
            reasons.extend(self.name(*position).map(reason));
        }
        for position in &group.standalone {
            reasons.extend(self.name(*position).map(|node| Why::Standalone { node }));
        }
        for join in &group.joins {
            match &join.because {
                Because::Entangled => {
                    reasons.push(Why::Entangled { nodes: self.names(&join.nodes) });
                }
                Because::Cycle(cycle) => reasons.extend(self.why_cycle(cycle)),
                Because::Chain => reasons.push(Why::Chain { nodes: self.names(&join.nodes) }),
                Because::Run => reasons.push(Why::Run),
                Because::Whole(because) => reasons.push(Why::Whole { because: because.clone() }),
            }
        }
        reasons
    }

    fn why_cycle(&self, cycle: &Cycle) -> Vec<Why> {
        let mut reasons = Vec::new();
        for (node, rebuilt) in &cycle.self_driven {
            let node = self.name(*node).unwrap_or_default();
            let rebuilt = self.names(rebuilt);
            let body = self.names(&cycle.nodes).into_iter().filter(|name| *name != node).collect();
            reasons.push(Why::Loop { node, body, rebuilt });
        }
        if reasons.is_empty() {
            reasons.push(Why::Cycle { nodes: self.names(&cycle.nodes) });
        }
        if !cycle.every_turn.is_empty() {
            reasons.push(Why::EveryTurn { nodes: self.names(&cycle.every_turn) });
        }
        reasons
    }

    fn names(&self, positions: &BTreeSet<usize>) -> Vec<String> {
        positions.iter().filter_map(|position| self.name(*position)).collect()
    }
}

fn cycles(group: &Group) -> impl Iterator<Item = &Cycle> {
    group.joins.iter().filter_map(|join| match &join.because {
        Because::Cycle(cycle) => Some(cycle),
        Because::Entangled | Because::Chain | Because::Run | Because::Whole(_) => None,
    })
}

fn driver(group: &Group) -> Driver {
    let is_driven = |join: &Join| match join.because {
        Because::Cycle(_) | Because::Run | Because::Whole(_) => true,
        Because::Entangled | Because::Chain => false,
    };
    if group.joins.iter().any(is_driven) { Driver::Graph } else { Driver::Order }
}

/// What Loops of a group build anew for every item although other cells build it for the run.
fn inner(group: &Group) -> BTreeSet<usize> {
    let rebuilt = cycles(group).flat_map(|cycle| &cycle.self_driven);
    let rebuilt = rebuilt.flat_map(|(_, nodes)| nodes.iter().copied());
    rebuilt.filter(|position| !group.has(*position)).collect()
}
