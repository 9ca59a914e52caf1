//! What must be true of imports, whatever the bytes. Shared by the fuzz target and by the tests of
//! `domain`, which replay the corpus.

use flowcell_domain::flow::{Export, Graph};
use flowcell_domain::input::{Input, InputType, inject};
use flowcell_domain::plan::{Plan, cell_graph, needs};
use flowcell_domain::selection::{OutputType, Scope, outputs, to_run};
use flowcell_domain::tweaks;
use serde_json::{Map, Value};

/// What is read is what is written again, and everything that reads a graph gets through it. Says
/// how many flows can be planned.
pub(crate) fn import(data: &[u8]) -> usize {
    let Ok(exports) = Export::parse(data) else { return 0 };
    let mut planned = 0;
    for export in exports.iter().take(4) {
        let again = Export::from_value(export.to_value()).expect("what was written can be read");
        assert_eq!(again.as_slice(), std::slice::from_ref(export));
        planned += usize::from(exercise(&export.data, &Map::new()));
    }
    planned
}

/// Whatever is done with a graph before a run of it starts. Says whether it has a plan.
pub(crate) fn exercise(data: &Value, tweaks: &Map<String, Value>) -> bool {
    let Ok(mut graph) = Graph::read(data) else { return false };
    let _ = tweaks::apply(&mut graph, tweaks, Some(true));
    let input =
        Input { value: Some("hi".to_owned()), input_type: InputType::Any, ..Input::default() };
    let _ = inject(&graph, &input);
    for kind in [OutputType::Chat, OutputType::Debug] {
        let _ = outputs(&graph, None, kind);
    }
    let run = to_run(&graph, Scope::Run);
    let Ok(plan) = Plan::of(&graph) else { return false };
    let _ = plan.cells_for(&run);
    let _ = plan.explain(&graph);
    for cell in &plan.cells {
        let _ = cell_graph(&graph, cell);
        let _ = needs(&graph, cell);
    }
    true
}
