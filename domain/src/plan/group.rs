//! Which nodes share a container.
//!
//! The nodes of a cycle are together from the start. Then three rules feed each other: live edges
//! pull producers in, a producer that must run once pulls its consumers together, and cells that
//! would wait for each other become one. Each round either merges cells or turns a copied producer
//! into a shared one, so the rounds come to an end.

use std::collections::{BTreeMap, BTreeSet};

use super::classify::sharing;
use super::cycle::Cycle;
use super::order::components;
use super::{Carries, Error, PLAN_MEMBERS_MAX, Sharing, Whole};
use crate::flow::{Edge, Graph};

/// The nodes of one cell, by position.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    /// Nodes that only this group builds.
    pub(super) primaries: BTreeSet<usize>,
    /// Constructors copied in.
    pub(super) copies: BTreeSet<usize>,
    /// Shared producers among the primaries, and why.
    pub(super) shared: BTreeMap<usize, Sharing>,
    /// Constructors among the primaries that are here for their data.
    pub(super) standalone: BTreeSet<usize>,
    /// Why nodes are here that no live edge holds together.
    pub(super) joins: Vec<Join>,
}

/// Nodes that share a group.
#[derive(Clone, Debug)]
pub(super) struct Join {
    pub(super) nodes: BTreeSet<usize>,
    pub(super) because: Because,
}

/// Why nodes share a group.
#[derive(Clone, Debug)]
pub(super) enum Because {
    /// Their groups waited for each other.
    Entangled,
    /// They stand in this cycle or hang on it.
    Cycle(Cycle),
    /// They are neighbours, and nobody but Langflow wrote them.
    Chain,
    /// The run is not to be split.
    Run,
    /// The flow cannot be split.
    Whole(Whole),
}

impl Group {
    pub(super) fn has(&self, position: usize) -> bool {
        self.primaries.contains(&position) || self.copies.contains(&position)
    }
}

/// Forms the groups of a graph with these cycles.
pub(super) fn form(
    graph: &Graph,
    carried: &[Carries],
    cycles: &[Cycle],
) -> Result<Vec<Group>, Error> {
    let mut former = Former::new(graph, carried, cycles);
    loop {
        let groups = former.round()?;
        let taken_twice = former.taken_twice(&groups);
        if !taken_twice.is_empty() {
            former.shared.extend(taken_twice);
            continue;
        }
        let entangled = former.entangled(&groups);
        if entangled.is_empty() {
            return Ok(groups);
        }
        let join = |nodes| Join { nodes, because: Because::Entangled };
        former.joins.extend(entangled.into_iter().map(join));
    }
}

/// Everything that a run may build, in one group.
pub(super) fn everything(graph: &Graph, because: Because) -> Vec<Group> {
    let nodes: BTreeSet<usize> =
        (0..graph.nodes().len()).filter(|position| !graph.is_orphan_tool(*position)).collect();
    if nodes.is_empty() {
        return Vec::new();
    }
    let joins = vec![Join { nodes: nodes.clone(), because }];
    vec![Group { primaries: nodes, joins, ..Group::default() }]
}

struct Former<'a> {
    graph: &'a Graph,
    carried: &'a [Carries],
    /// Producers with a live edge to a node that is built.
    producers: BTreeSet<usize>,
    /// Nodes from which a node that is built takes data.
    givers: BTreeSet<usize>,
    shared: BTreeMap<usize, Sharing>,
    joins: Vec<Join>,
}

impl<'a> Former<'a> {
    fn new(graph: &'a Graph, carried: &'a [Carries], cycles: &[Cycle]) -> Self {
        let (mut producers, mut givers) = (BTreeSet::new(), BTreeSet::new());
        let mut live: BTreeMap<usize, Vec<&Carries>> = BTreeMap::new();
        for (edge, carries) in graph.edges().iter().zip(carried) {
            if graph.is_orphan_tool(edge.target_position) {
                continue;
            }
            if carries.is_live() {
                producers.insert(edge.source_position);
                live.entry(edge.source_position).or_default().push(carries);
            } else {
                givers.insert(edge.source_position);
            }
        }
        let turns = |position| cycles.iter().any(|cycle| cycle.nodes.contains(position));
        let shared = live
            .iter()
            .filter_map(|(position, live)| {
                let sharing = sharing(graph, *position, live, givers.contains(position));
                Some((*position, sharing.or(turns(position).then_some(Sharing::Turns))?))
            })
            .collect();
        let join =
            |cycle: &Cycle| Join { nodes: cycle.all(), because: Because::Cycle(cycle.clone()) };
        let joins = cycles.iter().map(join).collect();
        Self { graph, carried, producers, givers, shared, joins }
    }

    /// Whether the node is built by one cell only.
    fn is_primary(&self, position: usize) -> bool {
        !self.producers.contains(&position)
            || self.shared.contains_key(&position)
            || self.givers.contains(&position)
    }

    /// Edges between nodes that are built, with what they carry.
    fn edges(&self) -> impl Iterator<Item = (&'a Edge, &'a Carries)> {
        let graph = self.graph;
        let edges = graph.edges().iter().zip(self.carried);
        edges.filter(move |(edge, _)| !graph.is_orphan_tool(edge.target_position))
    }

    fn round(&self) -> Result<Vec<Group>, Error> {
        let count = self.graph.nodes().len();
        let mut sets = Sets::new(count);
        let mut copies: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        let live = self.live_producers();
        let roots: Vec<usize> = (0..count)
            .filter(|position| !self.graph.is_orphan_tool(*position) && self.is_primary(*position))
            .collect();
        let mut members_count = roots.len();
        for root in &roots {
            let copied = copies.entry(*root).or_default();
            let mut stack = vec![*root];
            while let Some(position) = stack.pop() {
                for producer in live.get(&position).into_iter().flatten() {
                    if self.shared.contains_key(producer) {
                        sets.union(*root, *producer);
                    } else if copied.insert(*producer) {
                        stack.push(*producer);
                        members_count += 1;
                    }
                    if members_count > PLAN_MEMBERS_MAX {
                        return Err(Error::TooManyMembers);
                    }
                }
            }
        }
        for join in &self.joins {
            let roots = join.nodes.iter().filter(|position| self.is_primary(**position));
            let roots: Vec<usize> = roots.copied().collect();
            for pair in roots.windows(2) {
                if let [one, other] = pair {
                    sets.union(*one, *other);
                }
            }
        }
        Ok(self.collect(&roots, &mut sets, &copies))
    }

    fn live_producers(&self) -> BTreeMap<usize, Vec<usize>> {
        let mut live: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (edge, carries) in self.edges() {
            if carries.is_live() {
                live.entry(edge.target_position).or_default().push(edge.source_position);
            }
        }
        live
    }

    fn collect(
        &self,
        roots: &[usize],
        sets: &mut Sets,
        copies: &BTreeMap<usize, BTreeSet<usize>>,
    ) -> Vec<Group> {
        let mut groups: BTreeMap<usize, Group> = BTreeMap::new();
        for root in roots {
            let group = groups.entry(sets.find(*root)).or_default();
            group.primaries.insert(*root);
            group.copies.extend(copies.get(root).into_iter().flatten());
            if let Some(sharing) = self.shared.get(root) {
                group.shared.insert(*root, sharing.clone());
            } else if self.producers.contains(root) {
                group.standalone.insert(*root);
            }
        }
        for join in &self.joins {
            let root = join.nodes.iter().find(|position| self.is_primary(**position));
            let group = root.map(|root| sets.find(*root));
            if let Some(group) = group.and_then(|group| groups.get_mut(&group)) {
                group.joins.push(join.clone());
            }
        }
        for group in groups.values_mut() {
            let primaries = std::mem::take(&mut group.primaries);
            group.copies.retain(|copy| !primaries.contains(copy));
            group.primaries = primaries;
        }
        groups.into_values().collect()
    }

    /// Constructors whose copy stands next to a node that takes their data. The data would have
    /// to be computed here and, for others, elsewhere: twice, and perhaps differently.
    fn taken_twice(&self, groups: &[Group]) -> Vec<(usize, Sharing)> {
        let mut copiers: BTreeMap<usize, Vec<&Group>> = BTreeMap::new();
        for group in groups {
            for copy in &group.copies {
                copiers.entry(*copy).or_default().push(group);
            }
        }
        let mut found = Vec::new();
        for (edge, _) in self.edges().filter(|(_, carries)| !carries.is_live()) {
            let mut groups = copiers.get(&edge.source_position).into_iter().flatten();
            if groups.any(|group| group.has(edge.target_position)) {
                let consumer = edge.target.clone();
                found.push((edge.source_position, Sharing::TakenTwice { consumer }));
            }
        }
        found
    }

    /// Groups that wait for each other: one set of primaries for each such cluster.
    fn entangled(&self, groups: &[Group]) -> Vec<BTreeSet<usize>> {
        let homes = homes(groups);
        let mut next = vec![Vec::new(); groups.len()];
        for (index, provider) in dependencies(groups, &homes, self.edges()) {
            if let Some(list) = next.get_mut(provider) {
                list.push(index);
            }
        }
        let clusters = components(&next).into_iter().filter(|cluster| cluster.len() > 1);
        let primaries = |index: usize| groups.get(index).map(|group| group.primaries.clone());
        clusters
            .map(|cluster| cluster.into_iter().filter_map(primaries).flatten().collect())
            .collect()
    }
}

/// The group of which each node is a primary.
pub(super) fn homes(groups: &[Group]) -> BTreeMap<usize, usize> {
    let of = |(index, group): (usize, &Group)| {
        group.primaries.iter().map(move |position| (*position, index)).collect::<Vec<_>>()
    };
    groups.iter().enumerate().flat_map(of).collect()
}

/// `(group, provider)` for each data edge that crosses between groups.
pub(super) fn dependencies<'e>(
    groups: &[Group],
    homes: &BTreeMap<usize, usize>,
    edges: impl Iterator<Item = (&'e Edge, &'e Carries)>,
) -> BTreeSet<(usize, usize)> {
    let mut holders: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (index, group) in groups.iter().enumerate() {
        for position in group.primaries.iter().chain(&group.copies) {
            holders.entry(*position).or_default().push(index);
        }
    }
    let mut found = BTreeSet::new();
    for (edge, _) in edges.filter(|(_, carries)| !carries.is_live()) {
        let Some(provider) = homes.get(&edge.source_position) else {
            continue;
        };
        for holder in holders.get(&edge.target_position).into_iter().flatten() {
            if holder != provider {
                found.insert((*holder, *provider));
            }
        }
    }
    found
}

/// Disjoint sets of positions.
struct Sets {
    parent: Vec<usize>,
}

impl Sets {
    fn new(count: usize) -> Self {
        Self { parent: (0..count).collect() }
    }

    fn find(&mut self, mut position: usize) -> usize {
        let parent = |sets: &Self, at: usize| sets.parent.get(at).copied().unwrap_or(at);
        while parent(self, position) != position {
            let above = parent(self, parent(self, position));
            if let Some(slot) = self.parent.get_mut(position) {
                *slot = above;
            }
            position = above;
        }
        position
    }

    /// The smaller position represents the set, which keeps the outcome independent of the order.
    fn union(&mut self, one: usize, other: usize) {
        let (one, other) = (self.find(one), self.find(other));
        if let Some(slot) = self.parent.get_mut(one.max(other)) {
            *slot = one.min(other);
        }
    }
}
