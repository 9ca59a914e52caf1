//! What can be wrong with an import: each problem names the node, the field and what to do.

use std::fmt;

use thiserror::Error;

use crate::limits::{FLOW_EDGES_MAX, FLOW_NODES_MAX, GROUP_DEPTH_MAX};

/// Most problems of one flow that are reported together. A flow with more is better fixed in the
/// editor from the first few than read as a list.
pub const ISSUES_MAX: usize = 20;

/// Most flows of one import. Langflow's own project archives hold tens.
pub const FLOWS_MAX: usize = 1_000;

/// Why an import cannot be used.
#[derive(Debug, Error)]
pub enum Error {
    /// The bytes are not JSON.
    #[error("{place}: not json: {source}")]
    Json {
        /// The file, or `import` when it has no name.
        place: String,
        /// What the parser found, with line and column.
        source: serde_json::Error,
    },
    /// The JSON is neither a flow nor a list of flows.
    #[error(
        "{place}: expected a flow (an object with `name` and `data`), an object with `flows`, or \
         an array of flows, found {found}; export the flow from langflow again"
    )]
    NotAFlow {
        /// Where in the import: `import`, `flows[3]`, a file name.
        place: String,
        /// What is there instead.
        found: &'static str,
    },
    /// A required property of a flow is missing or of another type.
    #[error("{place}: `{field}` must be {expected}")]
    Field {
        /// Where in the import.
        place: String,
        /// The property.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// The import holds no flow.
    #[error("the import holds no flow")]
    NoFlows,
    /// The import holds too many flows.
    #[error("the import holds more than {FLOWS_MAX} flows; split it")]
    TooManyFlows,
    /// The graph of a flow has problems.
    #[error("{0}")]
    Invalid(Issues),
}

/// The problems of one graph, in the order in which they were found; at most [`ISSUES_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Issues {
    list: Vec<Issue>,
    omitted: usize,
}

impl Issues {
    /// The problems.
    #[must_use]
    pub fn list(&self) -> &[Issue] {
        &self.list
    }

    /// How many further problems were found but not kept.
    #[must_use]
    pub fn omitted(&self) -> usize {
        self.omitted
    }

    pub(super) fn push(&mut self, issue: Issue) {
        if self.list.len() < ISSUES_MAX {
            self.list.push(issue);
        } else {
            self.omitted += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

impl fmt::Display for Issues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, issue) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{issue}")?;
        }
        if self.omitted > 0 {
            write!(f, "; and {} more", self.omitted)?;
        }
        Ok(())
    }
}

/// One problem of a graph.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Issue {
    /// `data` itself has the wrong shape.
    #[error("`data.{field}` must be {expected}; export the flow from langflow again")]
    Shape {
        /// The property of `data`.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// There is nothing to run.
    #[error("the flow has no components; add at least one and export it again")]
    NoNodes,
    /// More nodes than [`FLOW_NODES_MAX`].
    #[error("the flow has more than {FLOW_NODES_MAX} nodes; split it into several flows")]
    TooManyNodes,
    /// More edges than [`FLOW_EDGES_MAX`].
    #[error("the flow has more than {FLOW_EDGES_MAX} edges; split it into several flows")]
    TooManyEdges,
    /// Groups nested deeper than [`GROUP_DEPTH_MAX`].
    #[error("group {node} is nested deeper than {GROUP_DEPTH_MAX} levels; ungroup some levels")]
    TooDeep {
        /// The group at which reading stopped.
        node: String,
    },
    /// A node lacks a property without which it cannot be built.
    #[error("node {node}: `{field}` must be {expected}; {advice}")]
    Node {
        /// The node's id, or its place in the list when it has none.
        node: String,
        /// The property, as a path inside the node.
        field: String,
        /// What it must be.
        expected: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// Two nodes have one id.
    #[error("node {node}: another node has the same id; delete one and add it anew")]
    DuplicateNode {
        /// The id.
        node: String,
    },
    /// An edge's own JSON cannot be read.
    #[error("edge {edge}: `{field}` must be {expected}; delete the edge and draw it again")]
    Edge {
        /// The edge's ends as far as they are known.
        edge: String,
        /// The property.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// An edge begins or ends at a node that does not exist.
    #[error("edge {edge}: node {node} does not exist; delete the edge or restore the node")]
    MissingNode {
        /// The edge's ends.
        edge: String,
        /// The node that is missing.
        node: String,
    },
    /// An edge begins at an output that its node does not have.
    #[error(
        "edge {edge}: node {node} has no output `{output}` (it has {available}); draw the edge \
         from one of those"
    )]
    UnknownOutput {
        /// The edge's ends.
        edge: String,
        /// The node at which it begins.
        node: String,
        /// The output that does not exist.
        output: String,
        /// The outputs that do.
        available: String,
    },
    /// An edge ends at a field that its node does not have.
    #[error("edge {edge}: node {node} has no field `{field}`; delete the edge or draw it again")]
    UnknownField {
        /// The edge's ends.
        edge: String,
        /// The node at which it ends.
        node: String,
        /// The field that does not exist.
        field: String,
    },
    /// What the output gives is not what the field takes.
    #[error(
        "edge {edge}: the output gives {given} but field `{field}` of node {node} takes {taken}; \
         put a converting component between them"
    )]
    Incompatible {
        /// The edge's ends.
        edge: String,
        /// The node at which it ends.
        node: String,
        /// The field at which it ends.
        field: String,
        /// The types of the output.
        given: String,
        /// The types of the field.
        taken: String,
    },
    /// A group's description of its inside does not fit its inside.
    #[error("group {node}: {reason}; ungroup it in the editor and group it again")]
    Group {
        /// The group.
        node: String,
        /// What does not fit.
        reason: GroupReason,
    },
}

/// What does not fit in a group.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GroupReason {
    /// The nested flow is not a flow.
    #[error("its nested flow has no `data.nodes` and `data.edges`")]
    NoFlow,
    /// A field of the group stands for a field that does not exist.
    #[error("its field `{field}` stands for `{inner}` of node {child}, which does not exist")]
    Proxy {
        /// The group's field.
        field: String,
        /// The node inside.
        child: String,
        /// The field inside.
        inner: String,
    },
    /// An edge of the group cannot be led to the inside.
    #[error("an edge at its `{handle}` cannot be led to a node inside")]
    Edge {
        /// The output or field of the group.
        handle: String,
    },
}
