//! No JSON makes reading or planning panic, however far it is from a flow.

#[path = "../../fuzz/checks/flow.rs"]
#[allow(dead_code, reason = "its other half replays the corpus")]
mod flow;

use flowcell_domain::flow::{Export, Graph};
use flowcell_domain::plan::Plan;
use proptest::prelude::*;
use serde_json::{Value, json};

/// JSON made of the words that flows are made of, so that it often gets past the first checks.
fn arbitrary() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "id",
        "A",
        "B",
        "nodes",
        "edges",
        "data",
        "node",
        "template",
        "_type",
        "Component",
        "code",
        "type",
        "value",
        "outputs",
        "name",
        "types",
        "flow",
        "proxy",
        "field",
        "source",
        "target",
        "sourceHandle",
        "targetHandle",
        "fieldName",
        "inputTypes",
        "dataType",
        "output_types",
        "GroupNode",
        "Message",
        "Tool",
        "flows",
        "tool_mode",
        "parent_node_id",
        "display_name",
        "{œidœ: 1}",
        "",
        "x_y",
    ])
    .prop_map(str::to_owned);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i32>().prop_map(|number| json!(number)),
        word.clone().prop_map(Value::String),
    ];
    leaf.prop_recursive(8, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::vec((word.clone(), inner), 0..6)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

/// A small valid flow with a group.
fn valid() -> Value {
    let node = |id: &str, kind: &str| {
        json!({"id": id, "type": "genericNode", "data": {"id": id, "type": kind, "node": {
            "template": {
                "_type": "Component",
                "code": {"type": "code", "value": "pass"},
                "in": {"type": "str", "value": "", "input_types": ["Message"], "show": true},
            },
            "outputs": [{"name": "out", "types": ["Message"]}],
            "display_name": kind,
        }}})
    };
    let edge = |source: &str, target: &str| {
        json!({"source": source, "target": target, "data": {
            "sourceHandle": {"dataType": "A", "id": source, "name": "out", "output_types": ["Message"]},
            "targetHandle": {"fieldName": "in", "id": target, "inputTypes": ["Message"], "type": "str",
                "proxy": {"id": "C-1", "field": "in"}},
        }})
    };
    let mut group = node("G-1", "GroupNode");
    let inside = json!({"data": {
        "nodes": [node("C-1", "C"), node("D-1", "D")], "edges": [edge("C-1", "D-1")],
    }});
    let proxy = json!({"type": "str", "value": "x", "proxy": {"id": "C-1", "field": "in"}});
    for (place, name, value) in
        [("/data/node", "flow", inside), ("/data/node/template", "in_C-1", proxy)]
    {
        if let Some(map) = group.pointer_mut(place).and_then(Value::as_object_mut) {
            map.insert(name.to_owned(), value);
        }
    }
    json!({
        "nodes": [node("ChatInput-1", "ChatInput"), group, node("B-1", "B")],
        "edges": [edge("ChatInput-1", "G-1"), edge("G-1", "B-1"), edge("ChatInput-1", "B-1")],
    })
}

/// Replaces the value at the `steps`-th place of a walk through the tree.
fn mutate(value: &mut Value, steps: &mut usize, with: &Value) {
    if *steps == 0 {
        *value = with.clone();
        *steps = usize::MAX;
        return;
    }
    if *steps == usize::MAX {
        return;
    }
    *steps -= 1;
    match value {
        Value::Array(list) => list.iter_mut().for_each(|item| mutate(item, steps, with)),
        Value::Object(map) => map.values_mut().for_each(|item| mutate(item, steps, with)),
        _ => {}
    }
}

#[test]
fn the_valid_flow_is_valid() {
    let graph = Graph::read(&valid()).unwrap();
    assert_eq!(Plan::of(&graph).unwrap().cells.len(), 4);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn arbitrary_json_never_panics(value in arbitrary(), tweaks in arbitrary()) {
        let _ = Export::from_value(value.clone());
        let tweaks = tweaks.as_object().cloned().unwrap_or_default();
        flow::exercise(&value, &tweaks);
        flow::exercise(&json!({"nodes": value, "edges": value}), &tweaks);
    }

    #[test]
    fn a_damaged_flow_never_panics(
        damages in prop::collection::vec((0_usize..220, arbitrary()), 1..4),
        tweaks in arbitrary(),
    ) {
        let mut data = valid();
        for (mut place, with) in damages {
            mutate(&mut data, &mut place, &with);
        }
        let tweaks = json!({"ChatInput-1": tweaks, "G-1": tweaks, "in": 3});
        flow::exercise(&data, tweaks.as_object().unwrap());
    }

    #[test]
    fn arbitrary_text_never_panics(text in ".{0,200}") {
        let _ = Export::parse(text);
    }
}
