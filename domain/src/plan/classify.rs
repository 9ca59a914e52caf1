//! What each connection carries, from the JSON alone.

use std::collections::BTreeSet;

use super::{Carries, OutputRef, Sharing};
use crate::flow::types::{is_constructed, travels};
use crate::flow::{Edge, Graph, Node};

/// Live types that are not mere construction: they hold or reach stored data.
const STORES: [&str; 4] = ["VectorStore", "Retriever", "BaseRetriever", "VectorStoreRetriever"];

/// Fields through which a component writes begin like this (`ingest_data`, `ingest_documents`).
const INGEST: &str = "ingest";

/// What every edge of the graph carries, in edge order.
pub(super) fn edges(graph: &Graph, observed: &BTreeSet<OutputRef>) -> Vec<Carries> {
    graph.edges().iter().map(|edge| edge_carries(graph, edge, observed)).collect()
}

fn edge_carries(graph: &Graph, edge: &Edge, observed: &BTreeSet<OutputRef>) -> Carries {
    if graph.nodes().get(edge.source_position).is_some_and(|node| node.is_tool_mode) {
        return Carries::Tool;
    }
    let types = edge.types.clone();
    let stuck: Vec<String> = types.iter().filter(|name| !travels(name)).cloned().collect();
    if types.is_empty() {
        return Carries::Unknown { types };
    }
    if stuck.is_empty() {
        let output = OutputRef { node: edge.source.clone(), output: edge.output.clone() };
        return if observed.contains(&output) {
            Carries::Observed { types }
        } else {
            Carries::Data { types }
        };
    }
    let is_known = |name: &String| is_constructed(name) || STORES.contains(&name.as_str());
    if stuck.iter().all(is_known) {
        Carries::Live { types: stuck }
    } else {
        Carries::Unknown { types: stuck }
    }
}

/// Why the producer at a position must run exactly once; `None` when it may be copied. `live` are
/// what its live edges carry, `gives_data` whether another edge takes data from it.
pub(super) fn sharing(
    graph: &Graph,
    position: usize,
    live: &[&Carries],
    gives_data: bool,
) -> Option<Sharing> {
    let mut incoming = graph.incoming(position);
    if let Some(edge) = incoming.find(|edge| edge.field.starts_with(INGEST)) {
        return Some(Sharing::Ingests { field: edge.field.clone() });
    }
    if live.iter().all(|carries| is_constructor(carries)) {
        return None;
    }
    if graph.nodes().get(position).is_some_and(is_vector_store) || live.iter().any(is_store) {
        return Some(Sharing::VectorStore);
    }
    if gives_data {
        return Some(Sharing::GivesData);
    }
    let mut types: Vec<String> = live.iter().flat_map(|carries| carries.types()).collect();
    types.sort();
    types.dedup();
    Some(Sharing::NotAConstructor { types })
}

fn is_constructor(carries: &Carries) -> bool {
    match carries {
        Carries::Tool => true,
        Carries::Live { types } => types.iter().all(|name| is_constructed(name)),
        Carries::Data { .. } | Carries::Unknown { .. } | Carries::Observed { .. } => false,
    }
}

fn is_store(carries: &&Carries) -> bool {
    carries.types().iter().any(|name| STORES.contains(&name.as_str()))
}

fn is_vector_store(node: &Node) -> bool {
    node.template.keys().any(|field| field.starts_with(INGEST))
}

impl Carries {
    /// The types named.
    #[must_use]
    pub fn types(&self) -> Vec<String> {
        match self {
            Self::Tool => vec!["Tool".to_owned()],
            Self::Data { types }
            | Self::Live { types }
            | Self::Unknown { types }
            | Self::Observed { types } => types.clone(),
        }
    }
}
