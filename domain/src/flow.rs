//! A flow as Langflow exports it: the file, and the graph of components in it.
//!
//! [`Export`] reads the file and keeps everything verbatim. [`Graph::read`] reads its `data`:
//! notes are left out, groups are replaced by their inside, edges are checked by the rules by
//! which lfx would refuse them at run time, so that a broken flow is refused when it is uploaded
//! and with a message that names the node and the field.

mod address;
mod edge;
mod error;
mod export;
mod flatten;
mod handle;
pub(crate) mod json;
mod node;
mod proxy;
mod read;
pub mod types;

use std::collections::HashMap;

use serde_json::{Map, Value};

pub(crate) use address::{Address, Place, is_api_editable, leads_to_code};
pub use error::{Error, FLOWS_MAX, GroupReason, ISSUES_MAX, Issue, Issues};
pub use export::Export;

/// The components of a flow and what they hand each other. Positions are those in the flattened
/// export and decide every tie, so that equal exports always give equal plans.
#[derive(Clone, Debug)]
pub struct Graph {
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    positions: HashMap<String, usize>,
    incoming: Vec<Vec<usize>>,
    outgoing: Vec<Vec<usize>>,
    addresses: Vec<Address>,
}

/// One component.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its id, such as `ChatInput-aBcDe`.
    pub id: String,
    /// The component's type, such as `ChatInput`.
    pub kind: String,
    /// Its name in the editor.
    pub display_name: String,
    /// The group from which it was flattened.
    pub parent: Option<String>,
    /// Its fields, verbatim apart from code that was exported as lines and is joined here.
    pub template: Map<String, Value>,
    /// What it can give.
    pub outputs: Vec<Output>,
    /// Whether it is used as a tool: then its only output is the tool.
    pub is_tool_mode: bool,
    /// Whether its result was frozen in the editor.
    pub is_frozen: bool,
    /// Whether a run's input goes to it.
    pub is_input: bool,
    /// Whether its result is an answer of the run.
    pub is_output: bool,
    /// Where its class lives, as the export says. A claim, not evidence.
    pub module: Option<String>,
    /// The hash of its code, as the export says. A claim; see [`Node::code_hash`].
    pub claimed_code_hash: Option<String>,
    /// The node without its template.
    frame: Value,
}

/// Something that a component can give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its name, which edges use.
    pub name: String,
    /// Its name in the editor.
    pub display_name: Option<String>,
    /// Types under today's names.
    pub types: Vec<String>,
    /// The method that computes it.
    pub method: Option<String>,
    /// Whether a loop's body begins and ends here.
    pub allows_loop: bool,
}

/// One connection.
#[derive(Clone, Debug, PartialEq)]
pub struct Edge {
    /// The node that gives.
    pub source: String,
    /// Its position.
    pub source_position: usize,
    /// The output that it gives.
    pub output: String,
    /// The node that takes.
    pub target: String,
    /// Its position.
    pub target_position: usize,
    /// The field that takes, or the loop's output to which a body returns.
    pub field: String,
    /// What travels, under today's names.
    pub types: Vec<String>,
    /// Whether it returns from a loop's body to the loop.
    pub is_feedback: bool,
    /// The edge as it is written, after flattening.
    raw: Value,
}

impl Graph {
    /// Reads the `data` of an export. Up to [`ISSUES_MAX`] problems are collected.
    ///
    /// # Errors
    /// [`Error::Invalid`] with every problem found.
    pub fn read(data: &Value) -> Result<Self, Error> {
        read::graph(data).map_err(Error::Invalid)
    }

    /// Every component, in position order.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Every connection, in the order of the export, each once.
    #[must_use]
    pub fn edges(&self) -> &[Edge] {
        &self.edges
    }

    /// The component with this id.
    #[must_use]
    pub fn node(&self, id: &str) -> Option<&Node> {
        self.nodes.get(self.position(id)?)
    }

    /// Where the component with this id stands.
    #[must_use]
    pub fn position(&self, id: &str) -> Option<usize> {
        self.positions.get(id).copied()
    }

    /// The connections into the component at a position.
    pub fn incoming(&self, position: usize) -> impl Iterator<Item = &Edge> {
        self.pick(self.incoming.get(position))
    }

    /// The connections out of the component at a position.
    pub fn outgoing(&self, position: usize) -> impl Iterator<Item = &Edge> {
        self.pick(self.outgoing.get(position))
    }

    /// Whether the component is a tool that nothing uses. Langflow skips these: built alone, they
    /// would run their logic without inputs and fail the run.
    #[must_use]
    pub fn is_orphan_tool(&self, position: usize) -> bool {
        self.nodes.get(position).is_some_and(|node| node.is_tool_mode)
            && self.outgoing.get(position).is_none_or(Vec::is_empty)
    }

    /// Whether an edge feeds a field, so that its stored value is not used.
    #[must_use]
    pub fn is_fed(&self, position: usize, field: &str) -> bool {
        self.incoming(position).any(|edge| edge.field == field && !edge.is_feedback)
    }

    pub(crate) fn nodes_mut(&mut self) -> &mut [Node] {
        &mut self.nodes
    }

    pub(crate) fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    fn pick<'a>(&'a self, list: Option<&'a Vec<usize>>) -> impl Iterator<Item = &'a Edge> {
        list.into_iter().flatten().filter_map(|edge| self.edges.get(*edge))
    }
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
