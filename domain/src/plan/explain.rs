//! The plan as data for people: what each cell holds and why, what each edge carries between
//! which cells. The command line draws it.

use std::fmt;

use serde::Serialize;

use super::{Carries, Cell, Plan, Sharing, SkipReason, Skipped, Whole, Why};
use crate::flow::Graph;

/// A plan for reading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The cells in order.
    pub cells: Vec<ExplainedCell>,
    /// The connections in the order of the export.
    pub edges: Vec<ExplainedEdge>,
    /// Nodes that no cell builds.
    pub skipped: Vec<Skipped>,
}

/// One cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainedCell {
    /// Its index.
    pub index: u32,
    /// Its id.
    pub id: String,
    /// The cells that it waits for.
    pub depends_on: Vec<u32>,
    /// What it builds, in order.
    pub members: Vec<ExplainedMember>,
    /// Why it is as it is, one sentence each.
    pub why: Vec<String>,
}

/// One node of a cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainedMember {
    /// Its id.
    pub node: String,
    /// Its name in the editor.
    pub display_name: String,
    /// Whether this is the node itself or a copy.
    pub role: Role,
}

/// What a node is in a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Only this cell builds it.
    Primary,
    /// A constructor that other cells may build as well.
    Copy,
}

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainedEdge {
    /// `node.output`.
    pub from: String,
    /// `node.field`.
    pub to: String,
    /// What it carries and how that is known, as a phrase.
    pub carries: String,
    /// Whether it carries a live object.
    pub is_live: bool,
    /// The cell that gives; none when the object is made in each taker's cell.
    pub from_cell: Option<u32>,
    /// The cells that take.
    pub to_cells: Vec<u32>,
}

impl Plan {
    /// The plan for reading.
    #[must_use]
    pub fn explain(&self, graph: &Graph) -> Explanation {
        let cells = self.cells.iter().map(|cell| explained(graph, cell)).collect();
        let holders = |node: &String| {
            let holds = |cell: &&Cell| cell.members.contains(node);
            self.cells.iter().filter(holds).map(|cell| cell.index).collect::<Vec<_>>()
        };
        let edges = self.edges.iter().map(|edge| ExplainedEdge {
            from: format!("{}.{}", edge.source, edge.output),
            to: format!("{}.{}", edge.target, edge.field),
            carries: edge.carries.to_string(),
            is_live: edge.carries.is_live(),
            from_cell: if edge.carries.is_live() {
                None
            } else {
                self.cell_of(&edge.source).map(|cell| cell.index)
            },
            to_cells: holders(&edge.target),
        });
        Explanation { cells, edges: edges.collect(), skipped: self.skipped.clone() }
    }
}

fn explained(graph: &Graph, cell: &Cell) -> ExplainedCell {
    let member = |node: &String| ExplainedMember {
        node: node.clone(),
        display_name: graph.node(node).map(|n| n.display_name.clone()).unwrap_or_default(),
        role: if cell.copied.contains(node) { Role::Copy } else { Role::Primary },
    };
    ExplainedCell {
        index: cell.index,
        id: cell.id.clone(),
        depends_on: cell.depends_on.clone(),
        members: cell.members.iter().map(member).collect(),
        why: cell.why.iter().map(ToString::to_string).collect(),
    }
}

impl fmt::Display for Carries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data { types } => write!(f, "data: {}", types.join(", ")),
            Self::Live { types } => write!(f, "live object: {}", types.join(", ")),
            Self::Tool => f.write_str("live object: the component itself as a tool"),
            Self::Unknown { types } if types.is_empty() => {
                f.write_str("taken for live: the export names no type")
            }
            Self::Unknown { types } => {
                write!(f, "taken for live: {} is not known to travel", types.join(", "))
            }
            Self::Observed { types } => {
                write!(f, "live: declared {}, but a run showed otherwise", types.join(", "))
            }
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Copied { node, consumers } => {
                let consumers = consumers.join(", ");
                write!(f, "{node} only constructs an object, so {consumers} has its own copy")
            }
            Self::Shared { node, consumers, because } => {
                let consumers = consumers.join(", ");
                write!(f, "{consumers} shares the one {node}, because {because}")
            }
            Self::Standalone { node } => {
                write!(f, "{node} computes its data here, while its object is copied elsewhere")
            }
            Self::Entangled { nodes } => {
                write!(f, "apart, {} would wait for each other", nodes.join(", "))
            }
            Self::Loop { node, body, rebuilt } => {
                write!(f, "{node} runs {} itself, item by item", body.join(", "))?;
                if rebuilt.is_empty() {
                    return Ok(());
                }
                write!(f, ", and builds {} anew each time", rebuilt.join(", "))
            }
            Self::Cycle { nodes } => {
                write!(f, "the circle of {} only runs as one graph", nodes.join(", "))
            }
            Self::EveryTurn { nodes } => {
                write!(f, "every turn of the circle runs {} again", nodes.join(", "))
            }
            Self::Chain { nodes } => {
                let nodes = nodes.join(", ");
                write!(f, "isolation is chain, and {nodes} are Langflow's own and need no secret")
            }
            Self::Run => f.write_str("isolation is run"),
            Self::Whole { because } => write!(f, "the flow only runs as a whole: {because}"),
        }
    }
}

impl fmt::Display for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stateful { node } => write!(f, "{node} reaches others without a connection"),
            Self::NoBeginning => f.write_str("every node waits for another, so lfx picks one"),
            Self::Touched { node, asks } if asks == "itself" => {
                write!(f, "the code of {node} hands its graph on")
            }
            Self::Touched { node, asks } => {
                write!(f, "the code of {node} asks its graph for {asks}")
            }
        }
    }
}

impl fmt::Display for Sharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ingests { field } => write!(f, "it writes what arrives at {field}"),
            Self::VectorStore => f.write_str("it is a vector store"),
            Self::GivesData => f.write_str("it also gives data"),
            Self::Turns => f.write_str("it stands in a circle"),
            Self::NotAConstructor { types } => {
                write!(f, "making {} may have effects", types.join(", "))
            }
            Self::TakenTwice { consumer } => {
                write!(f, "{consumer} takes its data next to its object")
            }
        }
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OrphanTool => f.write_str("a tool that nothing uses"),
        }
    }
}
