//! All that stands before a cell, however far.

use std::collections::BTreeSet;

use crate::flow::Graph;
use crate::plan::{Cell, Plan};

/// The cells that a cell waits for, and those for which they wait, and so on; by index.
#[must_use]
pub fn cells(plan: &Plan, cell: &Cell) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let mut stack = cell.depends_on.clone();
    while let Some(task) = stack.pop() {
        if found.insert(task)
            && let Some(before) = plan.cell(task)
        {
            stack.extend(&before.depends_on);
        }
    }
    found
}

/// The node, and every node from which a way leads to it.
#[must_use]
pub fn nodes<'g>(graph: &'g Graph, node: &str) -> BTreeSet<&'g str> {
    let mut found = BTreeSet::new();
    let mut stack: Vec<usize> = graph.position(node).into_iter().collect();
    while let Some(position) = stack.pop() {
        let id = graph.nodes().get(position).map(|node| node.id.as_str());
        if id.is_some_and(|id| found.insert(id)) {
            stack.extend(graph.incoming(position).map(|edge| edge.source_position));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::fixture::Draft;

    #[test]
    fn goes_all_the_way() {
        let graph = Draft::new()
            .nodes("A-1 B-2 C-3 D-4 E-5")
            .edge("A-1.out:Message", "B-2.in")
            .edge("B-2.out:Message", "C-3.in")
            .edge("A-1.out:Message", "C-3.more")
            .edge("C-3.out:Message", "E-5.in")
            .graph();
        let before = |node| nodes(&graph, node).into_iter().collect::<Vec<_>>().join(" ");
        assert_eq!(before("C-3"), "A-1 B-2 C-3");
        assert_eq!(before("D-4"), "D-4");
        assert_eq!(before("nobody"), "");
        let plan = Plan::of(&graph).unwrap();
        let of = |node| {
            let found = cells(&plan, plan.cell_of(node).unwrap());
            let ids = found.into_iter().map(|task| plan.cell(task).unwrap().id.clone());
            ids.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(of("E-5"), "A-1 B-2 C-3");
        assert_eq!(of("A-1"), "");
    }
}
