//! Small flows in Langflow's export form, for tests that need a graph and no Python.

use serde_json::{Value, json};

/// A flow's `data`: nodes in order, each fed by the ones named. A node's type is the part of its
/// id before the dash; its code does nothing, for tests never execute it.
#[must_use]
pub fn graph(nodes: &[(&str, &[&str])]) -> Value {
    let edges: Vec<Value> = nodes
        .iter()
        .flat_map(|(id, sources)| sources.iter().map(move |source| edge(source, id)))
        .collect();
    json!({
        "nodes": nodes.iter().map(|(id, _)| node(id)).collect::<Vec<_>>(),
        "edges": edges,
        "viewport": {"x": 0, "y": 0, "zoom": 1}
    })
}

fn kind(id: &str) -> &str {
    id.split('-').next().unwrap_or(id)
}

fn node(id: &str) -> Value {
    let field = |kind: &str, value: Value| {
        json!({"type": kind, "_input_type": "MessageInput", "value": value, "show": true,
               "list": false, "input_types": ["Message"], "name": "input_value",
               "display_name": "Input"})
    };
    json!({
        "id": id, "type": "genericNode", "position": {"x": 0, "y": 0},
        "data": {"id": id, "type": kind(id), "node": {
            "display_name": kind(id), "description": "", "base_classes": ["Message"],
            "template": {
                "_type": "Component",
                "code": {"type": "code", "value": "pass", "name": "code", "show": true},
                "input_value": field("str", json!("")),
                "should_store_message": {"type": "bool", "value": true, "name": "should_store_message"},
            },
            "outputs": [{"name": "message", "display_name": "Message", "types": ["Message"],
                         "selected": "Message", "method": "build", "value": "__UNDEFINED__",
                         "cache": true, "tool_mode": true}],
            "metadata": {"module": "test"}, "tool_mode": false, "frozen": false
        }}
    })
}

fn edge(source: &str, target: &str) -> Value {
    json!({
        "id": format!("{source}-{target}"), "source": source, "target": target,
        "data": {
            "sourceHandle": {"dataType": kind(source), "id": source, "name": "message",
                             "output_types": ["Message"]},
            "targetHandle": {"fieldName": "input_value", "id": target,
                             "inputTypes": ["Message"], "type": "str"}
        }
    })
}
