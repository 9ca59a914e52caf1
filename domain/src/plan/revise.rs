//! A plan that changes while a run follows it, because an output proved to be live.
//!
//! ```text
//! before   0 [A] ─▶ 1 [B] ─▶ 2 [C]        after   0 —   1 —   2 [C]   3 [A B]
//! ```
//!
//! Tasks, results and attempts name a cell by its index, so a cell that stays keeps its own; those
//! that are planned anew come behind, and leave empty cells in their old places.

use std::collections::{BTreeMap, BTreeSet};

use super::{Carries, Cell, OutputRef, Plan};

/// A plan in the place of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// The plan. Unlike a first plan's, its cells may depend on later ones.
    pub plan: Plan,
    /// Cells of the plan before that are empty now.
    pub replaced: Vec<u32>,
}

impl Plan {
    /// The outputs of which runs have shown that they are live.
    #[must_use]
    pub fn observed(&self) -> BTreeSet<OutputRef> {
        let observed =
            self.edges.iter().filter(|edge| matches!(edge.carries, Carries::Observed { .. }));
        observed
            .map(|edge| OutputRef { node: edge.source.clone(), output: edge.output.clone() })
            .collect()
    }

    /// This plan turned into another one of the same graph.
    #[must_use]
    pub fn revised(&self, learned: Self) -> Revision {
        let mut next = (0_u32..).skip(self.cells.len());
        let kept =
            |cell: &Cell| self.cells.iter().find(|old| old.is_same(cell)).map(|old| old.index);
        let numbers: BTreeMap<u32, u32> = learned
            .cells
            .iter()
            .filter_map(|cell| Some((cell.index, kept(cell).or_else(|| next.next())?)))
            .collect();
        let mut cells: BTreeMap<u32, Cell> =
            self.cells.iter().map(|cell| (cell.index, cell.emptied())).collect();
        let renumbered = learned.cells.into_iter().filter_map(|cell| cell.renumbered(&numbers));
        cells.extend(renumbered.map(|cell| (cell.index, cell)));
        let gone = |old: &&Cell| {
            !old.is_replaced() && cells.get(&old.index).is_some_and(Cell::is_replaced)
        };
        let replaced = self.cells.iter().filter(gone).map(|old| old.index).collect();
        let plan = Self { cells: cells.into_values().collect(), ..learned };
        Revision { plan, replaced }
    }
}

impl Cell {
    /// Whether this is the empty place of a cell that was planned anew.
    #[must_use]
    pub fn is_replaced(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether both run the same nodes on the same values.
    fn is_same(&self, other: &Self) -> bool {
        let takes = |cell: &Self| {
            let named = cell.inputs.iter().map(|input| (&input.node, &input.output));
            named.map(|(node, output)| (node.clone(), output.clone())).collect::<BTreeSet<_>>()
        };
        self.id == other.id
            && self.driver == other.driver
            && self.members == other.members
            && self.copied == other.copied
            && self.inner == other.inner
            && takes(self) == takes(other)
    }

    fn emptied(&self) -> Self {
        Self {
            index: self.index,
            id: self.id.clone(),
            members: Vec::new(),
            copied: Vec::new(),
            inner: Vec::new(),
            driver: self.driver,
            depends_on: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            why: Vec::new(),
        }
    }

    fn renumbered(mut self, numbers: &BTreeMap<u32, u32>) -> Option<Self> {
        let new = |old: u32| numbers.get(&old).copied();
        self.index = new(self.index)?;
        self.depends_on = self.depends_on.into_iter().filter_map(new).collect();
        self.depends_on.sort_unstable();
        for input in &mut self.inputs {
            input.cell = new(input.cell)?;
        }
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Graph;
    use crate::flow::fixture::Draft;

    fn learned(graph: &Graph, plan: &Plan, node: &str) -> Revision {
        let mut live = plan.observed();
        live.insert(OutputRef { node: node.to_owned(), output: "out".to_owned() });
        plan.revised(Plan::with_observed(graph, &live).unwrap())
    }

    fn shape(plan: &Plan) -> Vec<String> {
        let cell = |cell: &Cell| {
            let needs: Vec<String> = cell.depends_on.iter().map(u32::to_string).collect();
            format!("{} [{}] <- {}", cell.index, cell.members.join(" "), needs.join(" "))
        };
        plan.cells.iter().map(cell).collect()
    }

    #[test]
    fn cells_that_stay_keep_their_places() {
        let graph = Draft::new()
            .nodes("Q-q A-a B-b C-c D-d")
            .edge("Q-q.out:Message", "A-a.in")
            .edge("A-a.out:Message", "B-b.in")
            .edge("B-b.out:Message", "C-c.in")
            .edge("Q-q.out:Message", "D-d.in")
            .graph();
        let first = Plan::of(&graph).unwrap();
        let second = learned(&graph, &first, "A-a");
        assert_eq!(
            shape(&second.plan),
            [
                "0 [Q-q] <- ",
                "1 [] <- ",
                "2 [] <- ",
                "3 [C-c] <- 5",
                "4 [D-d] <- 0",
                "5 [A-a B-b] <- 0"
            ]
        );
        assert_eq!(second.replaced, [1, 2]);
        let third = learned(&graph, &second.plan, "B-b");
        assert_eq!(third.replaced, [3, 5]);
        assert_eq!(shape(&third.plan)[6], "6 [A-a B-b C-c] <- 0");
        assert_eq!(third.plan.observed().len(), 2);
    }
}
