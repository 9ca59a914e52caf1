//! Cells that join their neighbour's container under the isolation `chain`.

use std::collections::{BTreeMap, BTreeSet};

use super::Carries;
use super::group::{Because, Group, Join, dependencies, homes};
use super::needs::needs_of;
use super::stock;
use crate::flow::{Edge, Graph, Node};
use crate::pause::asks_a_person;

/// Joins groups along data edges where every node of both is Langflow's own and needs no secret.
/// Two groups with another way between them stay apart: what lies on that way would have to move
/// in as well.
pub(super) fn join<'e>(
    graph: &Graph,
    groups: Vec<Group>,
    edges: impl Iterator<Item = (&'e Edge, &'e Carries)>,
) -> Vec<Group> {
    let harmless: Vec<bool> = groups.iter().map(|group| is_harmless(graph, group)).collect();
    let is_harmless = |index: usize| harmless.get(index).copied().unwrap_or_default();
    let mut links: Vec<(usize, usize)> = dependencies(&groups, &homes(&groups), edges)
        .into_iter()
        .map(|(taker, giver)| (giver, taker))
        .collect();
    links.sort_unstable();
    let mut together: Vec<usize> = (0..groups.len()).collect();
    for (giver, taker) in links.clone() {
        if is_harmless(giver) && is_harmless(taker) {
            let of = |index: usize| together.get(index).copied().unwrap_or(index);
            let (giver, taker) = (of(giver), of(taker));
            let mapped: BTreeSet<(usize, usize)> =
                links.iter().map(|(from, to)| (of(*from), of(*to))).collect();
            if giver != taker && !has_detour(&mapped, giver, taker) {
                for slot in together.iter_mut().filter(|slot| **slot == taker) {
                    *slot = giver;
                }
            }
        }
    }
    merged(groups, &together)
}

fn is_harmless(graph: &Graph, group: &Group) -> bool {
    let mut nodes = group.primaries.union(&group.copies).filter_map(|at| graph.nodes().get(*at));
    let turns = group.joins.iter().any(|join| matches!(join.because, Because::Cycle(_)));
    let is_harmless = |node: &Node| {
        stock::is_stock(node)
            // What ran before a question must not run again after the answer.
            && !asks_a_person(node)
            && !needs_of(graph, [node.id.as_str()]).any_secret()
    };
    !turns && nodes.all(is_harmless)
}

/// Whether the second can be reached from the first through others.
fn has_detour(links: &BTreeSet<(usize, usize)>, from: usize, to: usize) -> bool {
    let behind = |at: usize| links.range((at, 0)..=(at, usize::MAX)).map(|(_, next)| *next);
    let mut stack: Vec<usize> = behind(from).filter(|next| *next != to && *next != from).collect();
    let mut seen = BTreeSet::new();
    while let Some(at) = stack.pop() {
        if at == to {
            return true;
        }
        if seen.insert(at) {
            stack.extend(behind(at));
        }
    }
    false
}

fn merged(groups: Vec<Group>, together: &[usize]) -> Vec<Group> {
    let mut sets: BTreeMap<usize, Vec<Group>> = BTreeMap::new();
    for (group, set) in groups.into_iter().zip(together) {
        sets.entry(*set).or_default().push(group);
    }
    sets.into_values().map(one).collect()
}

fn one(groups: Vec<Group>) -> Group {
    let chained = groups.len() > 1;
    let mut all = Group::default();
    for group in groups {
        all.primaries.extend(group.primaries);
        all.copies.extend(group.copies);
        all.shared.extend(group.shared);
        all.standalone.extend(group.standalone);
        all.joins.extend(group.joins);
    }
    all.copies.retain(|copy| !all.primaries.contains(copy));
    if chained {
        all.joins.push(Join { nodes: all.primaries.clone(), because: Because::Chain });
    }
    all
}
