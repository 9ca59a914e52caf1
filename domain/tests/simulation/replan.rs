//! A result that proves to be live: the cells between it and who needs it become one.

use std::collections::HashSet;

use flowcell_domain::failure::{Failure, FailureKind};
use flowcell_domain::run::{Outcome, PlannedTask, Task};

/// Everything that a task needs, however far.
fn before(tasks: &[Task], task: u32) -> HashSet<u32> {
    let mut found = HashSet::new();
    let mut stack = tasks[task as usize].depends_on.clone();
    while let Some(need) = stack.pop() {
        if found.insert(need) {
            stack.extend(&tasks[need as usize].depends_on);
        }
    }
    found
}

/// The task and one that needs it become one, along with all that stands between them.
pub(crate) fn replanned(tasks: &[Task], task: u32) -> Outcome {
    let Some(last) = tasks.iter().rfind(|other| other.depends_on.contains(&task)) else {
        return Outcome::Done { skip: Vec::new() };
    };
    let leads = |from: u32, to: u32| before(tasks, to).contains(&from);
    let joined: Vec<u32> = tasks
        .iter()
        .map(|other| other.index)
        .filter(|&other| {
            let after = other == task || leads(task, other);
            after && (other == last.index || leads(other, last.index))
        })
        .collect();
    let planned = planned(tasks, &joined);
    let kind = FailureKind::ValueNotPortable { value_type: "Model".into() };
    let failure = Failure::new(kind, "it cannot travel");
    Outcome::Replanned { failure, replaced: joined, planned, skip: Vec::new() }
}

fn planned(tasks: &[Task], joined: &[u32]) -> Vec<PlannedTask> {
    let new = u32::try_from(tasks.len()).unwrap();
    let is_joined = |index: &u32| joined.contains(index);
    let mut planned: Vec<PlannedTask> = Vec::new();
    let mut needs: Vec<u32> = Vec::new();
    for other in tasks {
        if is_joined(&other.index) {
            needs.extend(other.depends_on.iter().filter(|need| !is_joined(need)));
        } else if other.depends_on.iter().any(is_joined) {
            let kept = other.depends_on.iter().filter(|need| !is_joined(need)).copied();
            let depends_on = kept.chain([new]).collect();
            planned.push(PlannedTask { task: other.index, cell: String::new(), depends_on });
        }
    }
    planned.push(PlannedTask { task: new, cell: String::new(), depends_on: needs });
    planned
}
