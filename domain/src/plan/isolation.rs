//! How much of a run shares a container, and which flows leave no choice.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Whole;
use super::cycle::Cycle;
use super::stock;
use crate::flow::{Graph, Node};

/// How much of a run shares a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// One container for each cell, and cells as small as can be.
    #[default]
    Component,
    /// Neighbours share a container where nobody but Langflow wrote the code of either and neither
    /// needs a secret.
    Chain,
    /// One container for the whole run.
    Run,
}

/// A name that no isolation has.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("isolation is component, chain or run, not {0:?}")]
pub struct UnknownIsolation(String);

impl Isolation {
    /// Its name in settings, requests and answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Component => "component",
            Self::Chain => "chain",
            Self::Run => "run",
        }
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Isolation {
    type Err = UnknownIsolation;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        [Self::Component, Self::Chain, Self::Run]
            .into_iter()
            .find(|isolation| isolation.name() == name)
            .ok_or_else(|| UnknownIsolation(name.to_owned()))
    }
}

/// Types of components that find each other through the graph and not along its edges.
const STATEFUL: [&str; 3] = ["SharedState", "Notify", "Listen"];

/// What a component may ask of its graph although that is only a part: who runs it, the shared
/// context, and branch decisions, which the engine repeats on the whole graph.
const ASKED: [&str; 16] = [
    "conditional_exclusion_sources",
    "conditionally_excluded_vertices",
    "context",
    "end_user_id",
    "exclude_branch_conditionally",
    "exclude_branches_conditionally",
    "execution_principal",
    "flow_id",
    "flow_name",
    "human_input_decisions",
    "mark_branch",
    "request_pause",
    "run_id",
    "session_id",
    "set_run_id",
    "user_id",
];

/// Why the whole flow must be one cell whatever the isolation; `None` when it need not.
pub(super) fn whole(graph: &Graph, cycles: &[Cycle]) -> Option<Whole> {
    let prefix = |node: &Node| node.id.split('-').next().unwrap_or_default().to_owned();
    let stateful = |node: &&Node| STATEFUL.contains(&prefix(node).as_str());
    if let Some(node) = graph.nodes().iter().find(stateful) {
        return Some(Whole::Stateful { node: node.id.clone() });
    }
    let is_fed = |position: usize| graph.incoming(position).next().is_some();
    if !graph.nodes().is_empty() && (0..graph.nodes().len()).all(is_fed) {
        return Some(Whole::NoBeginning);
    }
    // In a cycle lfx has every node of it before it, which is what loops ask for.
    let turns = |position: usize| cycles.iter().any(|cycle| cycle.nodes.contains(&position));
    graph.nodes().iter().enumerate().filter(|(position, _)| !turns(*position)).find_map(
        |(_, node)| {
            let asks = touched(node.code()?).filter(|_| !stock::is_stock(node))?;
            Some(Whole::Touched { node: node.id.clone(), asks })
        },
    )
}

/// What code asks of its graph that a part of the graph cannot answer.
fn touched(code: &str) -> Option<String> {
    code.split("self.graph").skip(1).find_map(|rest| {
        // `self.graph.name`, or `getattr(self.graph, "name"`.
        let named = rest.strip_prefix('.').or_else(|| {
            let rest = rest.strip_prefix(',')?.trim_start();
            rest.strip_prefix(['"', '\''])
        });
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let other = || rest.starts_with(is_name);
        let name = match named {
            Some(named) => named.split(|c| !is_name(c)).next().unwrap_or_default(),
            // Another attribute whose name begins so.
            None if other() => return None,
            None => "itself",
        };
        (!ASKED.contains(&name)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_code_asks_of_its_graph_is_found() {
        for (code, asks) in [
            ("self.graph.session_id + self.graph.flow_id", None),
            ("self.graph.exclude_branch_conditionally(self._id, 'a')", None),
            ("getattr(self.graph, \"flow_id\", None)", None),
            ("self.graph_name", None),
            ("hasattr(self, 'graph')", None),
            ("self.graph.flow_id; self.graph.vertices", Some("vertices")),
            ("getattr(self.graph, 'edges')", Some("edges")),
            ("graph = self.graph\n", Some("itself")),
        ] {
            assert_eq!(touched(code).as_deref(), asks, "{code}");
        }
    }

    #[test]
    fn names_are_read_back() {
        for isolation in [Isolation::Component, Isolation::Chain, Isolation::Run] {
            assert_eq!(isolation.name().parse(), Ok(isolation));
        }
        let refused = "Run".parse::<Isolation>().unwrap_err();
        assert_eq!(refused.to_string(), "isolation is component, chain or run, not \"Run\"");
    }
}
