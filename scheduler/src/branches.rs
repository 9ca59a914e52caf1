//! What a cell's branch decisions mean for the rest of its run.

use domain::branch::{Branches, Operation};
use domain::failure::{Failure, FailureKind};
use domain::flow::Graph;
use domain::plan::{Cell, Plan};
use serde_json::Value;
use store::RunRecord;

use crate::error::Error;

/// The decisions of a run so far.
pub(crate) fn read(record: &RunRecord) -> Result<Branches, Error> {
    if record.operations.is_null() {
        return Ok(Branches::default());
    }
    Ok(serde_json::from_value(record.operations.clone())?)
}

/// Adds what a cell decided. Gives the new decisions and the tasks to skip because of them.
pub(crate) fn follow(
    branches: &mut Branches,
    graph: &Graph,
    plan: &Plan,
    cell: &Cell,
    operations: &[Value],
) -> Result<Vec<u32>, Failure> {
    let unusable = |why: String| {
        let message = format!("the cell's branch decisions are unusable: {why}");
        Failure::new(FailureKind::ProtocolViolation, message).at(cell.id.clone())
    };
    let operations: Vec<Operation> = operations
        .iter()
        .map(|operation| serde_json::from_value(operation.clone()))
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(error.to_string()))?;
    branches.apply(graph, cell, &operations).map_err(|error| unusable(error.to_string()))?;
    Ok(branches.skipped_cells(plan))
}
