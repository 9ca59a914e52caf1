//! How long the planner takes for large flows, from the JSON of an export to its plans.
//!
//! ```sh
//! cargo bench -p flowcell-domain --bench plan
//! ```

#![allow(clippy::unwrap_used, reason = "a benchmark says what is wrong by failing")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use flowcell_domain::flow::Graph;
use flowcell_domain::plan::Plans;
use serde_json::{Value, json};

/// The largest flow of the conformance suite has as many.
const NODES: usize = 140;
/// As long as the code of Langflow's larger components.
const CODE_BYTES: usize = 20_000;

/// `sources` names the nodes that feed a node.
fn flow(sources: impl Fn(usize) -> Vec<usize>) -> Value {
    let edges = (0..NODES).flat_map(|to| sources(to).into_iter().map(move |from| edge(from, to)));
    json!({
        "nodes": (0..NODES).map(node).collect::<Vec<_>>(),
        "edges": edges.collect::<Vec<_>>(),
    })
}

fn id(position: usize) -> String {
    format!("Prompt-{position:05}")
}

fn node(position: usize) -> Value {
    let code = "x = 1\n".repeat(CODE_BYTES / 6);
    let output = json!({"name": "prompt", "types": ["Message"], "method": "build_prompt"});
    json!({
        "id": id(position), "type": "genericNode",
        "data": {"id": id(position), "type": "Prompt", "node": {
            "display_name": "Prompt", "outputs": [output],
            "template": {
                "_type": "Component",
                "code": {"type": "code", "value": code},
                "in": {"type": "str", "value": "", "input_types": ["Message"], "list": true},
            },
        }},
    })
}

fn edge(from: usize, to: usize) -> Value {
    let (source, target) = (id(from), id(to));
    let given =
        json!({"dataType": "Prompt", "id": source, "name": "prompt", "output_types": ["Message"]});
    let taken = json!({"fieldName": "in", "id": target, "inputTypes": ["Message"], "type": "str"});
    json!({
        "source": source, "target": target,
        "data": {"sourceHandle": given, "targetHandle": taken},
    })
}

fn plan(c: &mut Criterion) {
    let chain = flow(|position| position.checked_sub(1).into_iter().collect());
    // Every node is fed by the eight before it.
    let dense = flow(|position| (position.saturating_sub(8)..position).collect());
    for (name, flow) in [("chain", &chain), ("dense", &dense)] {
        let graph = Graph::read(flow).unwrap();
        c.bench_function(&format!("read {name} of {NODES}"), |b| {
            b.iter(|| Graph::read(black_box(flow)).unwrap());
        });
        c.bench_function(&format!("plan {name} of {NODES}, three isolations"), |b| {
            b.iter(|| Plans::of(black_box(&graph)).unwrap());
        });
    }
}

criterion_group!(benches, plan);
criterion_main!(benches);
