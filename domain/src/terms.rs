//! On which terms a cell runs: how it is retried, and whose workers run it.

use std::collections::BTreeSet;

use crate::admission::{FlowSettings, NodeSettings};
use crate::flow::Graph;
use crate::plan::{Cell, Plan};
use crate::retry::RetryPolicy;

/// What differs for one task from what its run says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskTerms {
    /// How it is retried, where that is not as for the run.
    pub retry: Option<RetryPolicy>,
    /// The pool whose workers run it, where a node of it names one.
    pub pool: Option<String>,
}

/// Nodes of one cell that name different pools: its container is on one host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{named} run in one container ({cell}), so they can have one pool only", named = self.named())]
pub struct PoolConflict {
    /// The cell.
    pub cell: String,
    /// The nodes as they are set, with their pools.
    pub nodes: Vec<(String, String)>,
}

impl PoolConflict {
    fn named(&self) -> String {
        let named: Vec<String> =
            self.nodes.iter().map(|(node, pool)| format!("{node} (pool {pool:?})")).collect();
        named.join(" and ")
    }
}

/// A flow whose cells need terms.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// Its graph.
    pub graph: &'a Graph,
    /// What is set for it.
    pub settings: &'a FlowSettings,
    /// How its runs are retried.
    pub retry: &'a RetryPolicy,
}

impl Terms<'_> {
    /// The terms of each cell of a plan.
    ///
    /// # Errors
    /// [`PoolConflict`].
    pub fn of_plan(&self, plan: &Plan) -> Result<Vec<TaskTerms>, PoolConflict> {
        plan.cells.iter().map(|cell| self.of_cell(cell)).collect()
    }

    /// The terms of a cell. Of several nodes, what all of them allow: see
    /// [`RetryPolicy::strictest`].
    ///
    /// # Errors
    /// [`PoolConflict`].
    pub fn of_cell(&self, cell: &Cell) -> Result<TaskTerms, PoolConflict> {
        let pools = self.pools(cell);
        let different: BTreeSet<&String> = pools.iter().map(|(_, pool)| pool).collect();
        if different.len() > 1 {
            return Err(PoolConflict { cell: cell.id.clone(), nodes: pools });
        }
        Ok(TaskTerms {
            retry: self.retry_of(cell),
            pool: pools.into_iter().next().map(|(_, pool)| pool),
        })
    }

    /// The same where nobody can be told of a conflict any more: the first pool holds.
    #[must_use]
    pub fn of_cell_anyhow(&self, cell: &Cell) -> TaskTerms {
        let pool = self.pools(cell).into_iter().next().map(|(_, pool)| pool);
        TaskTerms { retry: self.retry_of(cell), pool }
    }

    /// What is set for nodes that the flow does not have.
    #[must_use]
    pub fn unknown_nodes(&self) -> Vec<&str> {
        let is_known =
            |name: &str| self.graph.nodes().iter().any(|n| n.id == name || n.display_name == name);
        self.settings.nodes.keys().map(String::as_str).filter(|name| !is_known(name)).collect()
    }

    fn pools(&self, cell: &Cell) -> Vec<(String, String)> {
        let named = cell.built().filter_map(|node| {
            let pool = self.set_for(node)?.pool.clone()?;
            Some((node.to_owned(), pool))
        });
        named.collect()
    }

    /// A copy of a constructor does nothing by itself, so it has a say only where something is set
    /// for it.
    fn retry_of(&self, cell: &Cell) -> Option<RetryPolicy> {
        if self.settings.nodes.values().all(|set| set.retry.is_empty()) {
            return None;
        }
        let has_say = |node: &&str| {
            self.set_for(node).is_some() || !cell.copied.iter().any(|copied| copied == node)
        };
        let policies = cell.built().filter(has_say).map(|node| match self.set_for(node) {
            Some(set) => self.retry.with(&set.retry),
            None => self.retry.clone(),
        });
        let policy = policies.reduce(|policy, other| policy.strictest(&other))?;
        (policy != *self.retry).then_some(policy)
    }

    /// What is set for a node: by its id, else by its name.
    fn set_for(&self, node: &str) -> Option<&NodeSettings> {
        let nodes = &self.settings.nodes;
        nodes.get(node).or_else(|| nodes.get(&self.graph.node(node)?.display_name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::fixture::{Draft, node};
    use crate::plan::Driver;
    use crate::retry::RetrySettings;

    fn graph() -> Graph {
        let draft = Draft::new()
            .node(node("A-1", "A").named("Search"))
            .node(node("B-1", "B").named("Agent"))
            .node(node("M-1", "M").named("Model"));
        draft.graph()
    }

    fn cell(members: &[&str], copied: &[&str]) -> Cell {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Cell {
            index: 0,
            id: members[0].to_owned(),
            members: owned(members),
            copied: owned(copied),
            inner: Vec::new(),
            driver: Driver::Order,
            depends_on: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            why: Vec::new(),
        }
    }

    fn settings(nodes: &[(&str, NodeSettings)]) -> FlowSettings {
        let nodes = nodes.iter().map(|(node, set)| ((*node).to_owned(), set.clone())).collect();
        FlowSettings { nodes, ..FlowSettings::default() }
    }

    fn attempts(most: u32, component_errors: bool) -> NodeSettings {
        let retry = RetrySettings {
            attempts_max: Some(most),
            component_errors: Some(component_errors),
            ..RetrySettings::default()
        };
        NodeSettings { pool: None, retry }
    }

    fn pool(name: &str) -> NodeSettings {
        NodeSettings { pool: Some(name.to_owned()), ..NodeSettings::default() }
    }

    #[test]
    fn a_cell_is_retried_as_all_of_its_nodes_allow() {
        let set = settings(&[("Search", attempts(9, true)), ("M-1", attempts(5, true))]);
        let (graph, retry) = (graph(), RetryPolicy::default());
        let terms = Terms { graph: &graph, settings: &set, retry: &retry };
        let of = |members: &[&str], copied: &[&str]| {
            let policy = terms.of_cell(&cell(members, copied)).unwrap().retry;
            policy.map(|policy| (policy.attempts_max, policy.component_errors))
        };
        assert_eq!(of(&["A-1"], &[]), Some((9, true)), "by its display name");
        assert_eq!(of(&["A-1", "M-1"], &["M-1"]), Some((5, true)));
        assert_eq!(of(&["B-1", "A-1"], &[]), None, "the agent says no more than its run");
        let set = settings(&[("A-1", attempts(9, true))]);
        let terms = Terms { settings: &set, ..terms };
        let shared = terms.of_cell(&cell(&["A-1", "M-1"], &["M-1"])).unwrap().retry.unwrap();
        assert_eq!(shared.attempts_max, 9, "a copy that nothing is set for has no say");
    }

    #[test]
    fn a_pool_is_taken_from_any_node_and_two_are_refused() {
        let (graph, retry) = (graph(), RetryPolicy::default());
        let set = settings(&[("Model", pool("gpu")), ("A-1", pool("eu")), ("Z-9", pool("eu"))]);
        let terms = Terms { graph: &graph, settings: &set, retry: &retry };
        let of = |members: &[&str]| terms.of_cell(&cell(members, &["M-1"]));
        assert_eq!(of(&["B-1", "M-1"]).unwrap().pool.as_deref(), Some("gpu"));
        assert_eq!(of(&["B-1"]).unwrap(), TaskTerms::default());
        let conflict = of(&["A-1", "M-1"]).unwrap_err();
        let said = "A-1 (pool \"eu\") and M-1 (pool \"gpu\") run in one container (A-1), so they can \
                    have one pool only";
        assert_eq!(conflict.to_string(), said);
        let anyhow = terms.of_cell_anyhow(&cell(&["A-1", "M-1"], &[]));
        assert_eq!(anyhow.pool.as_deref(), Some("eu"));
        assert_eq!(terms.unknown_nodes(), ["Z-9"]);
    }
}
