//! What a component's chat history holds of its own run.
//!
//! Langflow builds a flow layer by layer: a component reads what was said before the run and in the
//! layers before its own. What the others of its layer say comes too late for it: asked at the same
//! moment, reading is done before a message is stored. Cells that do not need each other run in any
//! order here, so what they say is kept from each other by their place in the plan and not by time.

use std::collections::HashMap;

use crate::run::Task;

/// The other tasks that stand in the layer of this one, or in a later one: what they say is not
/// part of its history.
#[must_use]
pub fn unheard(tasks: &[Task], task: u32) -> Vec<u32> {
    let layers = layers(tasks);
    let own = layers.get(&task).copied().unwrap_or_default();
    let is_unheard = |other: &&Task| {
        other.index != task && layers.get(&other.index).is_some_and(|layer| *layer >= own)
    };
    tasks.iter().filter(is_unheard).map(|other| other.index).collect()
}

/// How many tasks stand one behind the other before each.
fn layers(tasks: &[Task]) -> HashMap<u32, usize> {
    let mut layers: HashMap<u32, usize> = HashMap::with_capacity(tasks.len());
    // A cell planned anew stands behind those that need it, so once in order is not enough. Plans
    // have no circles: a layer is final after as many rounds.
    for _ in tasks {
        let mut is_settled = true;
        for task in tasks {
            let needed = task.depends_on.iter().map(|need| layers.get(need).map_or(1, |n| n + 1));
            let layer = needed.max().unwrap_or(0);
            is_settled &= layers.insert(task.index, layer) == Some(layer);
        }
        if is_settled {
            break;
        }
    }
    layers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tasks(needs: &[&[u32]]) -> Vec<Task> {
        (0..).zip(needs).map(|(index, needs)| Task::waiting(index, needs.to_vec())).collect()
    }

    #[test]
    fn a_root_hears_no_other() {
        // ChatInput and Message History, the prompt that takes both, the answer.
        let tasks = tasks(&[&[], &[], &[0, 1], &[2]]);
        assert_eq!(unheard(&tasks, 1), [0, 2, 3]);
        assert_eq!(unheard(&tasks, 2), [3]);
        assert_eq!(unheard(&tasks, 3), [0; 0]);
    }

    #[test]
    fn a_later_layer_hears_the_earlier_ones_though_it_needs_none_of_them() {
        let tasks = tasks(&[&[], &[0], &[], &[2], &[3]]);
        assert_eq!(unheard(&tasks, 3), [1, 4]);
        assert_eq!(unheard(&tasks, 4), [0; 0]);
    }

    #[test]
    fn the_order_of_the_list_does_not_count() {
        let tasks = tasks(&[&[], &[2], &[0]]);
        assert_eq!(unheard(&tasks, 2), [1]);
        assert_eq!(unheard(&tasks, 1), [0; 0]);
    }
}
