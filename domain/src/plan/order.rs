//! Orders, and what stands in a circle.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use super::cycle::Cycle;
use crate::flow::Graph;

/// The nodes to which each node gives something.
pub(super) fn successors(graph: &Graph) -> Vec<Vec<usize>> {
    let mut next = vec![Vec::new(); graph.nodes().len()];
    for edge in graph.edges() {
        if let Some(list) = next.get_mut(edge.source_position) {
            list.push(edge.target_position);
        }
    }
    next
}

/// Each node's rank in build order: producers first, ties by position. The nodes of a cycle come
/// together, from its entry on.
pub(super) fn topological(graph: &Graph, cycles: &[Cycle]) -> Vec<usize> {
    let next = successors(graph);
    // A cycle is represented by its first node.
    let mut part: Vec<usize> = (0..next.len()).collect();
    for cycle in cycles {
        let first = cycle.nodes.first().copied().unwrap_or_default();
        for position in &cycle.nodes {
            if let Some(slot) = part.get_mut(*position) {
                *slot = first;
            }
        }
    }
    let of = |position: usize| part.get(position).copied().unwrap_or(position);
    let mut joined = vec![Vec::new(); next.len()];
    for (at, targets) in next.iter().enumerate() {
        let outside = targets.iter().map(|target| of(*target)).filter(|target| *target != of(at));
        if let Some(list) = joined.get_mut(of(at)) {
            list.extend(outside);
        }
    }
    let keys: Vec<usize> = (0..next.len()).collect();
    let mut ranks = vec![0; next.len()];
    let parts = sort(&joined, &keys).into_iter().filter(|position| of(*position) == *position);
    let ordered = parts.flat_map(|position| {
        let cycle = cycles.iter().find(|cycle| cycle.nodes.contains(&position));
        cycle.map_or_else(|| vec![position], |cycle| from_entry(&next, cycle))
    });
    for (rank, position) in ordered.enumerate() {
        if let Some(slot) = ranks.get_mut(position) {
            *slot = rank;
        }
    }
    ranks
}

/// A cycle in the order of its first turn, as far as cutting it at its entry gives one.
fn from_entry(next: &[Vec<usize>], cycle: &Cycle) -> Vec<usize> {
    let nodes: Vec<usize> = cycle.nodes.iter().copied().collect();
    let index = |position: &usize| nodes.binary_search(position).ok();
    let inside = |position: &usize| {
        let targets = next.get(*position).into_iter().flatten();
        targets.filter(|target| **target != cycle.entry).filter_map(index).collect()
    };
    let edges: Vec<Vec<usize>> = nodes.iter().map(inside).collect();
    let first = index(&cycle.entry);
    let keys: Vec<usize> = (0..nodes.len())
        .map(|at| if Some(at) == first { 0 } else { at.saturating_add(1) })
        .collect();
    let sorted = sort(&edges, &keys);
    let rest = (0..nodes.len()).filter(|at| !sorted.contains(at));
    sorted.iter().copied().chain(rest).filter_map(|at| nodes.get(at).copied()).collect()
}

/// Kahn's order with ties by key; shorter than the input when something stands in a circle.
pub(super) fn sort(next: &[Vec<usize>], keys: &[usize]) -> Vec<usize> {
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
