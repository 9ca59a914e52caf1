//! Running again what has ended: which finished tasks the new run takes over, and what a changed
//! request builds otherwise.
//!
//! A task is taken over when it is done and nothing before it is done again. What a taken-over
//! cell decided about branches and wrote into the run's context holds again; what the others did is
//! forgotten.

use std::collections::BTreeSet;

use crate::flow::Graph;
use crate::input::{Input, inject};
use crate::plan::{Cell, Plan};
use crate::run::{Task, TaskState};

/// The tasks that a new run takes over when these, and all that need them, are done again.
#[must_use]
pub fn kept(tasks: &[Task], again: &BTreeSet<u32>) -> BTreeSet<u32> {
    let mut again = again.clone();
    // A cell planned anew stands behind those that need it, so once in order is not enough.
    loop {
        let needs_one = |task: &&Task| task.depends_on.iter().any(|need| again.contains(need));
        let more: Vec<u32> = tasks.iter().filter(needs_one).map(|task| task.index).collect();
        let before = again.len();
        again.extend(more);
        if again.len() == before {
            break;
        }
    }
    let is_kept = |task: &&Task| task.state == TaskState::Done && !again.contains(&task.index);
    tasks.iter().filter(is_kept).map(|task| task.index).collect()
}

/// The tasks whose cells build this node, by its id or display name; none where the plan has no
/// such node.
#[must_use]
pub fn building(graph: &Graph, plan: &Plan, name: &str) -> BTreeSet<u32> {
    let is_named =
        |id: &str| id == name || graph.node(id).is_some_and(|node| node.display_name == name);
    let builds = |cell: &&Cell| !cell.is_replaced() && cell.built().any(is_named);
    plan.cells.iter().filter(builds).map(|cell| cell.index).collect()
}

/// A flow as one run builds it.
#[derive(Clone, Copy, Debug)]
pub struct Form<'a> {
    /// The flow, tweaked.
    pub graph: &'a Graph,
    /// What is sent into it.
    pub input: &'a Input,
}

/// The nodes, by id, that two forms of the same flow build otherwise.
#[must_use]
pub fn changed(before: &Form<'_>, after: &Form<'_>) -> BTreeSet<String> {
    let (said, says) = (inject(before.graph, before.input), inject(after.graph, after.input));
    let differs = |id: &&String| {
        let (old, new) = (before.graph.node(id), after.graph.node(id));
        said.get(*id) != says.get(*id)
            || old.map(|node| &node.template) != new.map(|node| &node.template)
    };
    after.graph.nodes().iter().map(|node| &node.id).filter(differs).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::fixture::{Draft, node};
    use crate::run::TaskState::{Cancelled, Done, Failed, Replaced, Skipped};

    /// Tasks of these states, each with what it needs.
    fn tasks(states: &[(TaskState, &[u32])]) -> Vec<Task> {
        let task = |(index, (state, depends_on)): (u32, &(TaskState, &[u32]))| Task {
            state: *state,
            ..Task::waiting(index, depends_on.to_vec())
        };
        (0..).zip(states).map(task).collect()
    }

    fn set(tasks: &[u32]) -> BTreeSet<u32> {
        tasks.iter().copied().collect()
    }

    #[test]
    fn what_is_set_otherwise_is_built_otherwise() {
        let draft = || {
            Draft::new()
                .node(node("ChatInput-a", "ChatInput").field("input_value", "str"))
                .node(node("Prompt-b", "Prompt").field("template", "str"))
                .graph()
        };
        let (graph, mut tweaked) = (draft(), draft());
        let tweaks = serde_json::json!({"Prompt-b": {"template": "other"}});
        crate::tweaks::apply(&mut tweaked, tweaks.as_object().unwrap(), None).unwrap();
        let input = |text: &str| Input { value: Some(text.to_owned()), ..Input::default() };
        let first = Form { graph: &graph, input: &input("hi") };
        let names = |graph, text: &str| {
            let changed = changed(&first, &Form { graph, input: &input(text) });
            changed.into_iter().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(&graph, "hi"), "");
        assert_eq!(names(&tweaked, "hi"), "Prompt-b");
        assert_eq!(names(&graph, "ho"), "ChatInput-a");
        assert_eq!(names(&tweaked, "ho"), "ChatInput-a Prompt-b");
    }

    #[test]
    fn what_is_done_is_kept() {
        let tasks = tasks(&[(Done, &[]), (Done, &[0]), (Failed, &[1]), (Cancelled, &[2])]);
        assert_eq!(kept(&tasks, &set(&[])), set(&[0, 1]));
    }

    #[test]
    fn what_needs_a_repeated_task_is_repeated() {
        let tasks = tasks(&[(Done, &[]), (Done, &[0]), (Done, &[0]), (Done, &[1]), (Done, &[2])]);
        assert_eq!(kept(&tasks, &set(&[1])), set(&[0, 2, 4]));
        assert_eq!(kept(&tasks, &set(&[0])), set(&[]));
    }

    #[test]
    fn a_task_needs_what_was_planned_behind_it() {
        let tasks = tasks(&[(Done, &[]), (Replaced, &[0]), (Done, &[3]), (Done, &[0])]);
        assert_eq!(kept(&tasks, &set(&[])), set(&[0, 2, 3]));
        assert_eq!(kept(&tasks, &set(&[3])), set(&[0]));
    }

    #[test]
    fn a_skipped_task_is_decided_anew() {
        let tasks = tasks(&[(Done, &[]), (Skipped, &[0]), (Done, &[0, 1])]);
        assert_eq!(kept(&tasks, &set(&[])), set(&[0, 2]));
    }
}
