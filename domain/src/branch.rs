//! Which nodes a branch decision switches off.
//!
//! A router tells its graph to stop what hangs on an output. In its container it sees only its
//! neighbours, so the container reports the operation and this module repeats it on the whole
//! graph, with lfx's rules: what can also be reached from another output of the same source goes
//! on (a merge behind an If-Else), everything else behind the output does not.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::flow::Graph;
use crate::plan::{Cell, Plan};

/// A decision that a cell reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Operation {
    /// lfx's `mark_branch`: what `Component.stop` and `start` do.
    MarkBranch {
        /// The node that decides.
        node: String,
        /// What becomes of the branch.
        state: BranchState,
        /// The output on which the branch hangs; absent: all of them.
        output: Option<String>,
    },
    /// lfx's `exclude_branch_conditionally`: replaces what this node excluded before.
    #[serde(rename = "exclude_branch_conditionally")]
    ExcludeBranch {
        /// The node that decides.
        node: String,
        /// The output; absent: all of them.
        output: Option<String>,
    },
    /// lfx's `exclude_branches_conditionally`: several outputs at once.
    #[serde(rename = "exclude_branches_conditionally")]
    ExcludeBranches {
        /// The node that decides.
        node: String,
        /// The outputs.
        outputs: Vec<String>,
    },
}

/// The state of a branch, spelled as lfx does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum BranchState {
    /// It may run.
    Active,
    /// It must not run.
    Inactive,
}

/// Why an operation is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// A cell may decide only for nodes that it builds.
    #[error("cell {cell} decided a branch of node {node}, which it does not build")]
    Foreign {
        /// The cell.
        cell: String,
        /// The node.
        node: String,
    },
}

/// Everything decided so far in one run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Branches {
    /// Nodes in lfx's state `INACTIVE`.
    inactive: BTreeSet<String>,
    /// Of these, what each source stopped and still holds. As in lfx, nodes where several edges
    /// meet are not held.
    held: BTreeMap<String, BTreeSet<String>>,
    /// What each source excluded.
    excluded: BTreeMap<String, BTreeSet<String>>,
    /// Nodes that nothing reaches any more, because all that they take comes from what is off.
    #[serde(default)]
    unreached: BTreeSet<String>,
}

impl Operation {
    /// The node that decides.
    #[must_use]
    pub fn node(&self) -> &str {
        match self {
            Self::MarkBranch { node, .. }
            | Self::ExcludeBranch { node, .. }
            | Self::ExcludeBranches { node, .. } => node,
        }
    }
}

impl Branches {
    /// Applies what a cell reports, in its order. On an error nothing is applied.
    ///
    /// # Errors
    /// When an operation is about a node that the cell does not build: a component sees its
    /// neighbours in the container and could otherwise switch off what is not behind it.
    pub fn apply(
        &mut self,
        graph: &Graph,
        cell: &Cell,
        operations: &[Operation],
    ) -> Result<(), Error> {
        let foreign =
            |operation: &&Operation| !cell.members.iter().any(|member| member == operation.node());
        if let Some(operation) = operations.iter().find(foreign) {
            let (cell, node) = (cell.id.clone(), operation.node().to_owned());
            return Err(Error::Foreign { cell, node });
        }
        for operation in operations {
            match operation {
                Operation::MarkBranch { node, state, output } => {
                    self.mark(graph, node, *state, output.as_deref());
                }
                Operation::ExcludeBranch { node, output } => {
                    let outputs = output.iter().filter(|output| !output.is_empty()).cloned();
                    self.exclude(graph, node, &outputs.collect::<Vec<_>>());
                }
                Operation::ExcludeBranches { node, outputs } => {
                    if outputs.is_empty() {
                        self.excluded.remove(node);
                    } else {
                        self.exclude(graph, node, outputs);
                    }
                }
            }
        }
        self.unreached = self.unreached_in(graph);
        Ok(())
    }

    /// A node runs when one before it has; a merge runs as long as one way to it is left.
    fn unreached_in(&self, graph: &Graph) -> BTreeSet<String> {
        let mut reached = Self { unreached: BTreeSet::new(), ..self.clone() };
        loop {
            let is_next = |position: &usize| {
                let mut sources = graph.incoming(*position).map(|edge| edge.source.as_str());
                let is_fed = graph.incoming(*position).next().is_some();
                is_fed && sources.all(|source| reached.is_off(source))
            };
            let positions = (0..graph.nodes().len()).filter(is_next);
            let ids = positions.filter_map(|position| graph.nodes().get(position));
            let ids = ids.map(|node| node.id.clone()).filter(|id| !reached.is_off(id));
            let found: BTreeSet<String> = ids.collect();
            if found.is_empty() {
                return reached.unreached;
            }
            reached.unreached.extend(found);
        }
    }

    /// Whether a node must not run.
    #[must_use]
    pub fn is_off(&self, node: &str) -> bool {
        let is_stopped = self.inactive.contains(node) || self.unreached.contains(node);
        is_stopped || self.excluded.values().any(|set| set.contains(node))
    }

    /// Every node that must not run, sorted.
    #[must_use]
    pub fn off(&self) -> BTreeSet<&str> {
        let stopped = self.inactive.iter().chain(&self.unreached);
        stopped.chain(self.excluded.values().flatten()).map(String::as_str).collect()
    }

    /// Cells of which every primary member is off: they are skipped, and whoever waits for them
    /// no longer does.
    #[must_use]
    pub fn skipped_cells(&self, plan: &Plan) -> Vec<u32> {
        let off = self.off();
        let is_off = |cell: &&Cell| cell.primaries().all(|member| off.contains(member));
        plan.cells.iter().filter(is_off).map(|cell| cell.index).collect()
    }

    /// Members of a cell that it must not build although it runs.
    #[must_use]
    pub fn off_members<'c>(&self, cell: &'c Cell) -> Vec<&'c str> {
        cell.primaries().filter(|member| self.is_off(member)).collect()
    }

    fn mark(&mut self, graph: &Graph, node: &str, state: BranchState, output: Option<&str>) {
        let output = output.filter(|output| !output.is_empty());
        let follow = |name: &str| output.is_none_or(|output| output == name);
        match state {
            BranchState::Inactive => {
                // Without an output everything behind the node stops, so nothing is kept.
                let kept = match output {
                    Some(_) => reachable(graph, node, |name| !follow(name)),
                    None => BTreeSet::new(),
                };
                let branch = walk(graph, node, follow, &kept);
                let single = |id: &&String| {
                    let position = graph.position(id);
                    position.is_some_and(|position| graph.incoming(position).count() <= 1)
                };
                let held: BTreeSet<String> = branch.iter().filter(single).cloned().collect();
                if !held.is_empty() {
                    self.held.entry(node.to_owned()).or_default().extend(held);
                }
                self.inactive.extend(branch);
            }
            BranchState::Active => {
                let branch = reachable(graph, node, follow);
                for id in &branch {
                    self.inactive.remove(id);
                }
                if let Some(held) = self.held.get_mut(node) {
                    held.retain(|id| !branch.contains(id));
                    if held.is_empty() {
                        self.held.remove(node);
                    }
                }
                // Another source's stop on the same node stays in force.
                let others = self.held.values().flatten().filter(|id| branch.contains(*id));
                self.inactive.extend(others.cloned().collect::<Vec<_>>());
            }
        }
    }

    /// No outputs means all of them.
    fn exclude(&mut self, graph: &Graph, node: &str, outputs: &[String]) {
        let named = |name: &str| outputs.iter().any(|output| output == name);
        let mut branch = reachable(graph, node, |name| outputs.is_empty() || named(name));
        if !outputs.is_empty() {
            let kept = reachable(graph, node, |name| !named(name));
            branch.retain(|id| !kept.contains(id));
        }
        if branch.is_empty() {
            self.excluded.remove(node);
        } else {
            self.excluded.insert(node.to_owned(), branch);
        }
    }
}

/// Every node behind the outputs of a node that are followed.
fn reachable(graph: &Graph, node: &str, follow: impl Fn(&str) -> bool) -> BTreeSet<String> {
    walk(graph, node, follow, &BTreeSet::new())
}

/// As [`reachable`], but stops at nodes that are barred.
fn walk(
    graph: &Graph,
    node: &str,
    follow: impl Fn(&str) -> bool,
    barred: &BTreeSet<String>,
) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let Some(start) = graph.position(node) else {
        return found;
    };
    let mut stack: Vec<usize> = graph
        .outgoing(start)
        .filter(|edge| follow(&edge.output))
        .map(|edge| edge.target_position)
        .collect();
    while let Some(position) = stack.pop() {
        let Some(id) = graph.nodes().get(position).map(|node| &node.id) else {
            continue;
        };
        if position == start || barred.contains(id) || !found.insert(id.clone()) {
            continue;
        }
        stack.extend(graph.outgoing(position).map(|edge| edge.target_position));
    }
    found
}

#[cfg(test)]
mod tests;
