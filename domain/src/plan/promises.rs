//! Promises that every plan keeps, over random graphs.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{Cell, Driver, Error, Isolation, OutputRef, Plan, Plans, Revision, Why, cell_graph};
use crate::flow::fixture::{Draft, node};
use crate::flow::{Edge, Graph};
use crate::upstream;

/// What one random edge carries.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Data,
    Ingest,
    Model,
    Store,
    Odd,
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        4 => Just(Kind::Data),
        1 => Just(Kind::Ingest),
        2 => Just(Kind::Model),
        1 => Just(Kind::Store),
        1 => Just(Kind::Odd),
    ]
}

/// A random flow, small enough to read when a promise is broken.
#[derive(Clone, Debug)]
struct Sketch {
    tools: Vec<bool>,
    edges: Vec<(usize, usize, Kind)>,
}

/// Mostly acyclic by rank, while positions are shuffled against it; some edges lead back.
fn sketches() -> impl Strategy<Value = Sketch> {
    (1_usize..14)
        .prop_flat_map(|count| {
            let ranks = Just((0..count).collect::<Vec<_>>()).prop_shuffle();
            let leads_back = prop::bool::weighted(0.05);
            let edges = (0..count, 0..count, kinds(), leads_back);
            let edges = prop::collection::vec(edges, 0..count * 3);
            (ranks, edges, prop::collection::vec(prop::bool::weighted(0.15), count))
        })
        .prop_map(|(ranks, edges, tools)| {
            let directed = |(one, other, kind, back): (usize, usize, Kind, bool)| {
                if (ranks[one] < ranks[other]) == back {
                    (other, one, kind)
                } else {
                    (one, other, kind)
                }
            };
            let edges = edges.into_iter().map(directed).filter(|(from, to, _)| from != to);
            Sketch { tools, edges: edges.collect() }
        })
}

impl Sketch {
    fn graph(&self) -> Graph {
        let mut draft = Draft::new();
        for (position, is_tool) in self.tools.iter().enumerate() {
            let node = node(&format!("N-{position}"), "N");
            draft = draft.node(if *is_tool { node.tool() } else { node });
        }
        for (from, to, kind) in &self.edges {
            let (output, field) = match kind {
                _ if self.tools[*from] => ("component_as_tool:Tool", "tools"),
                Kind::Data => ("data:Message", "in"),
                Kind::Ingest => ("table:Table", "ingest_data"),
                Kind::Model => ("model:LanguageModel", "model"),
                Kind::Store => ("store:VectorStore", "store"),
                Kind::Odd => ("odd:Thing", "odd"),
            };
            draft = draft.edge(&format!("N-{from}.{output}"), &format!("N-{to}.{field}"));
        }
        draft.graph()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_plan_holds_its_promises(sketch in sketches()) {
        let graph = sketch.graph();
        let plans = match Plans::of(&graph) {
            Ok(plans) => plans,
            Err(error) => {
                prop_assert_eq!(error, Error::NothingToRun);
                return Ok(());
            }
        };
        prop_assert_eq!(&Plans::of(&graph).unwrap(), &plans);
        let stored = serde_json::to_string(&plans).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Plans>(&stored).unwrap(), &plans);
        for isolation in [Isolation::Component, Isolation::Chain, Isolation::Run] {
            let plan = plans.under(isolation);
            check_nodes(&graph, plan)?;
            check_edges(&graph, plan)?;
            check_cycles(&graph, plan)?;
            check_payloads(&graph, plan)?;
        }
        prop_assert_eq!(plans.under(Isolation::Run).cells.len(), 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whichever value proves to be live: what could be done by then keeps its place, and the cells
    /// of the new plan wait for each other as its own cells do.
    #[test]
    fn a_revised_plan_touches_only_what_cannot_have_begun(sketch in sketches()) {
        let graph = sketch.graph();
        for isolation in [Isolation::Component, Isolation::Chain] {
            let Ok(plan) = Plan::isolated(&graph, isolation, &BTreeSet::new()) else { continue };
            let taken = plan.cells.iter().flat_map(|cell| &cell.inputs);
            let taken: BTreeSet<(u32, OutputRef)> = taken
                .map(|input| {
                    let (node, output) = (input.node.clone(), input.output.clone());
                    (input.cell, OutputRef { node, output })
                })
                .collect();
            for (giver, output) in taken {
                let live = BTreeSet::from([output]);
                let learned = Plan::isolated(&graph, isolation, &live).unwrap();
                let revision = plan.revised(learned.clone());
                check_revision(&plan, &learned, &revision, giver)?;
                check_edges(&graph, &revision.plan)?;
            }
        }
    }
}

fn check_revision(
    before: &Plan,
    learned: &Plan,
    revision: &Revision,
    giver: u32,
) -> Result<(), TestCaseError> {
    let plan = &revision.plan;
    prop_assert!(revision.replaced.contains(&giver));
    // The copies of a constructor, done or not, come together where its data proves to be live.
    let members = || before.cells.iter().flat_map(|cell| &cell.members);
    let has_copies = members().count() > members().collect::<BTreeSet<_>>().len();
    for &index in &revision.replaced {
        let cell = before.cell(index).unwrap();
        let waits = index == giver || upstream::cells(before, cell).contains(&giver);
        prop_assert!(waits || has_copies, "a cell that may be done is planned anew");
    }
    let at_place = |(index, cell): (u32, &Cell)| cell.index == index;
    prop_assert!((0..).zip(&plan.cells).all(at_place));
    let members = |plan: &Plan| -> BTreeSet<Vec<String>> {
        let cells = plan.cells.iter().filter(|cell| !cell.is_replaced());
        cells.map(|cell| cell.members.clone()).collect()
    };
    prop_assert_eq!(members(plan), members(learned));
    for cell in plan.cells.iter().filter(|cell| !cell.is_replaced()) {
        prop_assert!(!upstream::cells(plan, cell).contains(&cell.index), "a cell waits for itself");
        let needs = |need: &u32| plan.cell(*need).is_some_and(|need| !need.is_replaced());
        prop_assert!(cell.depends_on.iter().all(needs));
    }
    Ok(())
}

fn check_nodes(graph: &Graph, plan: &Plan) -> Result<(), TestCaseError> {
    let mut ids = BTreeSet::new();
    for (index, cell) in plan.cells.iter().enumerate() {
        prop_assert_eq!(usize::try_from(cell.index).unwrap(), index);
        prop_assert!(ids.insert(&cell.id));
        prop_assert!(cell.primaries().any(|primary| primary == cell.id));
        prop_assert!(cell.depends_on.iter().all(|other| *other < cell.index));
        for why in &cell.why {
            if let Why::Shared { node, .. } = why {
                prop_assert_eq!(plan.cells.iter().filter(|c| c.members.contains(node)).count(), 1);
            }
        }
    }
    for (position, node) in graph.nodes().iter().enumerate() {
        let holds = plan.cells.iter().filter(|cell| cell.members.contains(&node.id)).count();
        let owns = plan.cells.iter().filter(|cell| cell.primaries().any(|p| p == node.id)).count();
        if graph.is_orphan_tool(position) {
            prop_assert_eq!(holds, 0);
            prop_assert!(plan.skipped.iter().any(|skipped| skipped.node == node.id));
        } else {
            prop_assert!(holds >= 1 && owns <= 1);
        }
        if graph.incoming(position).any(|edge| edge.field == "ingest_data") {
            prop_assert!(holds <= 1, "what writes runs once");
        }
    }
    Ok(())
}

fn check_edges(graph: &Graph, plan: &Plan) -> Result<(), TestCaseError> {
    for (edge, planned) in graph.edges().iter().zip(&plan.edges) {
        for cell in plan.cells.iter().filter(|cell| cell.members.contains(&edge.target)) {
            let source = cell.members.iter().position(|member| *member == edge.source);
            if let Some(source) = source {
                let target = cell.members.iter().position(|member| *member == edge.target);
                let in_order = Some(source) < target || circle(graph, edge);
                prop_assert!(in_order, "members are in build order");
            }
            if planned.carries.is_live() {
                prop_assert!(source.is_some(), "a live edge never crosses cells");
            } else if source.is_none() {
                let input = cell
                    .inputs
                    .iter()
                    .find(|input| input.node == edge.source && input.output == edge.output);
                let input = input.expect("crossing data is an input");
                prop_assert!(cell.depends_on.contains(&input.cell));
                let provider = plan.cell(input.cell).unwrap();
                prop_assert!(provider.primaries().any(|primary| primary == edge.source));
                let output = OutputRef { node: edge.source.clone(), output: edge.output.clone() };
                prop_assert!(provider.outputs.contains(&output));
            }
        }
    }
    for cell in &plan.cells {
        let hydrated = cell.inputs.iter().all(|input| !cell.members.contains(&input.node));
        prop_assert!(hydrated, "a member is never hydrated");
    }
    Ok(())
}

/// Whether the edge lies on a circle.
fn circle(graph: &Graph, edge: &Edge) -> bool {
    let (mut seen, mut stack) = (BTreeSet::new(), vec![edge.target_position]);
    while let Some(at) = stack.pop() {
        if seen.insert(at) {
            stack.extend(graph.outgoing(at).map(|edge| edge.target_position));
        }
    }
    seen.contains(&edge.source_position)
}

fn check_cycles(graph: &Graph, plan: &Plan) -> Result<(), TestCaseError> {
    for edge in graph.edges().iter().filter(|edge| circle(graph, edge)) {
        let cell = plan.cell_of(&edge.source).expect("what stands in a circle is built");
        prop_assert!(cell.primaries().any(|member| member == edge.target), "a circle is one cell");
        prop_assert_eq!(cell.driver, Driver::Graph);
    }
    Ok(())
}

fn check_payloads(graph: &Graph, plan: &Plan) -> Result<(), TestCaseError> {
    for cell in &plan.cells {
        let payload = cell_graph(graph, cell);
        let nodes = payload["nodes"].as_array().unwrap();
        let ids: BTreeSet<&str> = nodes.iter().map(|node| node["id"].as_str().unwrap()).collect();
        prop_assert!(cell.members.iter().all(|member| ids.contains(member.as_str())));
        for edge in payload["edges"].as_array().unwrap() {
            let end = |name: &str| edge[name].as_str().unwrap();
            prop_assert!(ids.contains(end("source")) && ids.contains(end("target")));
            let inside = |name: &str| cell.members.iter().any(|member| member == end(name));
            prop_assert!(inside("source") || inside("target"));
            let is_copy = cell.copied.iter().any(|copy| copy == end("source"));
            prop_assert!(!is_copy || inside("target"), "a copy gives nothing to outsiders");
        }
    }
    Ok(())
}
