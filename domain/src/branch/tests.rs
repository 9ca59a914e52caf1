use super::{BranchState, Branches, Error, Operation};
use crate::flow::Graph;
use crate::flow::fixture::Draft;
use crate::plan::Plan;

/// An If-Else whose branches meet again, with a node that only the true branch feeds and one that
/// another input feeds as well.
fn graph() -> Graph {
    Draft::new()
        .nodes("ChatInput-a If-b Yes-c No-d Merge-e After-f Other-g Mixed-h")
        .edge("ChatInput-a.message:Message", "If-b.in")
        .edge("If-b.true_result:Message", "Yes-c.in")
        .edge("If-b.false_result:Message", "No-d.in")
        .edge("Yes-c.out:Message", "Merge-e.one")
        .edge("No-d.out:Message", "Merge-e.two")
        .edge("Merge-e.out:Message", "After-f.in")
        .edge("No-d.out:Message", "Mixed-h.one")
        .edge("Other-g.out:Message", "Mixed-h.two")
        .graph()
}

fn stop(output: &str) -> Operation {
    let (node, output) = ("If-b".to_owned(), Some(output.to_owned()));
    Operation::MarkBranch { node, state: BranchState::Inactive, output }
}

fn exclude(output: &str) -> Operation {
    Operation::ExcludeBranch { node: "If-b".to_owned(), output: Some(output.to_owned()) }
}

fn after(operations: &[Operation]) -> (String, Vec<String>) {
    let graph = graph();
    let plan = Plan::of(&graph).unwrap();
    let mut branches = Branches::default();
    branches.apply(&graph, plan.cell_of("If-b").unwrap(), operations).unwrap();
    let name = |index: u32| plan.cell(index).unwrap().id.clone();
    let skipped = branches.skipped_cells(&plan).into_iter().map(name).collect();
    (branches.off().into_iter().collect::<Vec<_>>().join(" "), skipped)
}

#[test]
fn a_merge_behind_both_branches_goes_on() {
    let (off, skipped) = after(&[stop("false_result"), exclude("false_result")]);
    assert_eq!(off, "Mixed-h No-d");
    assert_eq!(skipped, ["No-d", "Mixed-h"]);
    assert_eq!(after(&[stop("true_result")]).0, "Yes-c");
    assert_eq!(after(&[exclude("true_result")]).0, "Yes-c");
}

#[test]
fn without_an_output_everything_behind_stops() {
    let all = "After-f Merge-e Mixed-h No-d Yes-c";
    let node = || "If-b".to_owned();
    let mark = |state| Operation::MarkBranch { node: node(), state, output: None };
    assert_eq!(after(&[mark(BranchState::Inactive)]).0, all);
    assert_eq!(after(&[Operation::ExcludeBranch { node: node(), output: None }]).0, all);
    assert_eq!(after(&[mark(BranchState::Inactive), mark(BranchState::Active)]).0, "");
}

#[test]
fn a_new_decision_replaces_the_exclusion() {
    assert_eq!(after(&[exclude("true_result"), exclude("false_result")]).0, "Mixed-h No-d");
    let outputs = |list: &[&str]| Operation::ExcludeBranches {
        node: "If-b".to_owned(),
        outputs: list.iter().map(|name| (*name).to_owned()).collect(),
    };
    let both = outputs(&["true_result", "false_result"]);
    assert_eq!(after(std::slice::from_ref(&both)).0, "After-f Merge-e Mixed-h No-d Yes-c");
    assert_eq!(after(&[both, outputs(&[])]).0, "");
}

#[test]
fn a_start_releases_only_its_own_stop() {
    let graph = Draft::new()
        .nodes("A-1 B-1 C-1")
        .edge("A-1.out:Message", "B-1.in")
        .edge("B-1.out:Message", "C-1.in")
        .graph();
    let plan = Plan::of(&graph).unwrap();
    let mark =
        |node: &str, state| Operation::MarkBranch { node: node.to_owned(), state, output: None };
    let mut branches = Branches::default();
    let mut apply = |node: &str, state| {
        branches.apply(&graph, plan.cell_of(node).unwrap(), &[mark(node, state)]).unwrap();
        branches.off().into_iter().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(apply("A-1", BranchState::Inactive), "B-1 C-1");
    assert_eq!(apply("B-1", BranchState::Inactive), "B-1 C-1");
    assert_eq!(apply("A-1", BranchState::Active), "C-1");
    assert_eq!(apply("B-1", BranchState::Active), "");
}

#[test]
fn a_cell_decides_only_for_its_own_nodes() {
    let graph = graph();
    let plan = Plan::of(&graph).unwrap();
    let mut branches = Branches::default();
    let operations = [exclude("true_result"), stop("false_result")];
    let refused = branches.apply(&graph, plan.cell_of("Yes-c").unwrap(), &operations);
    let (cell, node) = ("Yes-c".to_owned(), "If-b".to_owned());
    assert_eq!(refused, Err(Error::Foreign { cell, node }));
    assert_eq!(branches, Branches::default());
}

#[test]
fn survives_being_stored() {
    let graph = graph();
    let plan = Plan::of(&graph).unwrap();
    let mut branches = Branches::default();
    let operations = [stop("false_result"), exclude("false_result")];
    branches.apply(&graph, plan.cell_of("If-b").unwrap(), &operations).unwrap();
    let text = serde_json::to_string(&branches).unwrap();
    assert_eq!(serde_json::from_str::<Branches>(&text).unwrap(), branches);
    insta::assert_snapshot!(serde_json::to_string(&operations).unwrap(), @r#"[{"op":"mark_branch","node":"If-b","state":"INACTIVE","output":"false_result"},{"op":"exclude_branch_conditionally","node":"If-b","output":"false_result"}]"#);
}

#[test]
fn a_merge_waits_for_one_way_that_is_left() {
    let graph = Draft::new()
        .nodes("A-1 L-1 R-1 M-1 Z-1")
        .edge("A-1.left:Message", "L-1.in")
        .edge("A-1.right:Message", "R-1.in")
        .edge("L-1.out:Message", "M-1.in")
        .edge("R-1.out:Message", "M-1.in")
        .edge("M-1.out:Message", "Z-1.in")
        .graph();
    let plan = Plan::of(&graph).unwrap();
    let mark = |output: &str, state| Operation::MarkBranch {
        node: "A-1".to_owned(),
        state,
        output: Some(output.to_owned()),
    };
    let mut branches = Branches::default();
    let mut apply = |operation| {
        branches.apply(&graph, plan.cell_of("A-1").unwrap(), &[operation]).unwrap();
        branches.off().into_iter().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(apply(mark("left", BranchState::Inactive)), "L-1");
    assert_eq!(apply(mark("right", BranchState::Inactive)), "L-1 M-1 R-1 Z-1");
    assert_eq!(apply(mark("right", BranchState::Active)), "L-1");
}
