//! Orders, and what stands in a circle.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use super::Error;
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
