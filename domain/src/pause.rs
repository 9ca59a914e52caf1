//! Flows whose runs wait for a person.

use serde_json::Value;

use crate::flow::{Graph, Node, Place, json};

/// The component that asks a person.
const ASKER: &str = "HumanInput";
/// The field in which an agent's tools are told to ask first.
const TOOLS: &str = "tools_metadata";

/// Whether a run of the flow stops to ask somebody: at a Human Input whose answer goes somewhere,
/// or before an agent uses a tool that needs approval. As in Langflow only what stands on the
/// canvas itself counts, not what is inside a group.
#[must_use]
pub fn waits_for_a_person(graph: &Graph) -> bool {
    let on_canvas = graph.addresses().iter().filter(|address| matches!(address.place, Place::Node));
    let mut positions = on_canvas.filter_map(|address| graph.position(&address.id));
    positions.any(|position| {
        let node = graph.nodes().get(position);
        node.is_some_and(|node| {
            let asks = node.kind == ASKER && graph.outgoing(position).next().is_some();
            asks || has_tool_to_approve(node)
        })
    })
}

/// Whether a node is of those that ask, wherever its answer goes.
#[must_use]
pub fn asks_a_person(node: &Node) -> bool {
    node.kind == ASKER || has_tool_to_approve(node)
}

fn has_tool_to_approve(node: &Node) -> bool {
    let rows = node.field(TOOLS).and_then(|field| field.get("value")).and_then(Value::as_array);
    let mut rows = rows.into_iter().flatten();
    rows.any(|row| row.get("approval_actions").is_some_and(json::is_truthy))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::flow::fixture::{Draft, NodeDraft, node};

    fn agent(tools: Value) -> NodeDraft {
        node("Agent-a", "Agent").raw_field(TOOLS, json!({"type": "tools", "value": tools}))
    }

    fn waits(draft: Draft) -> bool {
        waits_for_a_person(&draft.graph())
    }

    #[test]
    fn an_answer_that_goes_nowhere_is_not_waited_for() {
        let asker = || Draft::new().nodes("HumanInput-a Prompt-b");
        assert!(!waits(asker()));
        assert!(waits(asker().edge("HumanInput-a.approve:Message", "Prompt-b.in")));
    }

    #[test]
    fn tools_may_need_approval() {
        let of = |tools| waits(Draft::new().node(agent(tools)));
        assert!(of(json!([{"name": "read"}, {"name": "pay", "approval_actions": ["approve"]}])));
        assert!(!of(json!([{"name": "pay", "approval_actions": []}, 7])));
        assert!(!of(json!("nonsense")));
    }

    #[test]
    fn the_inside_of_a_group_does_not_count() {
        let inside = agent(json!([{"approval_actions": ["approve"]}]));
        let group = Draft::new().node(inside).group("Group-1", json!({}), json!([]));
        assert!(!waits(Draft::new().node(group)));
    }
}
