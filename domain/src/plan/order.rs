//! Orders: of the nodes, of the cells, and what stands in a circle.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use super::group::{Group, homes};
use super::{Carries, Cell, Error, Input, OutputRef, Why};
use crate::flow::Graph;

/// Each node's rank in build order: producers first, ties by position.
pub(super) fn topological(graph: &Graph) -> Result<Vec<usize>, Error> {
    let count = graph.nodes().len();
    let mut next = vec![Vec::new(); count];
    for edge in graph.edges() {
        if let Some(list) = next.get_mut(edge.source_position) {
            list.push(edge.target_position);
        }
    }
    let keys: Vec<usize> = (0..count).collect();
    let sorted = sort(&next, &keys);
    if sorted.len() < count {
        let is_loop = |part: &Vec<usize>| match part.as_slice() {
            [only] => next.get(*only).is_some_and(|list| list.contains(only)),
            _ => true,
        };
        let looping: BTreeSet<usize> =
            components(&next).into_iter().filter(is_loop).flatten().collect();
        let name = |position: usize| graph.nodes().get(position).map(|node| node.id.clone());
        return Err(Error::Cycle { nodes: looping.into_iter().filter_map(name).collect() });
    }
    let mut ranks = vec![0; count];
    for (rank, position) in sorted.into_iter().enumerate() {
        if let Some(slot) = ranks.get_mut(position) {
            *slot = rank;
        }
    }
    Ok(ranks)
}

/// Kahn's order with ties by key; shorter than the input when something stands in a circle.
fn sort(next: &[Vec<usize>], keys: &[usize]) -> Vec<usize> {
    let mut waiting = vec![0_usize; next.len()];
    for target in next.iter().flatten() {
        if let Some(count) = waiting.get_mut(*target) {
            *count += 1;
        }
    }
    let key = |at: usize| Reverse((keys.get(at).copied().unwrap_or(at), at));
    let free = waiting.iter().enumerate().filter(|(_, count)| **count == 0);
    let mut ready: BinaryHeap<_> = free.map(|(at, _)| key(at)).collect();
    let mut sorted = Vec::with_capacity(next.len());
    while let Some(Reverse((_, at))) = ready.pop() {
        sorted.push(at);
        for target in next.get(at).into_iter().flatten() {
            if let Some(count) = waiting.get_mut(*target) {
                *count -= 1;
                if *count == 0 {
                    ready.push(key(*target));
                }
            }
        }
    }
    sorted
}

/// The strongly connected components (Kosaraju's two passes, without recursion because a flow may
/// be a chain of thousands of nodes).
pub(super) fn components(next: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut previous = vec![Vec::new(); next.len()];
    for (at, targets) in next.iter().enumerate() {
        for target in targets {
            if let Some(list) = previous.get_mut(*target) {
                list.push(at);
            }
        }
    }
    let mut seen = BTreeSet::new();
    let mut finished = Vec::with_capacity(next.len());
    for start in 0..next.len() {
        if !seen.insert(start) {
            continue;
        }
        let mut stack = vec![(start, 0)];
        while let Some((at, step)) = stack.pop() {
            match next.get(at).and_then(|targets| targets.get(step)) {
                Some(target) => {
                    stack.push((at, step + 1));
                    if seen.insert(*target) {
                        stack.push((*target, 0));
                    }
                }
                None => finished.push(at),
            }
        }
    }
    let mut assigned = BTreeSet::new();
    let mut parts = Vec::new();
    for start in finished.into_iter().rev() {
        if !assigned.insert(start) {
            continue;
        }
        let (mut part, mut stack) = (Vec::new(), vec![start]);
        while let Some(at) = stack.pop() {
            part.push(at);
            for source in previous.get(at).into_iter().flatten() {
                if assigned.insert(*source) {
                    stack.push(*source);
                }
            }
        }
        part.sort_unstable();
        parts.push(part);
    }
    parts
}

/// Numbers the groups so that a cell depends only on cells before it, ties by the position of
/// their first primary node, and writes them down as cells.
pub(super) fn cells(
    graph: &Graph,
    carried: &[Carries],
    groups: Vec<Group>,
    ranks: &[usize],
) -> Vec<Cell> {
    let homes = homes(&groups);
    let crossing: Vec<Vec<OutputRefAt>> =
        groups.iter().map(|group| inputs(graph, carried, group)).collect();
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
    let writer = Writer { graph, carried, ranks, taken };
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

/// The data that a group takes from outside, in edge order, each once.
fn inputs(graph: &Graph, carried: &[Carries], group: &Group) -> Vec<OutputRefAt> {
    let mut seen = BTreeSet::new();
    let mut list = Vec::new();
    for (edge, carries) in graph.edges().iter().zip(carried) {
        let crosses = group.has(edge.target_position) && !group.has(edge.source_position);
        if crosses && !carries.is_live() && seen.insert((edge.source_position, &edge.output)) {
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
    carried: &'a [Carries],
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
        let depends_on: BTreeSet<u32> = inputs.iter().map(|input| input.cell).collect();
        Cell {
            index,
            id: last.and_then(|position| self.name(*position)).unwrap_or_default(),
            members: in_order(group.primaries.union(&group.copies).copied().collect()),
            copied: in_order(group.copies.iter().copied().collect()),
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
        for edge in self.graph.edges() {
            let key = (edge.source_position, edge.output.as_str());
            let leaves =
                group.primaries.contains(&edge.source_position) && self.taken.contains(&key);
            if leaves && seen.insert(key) {
                list.push(OutputRef { node: edge.source.clone(), output: edge.output.clone() });
            }
        }
        list
    }

    /// The members that take the object of a producer.
    fn consumers(&self, group: &Group, position: usize) -> Vec<String> {
        let mut list: Vec<String> = Vec::new();
        for (edge, carries) in self.graph.edges().iter().zip(self.carried) {
            let takes = edge.source_position == position
                && carries.is_live()
                && group.has(edge.target_position);
            if takes && !list.contains(&edge.target) {
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
        for nodes in &group.entangled {
            let nodes = nodes.iter().filter_map(|position| self.name(*position)).collect();
            reasons.push(Why::Entangled { nodes });
        }
        reasons
    }
}
