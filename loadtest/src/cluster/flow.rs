//! Flows whose cells are never executed: Chat Input, components between, Chat Output.

use serde_json::{Value, json};

/// A chain of so many cells, at least one: a Chat Output alone, or a Chat Input and more before it.
pub(crate) fn chain(cells: usize) -> Value {
    let between = (1..cells.saturating_sub(1)).map(|number| format!("Pass-{number}"));
    let first = (cells > 1).then(|| "ChatInput-1".to_owned());
    let ids: Vec<String> =
        first.into_iter().chain(between).chain(["ChatOutput-1".to_owned()]).collect();
    let nodes: Vec<Value> = ids.iter().map(|id| node(id)).collect();
    let edges: Vec<Value> =
        ids.iter().zip(ids.iter().skip(1)).map(|(from, to)| edge(from, to)).collect();
    json!({
        "name": format!("chain of {cells}"),
        "data": {"nodes": nodes, "edges": edges, "viewport": {"x": 0, "y": 0, "zoom": 1}},
    })
}

fn kind(id: &str) -> &str {
    id.split('-').next().unwrap_or(id)
}

fn node(id: &str) -> Value {
    json!({
        "id": id, "type": "genericNode", "position": {"x": 0, "y": 0},
        "data": {"id": id, "type": kind(id), "node": {
            "display_name": kind(id), "description": "", "base_classes": ["Message"],
            "template": {
                "_type": "Component",
                "code": {"type": "code", "value": "pass", "name": "code", "show": true},
                "input_value": {"type": "str", "_input_type": "MessageInput", "value": "",
                    "show": true, "list": false, "input_types": ["Message"],
                    "name": "input_value", "display_name": "Input"},
            },
            "outputs": [{"name": "message", "display_name": "Message", "types": ["Message"],
                "selected": "Message", "method": "build", "value": "__UNDEFINED__",
                "cache": true, "tool_mode": true}],
            "metadata": {"module": "hollow"}, "tool_mode": false, "frozen": false
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

#[cfg(test)]
mod tests {
    use domain::flow::Graph;
    use domain::plan::Plan;

    use super::chain;

    #[test]
    fn every_component_is_a_cell_of_its_own() {
        for cells in [1, 2, 5] {
            let graph = Graph::read(&chain(cells)["data"]).unwrap();
            assert_eq!(Plan::of(&graph).unwrap().cells.len(), cells);
        }
    }
}
