//! Langflow's own starter flows are read and planned. They are not ours to keep in the
//! repository: `FLOWCELL_STARTER_FLOWS` names the folder that holds them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use flowcell_domain::flow::{Export, Graph};
use flowcell_domain::plan::{Driver, Plan, cell_graph, needs};

/// The folder, read in a test only: the library itself never looks at the environment.
fn folder() -> Option<PathBuf> {
    std::env::vars_os().find(|(name, _)| name == "FLOWCELL_STARTER_FLOWS").map(|(_, v)| v.into())
}

fn exports() -> Option<Vec<Export>> {
    let Some(folder) = folder() else {
        println!("skipped: FLOWCELL_STARTER_FLOWS does not name a folder of flows");
        return None;
    };
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the folder can be listed").path();
        if path.extension().is_some_and(|extension| extension == "json") {
            files.insert(
                path.display().to_string(),
                std::fs::read(&path).expect("the file can be read"),
            );
        }
    }
    assert!(!files.is_empty(), "the folder holds no flows");
    Some(Export::parse_many(files).expect("every file is a flow"))
}

#[test]
fn every_starter_flow_has_a_plan() {
    let Some(exports) = exports() else { return };
    for export in exports {
        let graph =
            Graph::read(&export.data).unwrap_or_else(|error| panic!("{}: {error}", export.name));
        let plan = Plan::of(&graph).unwrap_or_else(|error| panic!("{}: {error}", export.name));
        let copies: usize = plan.cells.iter().map(|cell| cell.copied.len()).sum();
        let live = plan.edges.iter().filter(|edge| edge.carries.is_live()).count();
        let unset: usize =
            plan.cells.iter().map(|cell| needs(&graph, cell).models_unset.len()).sum();
        println!(
            "{:32} {} nodes, {} cells, {live} live edges, {copies} copies, {} skipped, {unset} models unset",
            export.name,
            graph.nodes().len(),
            plan.cells.len(),
            plan.skipped.len(),
        );
        if plan.cells.iter().all(|cell| cell.driver == Driver::Order) {
            assert_eq!(
                plan.skipped.len() + plan.cells.len() + distinct_copies(&plan),
                graph.nodes().len()
            );
        }
        for cell in &plan.cells {
            let part = cell_graph(&graph, cell);
            assert!(part.to_string().len() <= export.data.to_string().len());
        }
    }
}

/// Nodes that exist only as copies.
fn distinct_copies(plan: &Plan) -> usize {
    let mut copied: Vec<&String> = plan.cells.iter().flat_map(|cell| &cell.copied).collect();
    copied.sort();
    copied.dedup();
    copied.len()
}

#[test]
fn official_code_has_the_hash_that_the_export_claims() {
    let Some(exports) = exports() else { return };
    let (mut equal, mut nodes) = (0, 0);
    for export in exports {
        let graph = Graph::read(&export.data).unwrap();
        for node in graph.nodes() {
            nodes += 1;
            equal += usize::from(node.claimed_code_hash == node.code_hash());
        }
    }
    println!("{equal} of {nodes} nodes claim the hash of their code");
    assert!(equal * 10 > nodes * 9);
}
