//! How a flow is split into cells, the units that run in one container each.
//!
//! ```text
//! graph ── classify edges ──▶ data | live
//!              │
//!              ▼
//!   a cell per node; producers of live inputs come along:
//!     a constructor (model, tool)        is copied into every consumer's cell
//!     a producer with effects or data    is shared: its consumers join one cell
//!              │
//!              ▼
//!   cells that would wait for each other are merged ──▶ topological order ──▶ Plan
//! ```
//!
//! The nodes of a cycle are one cell, because lfx runs a cycle as one graph.
//!
//! A plan is a pure function of the graph and of what was learned at run time about its edges. It
//! is stored with the flow version, so it carries a version of its own.

mod chain;
mod classify;
mod cycle;
mod explain;
mod group;
mod isolation;
mod known;
mod needs;
mod order;
mod payload;
mod revise;
mod stock;
mod write;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use explain::{ExplainedCell, ExplainedEdge, ExplainedMember, Explanation, Role};
pub use isolation::{Isolation, UnknownIsolation};
pub use known::{code_digests, observed};
pub use needs::{FieldRef, KNOWLEDGE_FIELD, Needs, Package, ProviderNeed, needs, provider};
pub use payload::cell_graph;
pub use revise::Revision;

use crate::flow::Graph;
use crate::limits::FLOW_NODES_MAX;
use crate::pause::waits_for_a_person;
use group::Because;

/// The version of the stored form. Raised when the meaning of a field changes.
pub const PLAN_VERSION: u32 = 2;

/// Most members of all cells together. Ten times the nodes of the largest flow: copies multiply,
/// and a few hundred agents that share long chains of constructors would otherwise make a plan of
/// millions of members out of a small file.
pub const PLAN_MEMBERS_MAX: usize = 10 * FLOW_NODES_MAX;

/// The cells of one flow version and their dependencies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The version of this form.
    pub version: u32,
    /// The cells; `cells[i].index == i`, and a cell depends only on cells before it.
    pub cells: Vec<Cell>,
    /// Every connection and what it carries.
    pub edges: Vec<PlanEdge>,
    /// Nodes that no cell builds.
    pub skipped: Vec<Skipped>,
}

/// What runs in one container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// Its place in the plan.
    pub index: u32,
    /// The id of its primary node: of those that only this cell builds, the last to be built, or
    /// the node at which its cycle is entered.
    pub id: String,
    /// Every node that it builds, in build order.
    pub members: Vec<String>,
    /// Members that are copies of constructors: other cells may build them as well.
    pub copied: Vec<String>,
    /// Nodes of other cells that a Loop among the members builds anew for every item.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inner: Vec<String>,
    /// Who decides which member is built next.
    #[serde(default, skip_serializing_if = "Driver::is_order")]
    pub driver: Driver,
    /// The cells whose results it needs, ascending.
    pub depends_on: Vec<u32>,
    /// The values that must be there before its members are built.
    pub inputs: Vec<Input>,
    /// The values that other cells take from it.
    pub outputs: Vec<OutputRef>,
    /// Why it is more than one node, or why it exists beside its copies. Empty: one plain node.
    pub why: Vec<Why>,
}

/// Who decides which member of a cell is built next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Driver {
    /// The plan: each member once, in order.
    #[default]
    Order,
    /// lfx, as it runs a whole graph: a member may be built several times, or never.
    Graph,
}

impl Driver {
    /// Whether the plan decides.
    #[must_use]
    pub fn is_order(&self) -> bool {
        *self == Self::Order
    }
}

/// A value that a cell takes from another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Input {
    /// The node that gives it.
    pub node: String,
    /// The output that gives it.
    pub output: String,
    /// The cell that builds the node.
    pub cell: u32,
}

/// An output of a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OutputRef {
    /// The node.
    pub node: String,
    /// The output.
    pub output: String,
}

/// A connection and what it carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanEdge {
    /// The node that gives.
    pub source: String,
    /// Its output.
    pub output: String,
    /// The node that takes.
    pub target: String,
    /// Its field.
    pub field: String,
    /// What it carries.
    pub carries: Carries,
}

/// What a connection carries, and how that is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Carries {
    /// Values that can be written down: all types are known to travel.
    Data {
        /// The types.
        types: Vec<String>,
    },
    /// A live object of known types.
    Live {
        /// The types that do not travel.
        types: Vec<String>,
    },
    /// A tool made of a component.
    Tool,
    /// Something whose types are not known to travel, so it is taken for live.
    Unknown {
        /// The types; empty when the export names none.
        types: Vec<String>,
    },
    /// Taken for data by its types, but a run showed that it is live.
    Observed {
        /// The types.
        types: Vec<String>,
    },
}

impl Carries {
    /// Whether giver and taker must share a process.
    #[must_use]
    pub fn is_live(&self) -> bool {
        !matches!(self, Self::Data { .. })
    }
}

/// A reason for a cell's shape.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Why {
    /// A constructor was copied in.
    Copied {
        /// The constructor.
        node: String,
        /// The members that take its object.
        consumers: Vec<String>,
    },
    /// A producer of a live object must run exactly once, so its consumers are here too.
    Shared {
        /// The producer.
        node: String,
        /// The members that take its object.
        consumers: Vec<String>,
        /// Why it must run once.
        because: Sharing,
    },
    /// A constructor also gives data; this cell computes the data, copies elsewhere the object.
    Standalone {
        /// The constructor.
        node: String,
    },
    /// As separate cells these nodes would have waited for each other.
    Entangled {
        /// The nodes whose cells were merged.
        nodes: Vec<String>,
    },
    /// A Loop runs its body itself.
    Loop {
        /// The Loop.
        node: String,
        /// What stands in the circle with it.
        body: Vec<String>,
        /// Nodes of other cells that it builds anew for every item.
        rebuilt: Vec<String>,
    },
    /// These nodes stand in a circle, turn after turn.
    Cycle {
        /// The nodes.
        nodes: Vec<String>,
    },
    /// These nodes hang on a circle and run at every turn of it.
    EveryTurn {
        /// The nodes.
        nodes: Vec<String>,
    },
    /// The isolation is [`Isolation::Chain`], and these nodes are harmless to each other.
    Chain {
        /// The nodes.
        nodes: Vec<String>,
    },
    /// The isolation is [`Isolation::Run`].
    Run,
    /// The flow cannot be split, whatever the isolation.
    Whole {
        /// Why.
        because: Whole,
    },
}

/// Why a flow cannot be split.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "whole", rename_all = "snake_case")]
pub enum Whole {
    /// A component finds others through the graph and not along its edges.
    Stateful {
        /// The component.
        node: String,
    },
    /// Every node has something before it; where lfx begins depends on the whole graph.
    NoBeginning,
    /// A component's code asks its graph for more than a part of the graph has.
    Touched {
        /// The component.
        node: String,
        /// What it asks for; `itself` when it hands the graph on.
        asks: String,
    },
}

/// Why a producer of a live object must run exactly once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "sharing", rename_all = "snake_case")]
pub enum Sharing {
    /// It writes what arrives at this field.
    Ingests {
        /// The field.
        field: String,
    },
    /// It is a vector store or gives one.
    VectorStore,
    /// It is not known to be a mere constructor and also gives data.
    GivesData,
    /// It is not known to be a mere constructor.
    NotAConstructor {
        /// The types that it gives.
        types: Vec<String>,
    },
    /// It stands in a circle, and so is made anew at every turn.
    Turns,
    /// A consumer takes its object and its data.
    TakenTwice {
        /// The consumer's cell, by a member.
        consumer: String,
    },
}

/// A node that no cell builds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// The node.
    pub node: String,
    /// Why.
    pub because: SkipReason,
}

/// Why a node is never built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// A tool that nothing uses.
    OrphanTool,
}

/// The plans of one flow version, one for each isolation. This is the stored form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plans {
    #[serde(flatten)]
    component: Plan,
    /// Absent when it is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chain: Option<Box<Plan>>,
    /// Absent when it is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run: Option<Box<Plan>>,
}

impl Plans {
    /// Plans a graph under every isolation.
    ///
    /// # Errors
    /// As [`Plan::of`].
    pub fn of(graph: &Graph) -> Result<Self, Error> {
        Self::with_observed(graph, &BTreeSet::new())
    }

    /// Plans a graph of which runs have shown that some outputs are live, under every isolation.
    ///
    /// # Errors
    /// As [`Plan::of`].
    pub fn with_observed(graph: &Graph, live: &BTreeSet<OutputRef>) -> Result<Self, Error> {
        let component = Plan::with_observed(graph, live)?;
        let other = |isolation| {
            let plan = Plan::isolated(graph, isolation, live)?;
            Ok((plan.cells != component.cells).then(|| Box::new(plan)))
        };
        Ok(Self { chain: other(Isolation::Chain)?, run: other(Isolation::Run)?, component })
    }

    /// The plan under an isolation.
    #[must_use]
    pub fn under(&self, isolation: Isolation) -> &Plan {
        let own = match isolation {
            Isolation::Component => None,
            Isolation::Chain => self.chain.as_deref(),
            Isolation::Run => self.run.as_deref(),
        };
        own.unwrap_or(&self.component)
    }

    /// The version of the form in which they were stored.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.component.version
    }
}

/// Why a graph has no plan.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// Copying constructors into every consumer's cell gives more than [`PLAN_MEMBERS_MAX`]
    /// members.
    #[error(
        "the cells would build more than {PLAN_MEMBERS_MAX} nodes together, because so many take \
         the same models or tools; split the flow"
    )]
    TooManyMembers,
    /// Every node is skipped.
    #[error("nothing to run: every component is a tool that no agent uses; connect one")]
    NothingToRun,
}

impl Plan {
    /// Plans a graph into cells as small as can be.
    ///
    /// # Errors
    /// When there is nothing to run, or copies multiply beyond measure.
    pub fn of(graph: &Graph) -> Result<Self, Error> {
        Self::with_observed(graph, &BTreeSet::new())
    }

    /// Plans a graph of which runs have shown that some outputs are live although their types
    /// travel.
    ///
    /// # Errors
    /// As [`Plan::of`].
    pub fn with_observed(graph: &Graph, live: &BTreeSet<OutputRef>) -> Result<Self, Error> {
        Self::isolated(graph, Isolation::Component, live)
    }

    /// Plans a graph under an isolation.
    ///
    /// # Errors
    /// As [`Plan::of`].
    pub fn isolated(
        graph: &Graph,
        isolation: Isolation,
        live: &BTreeSet<OutputRef>,
    ) -> Result<Self, Error> {
        let cycles = cycle::find(graph);
        let order = order::topological(graph, &cycles);
        let carried = classify::edges(graph, live);
        let groups = match (isolation::whole(graph, &cycles), isolation) {
            (Some(because), _) => group::everything(graph, Because::Whole(because)),
            // What ran before a question must not run again after the answer.
            (None, Isolation::Run) if !waits_for_a_person(graph) => {
                group::everything(graph, Because::Run)
            }
            (None, Isolation::Component | Isolation::Run) => group::form(graph, &carried, &cycles)?,
            (None, Isolation::Chain) => {
                let groups = group::form(graph, &carried, &cycles)?;
                chain::join(graph, groups, graph.edges().iter().zip(&carried))
            }
        };
        let cells = write::cells(graph, &carried, &groups, &order);
        if cells.is_empty() {
            return Err(Error::NothingToRun);
        }
        let orphan = |position: &usize| graph.is_orphan_tool(*position);
        Ok(Self {
            version: PLAN_VERSION,
            cells,
            edges: graph.edges().iter().zip(carried).map(plan_edge).collect(),
            skipped: (0..graph.nodes().len())
                .filter(orphan)
                .filter_map(|position| graph.nodes().get(position))
                .map(|node| Skipped { node: node.id.clone(), because: SkipReason::OrphanTool })
                .collect(),
        })
    }

    /// The cell at an index.
    #[must_use]
    pub fn cell(&self, index: u32) -> Option<&Cell> {
        self.cells.get(usize::try_from(index).ok()?)
    }

    /// The one cell that builds this node and gives its data; copies elsewhere do not count
    /// unless the node is only ever copied.
    #[must_use]
    pub fn cell_of(&self, node: &str) -> Option<&Cell> {
        self.cells
            .iter()
            .find(|cell| cell.primaries().any(|member| member == node))
            .or_else(|| self.cells.iter().find(|cell| cell.copied.iter().any(|c| c == node)))
    }

    /// The cells that are needed to build these nodes and nothing else: those of which a primary
    /// member is listed. Pass what [`crate::selection::to_run`] gives.
    #[must_use]
    pub fn cells_for(&self, nodes: &[String]) -> Vec<u32> {
        let nodes: BTreeSet<&str> = nodes.iter().map(String::as_str).collect();
        let wanted = |cell: &&Cell| cell.primaries().any(|member| nodes.contains(member));
        self.cells.iter().filter(wanted).map(|cell| cell.index).collect()
    }
}

impl Cell {
    /// The members that only this cell builds.
    pub fn primaries(&self) -> impl Iterator<Item = &str> {
        let is_primary = |member: &&String| !self.copied.contains(member);
        self.members.iter().filter(is_primary).map(String::as_str)
    }

    /// Every node whose code runs in this cell.
    pub fn built(&self) -> impl Iterator<Item = &str> {
        self.members.iter().chain(&self.inner).map(String::as_str)
    }
}

fn plan_edge((edge, carries): (&crate::flow::Edge, Carries)) -> PlanEdge {
    PlanEdge {
        source: edge.source.clone(),
        output: edge.output.clone(),
        target: edge.target.clone(),
        field: edge.field.clone(),
        carries,
    }
}

#[cfg(test)]
mod promises;
#[cfg(test)]
mod tests;
