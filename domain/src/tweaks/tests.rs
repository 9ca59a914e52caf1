use serde_json::{Map, Value, json};

use super::{Applied, ConflictInput, Error, Policy, apply, check, check_input};
use crate::flow::Graph;
use crate::flow::fixture::{Draft, node};
use crate::input::InputType;

fn graph() -> Graph {
    let group = Draft::new()
        .node(node("In-1", "In").raw_field("text", json!({"type": "str", "value": "inner"})))
        .group(
            "Group-1",
            json!({
                "text_In-1": {"type": "str", "value": "outer", "proxy": {"id": "In-1", "field": "text"}},
                "code_In-1": {"type": "str", "value": "x", "proxy": {"id": "In-1", "field": "code"}},
                "lost": {"type": "str", "value": "", "proxy": {"id": "Gone", "field": "text"}},
            }),
            json!([]),
        );
    let agent = node("Agent-1", "Agent")
        .named("My Agent")
        .raw_field("key", json!({"type": "str", "value": "KEY", "load_from_db": true}))
        .raw_field("nested", json!({"type": "NestedDict", "value": {}}))
        .raw_field("plain", json!({"type": "dict", "value": {}}))
        .raw_field("server", json!({"type": "mcp", "value": {}}))
        .raw_field("path", json!({"type": "file", "value": "", "file_path": ""}))
        .field("temperature", "float")
        .field("stream", "bool");
    Draft::new()
        .node(agent)
        .node(node("Other-1", "Other").field("temperature", "float"))
        .node(node("Py-1", "PythonREPLComponent").field("python_code", "str"))
        .node(node("Sql-1", "SQLComponent").field("query", "str"))
        .node(group)
        .graph()
}

fn tweak(tweaks: Value) -> (Graph, Result<Applied, Error>) {
    let mut graph = graph();
    let tweaks: Map<String, Value> = tweaks.as_object().unwrap().clone();
    let applied = apply(&mut graph, &tweaks, Some(false));
    (graph, applied)
}

fn field(graph: &Graph, node: &str, name: &str) -> String {
    serde_json::to_string(graph.node(node).unwrap().field(name).unwrap()).unwrap()
}

#[test]
fn names_a_node_by_id_or_display_name() {
    for key in ["Agent-1", "My Agent"] {
        let (graph, applied) = tweak(json!({key: {"key": "secret", "nothing": 1}, "nobody": {}}));
        insta::allow_duplicates! {
            insta::assert_snapshot!(field(&graph, "Agent-1", "key"), @r#"{"type":"str","value":"secret","load_from_db":false}"#);
        }
        let applied = applied.unwrap();
        assert_eq!(applied.unmatched, [format!("{key}.nothing"), "nobody".to_owned()]);
    }
}

#[test]
fn a_plain_value_goes_to_every_node_with_the_field() {
    let (graph, applied) = tweak(json!({"temperature": 0.5, "Agent-1": {"temperature": 0.1}}));
    // The plain value is applied last, as in Langflow.
    assert_eq!(field(&graph, "Agent-1", "temperature"), r#"{"type":"float","value":0.5}"#);
    assert_eq!(field(&graph, "Other-1", "temperature"), r#"{"type":"float","value":0.5}"#);
    assert_eq!(field(&graph, "Agent-1", "stream"), r#"{"type":"bool","value":false}"#);
    assert_eq!(applied.unwrap().fields.len(), 4);
}

#[test]
fn writes_each_type_in_its_way() {
    let (graph, applied) = tweak(json!({"Agent-1": {
        "key": {"value": "OTHER", "load_from_db": true},
        "nested": "{\"a\": 1}",
        "plain": {"value": {"b": 2}},
        "server": {"value": 3, "x": 4},
        "path": "a.txt",
        "temperature": {"value": 1, "advanced": true},
        "stream": true,
    }}));
    applied.unwrap();
    let all = ["key", "nested", "plain", "server", "path", "temperature", "stream"]
        .map(|name| format!("{name} {}", field(&graph, "Agent-1", name)))
        .join("\n");
    insta::assert_snapshot!(all, @r#"
    key {"type":"str","value":"OTHER","load_from_db":true}
    nested {"type":"NestedDict","value":{"a":1}}
    plain {"type":"dict","value":{"b":2}}
    server {"type":"mcp","value":{"value":3,"x":4}}
    path {"type":"file","value":"","file_path":"a.txt"}
    temperature {"type":"float","value":1,"advanced":true}
    stream {"type":"bool","value":false}
    "#);
}

#[test]
fn refuses_code_and_writes_nothing() {
    let (after, refused) = tweak(json!({
        "temperature": 1,
        "Agent-1": {"code": "import os", "key": {"proxy": {}}},
        "Py-1": {"python_code": "1"},
        "Sql-1": {"query": "drop"},
        "Group-1": {"code_In-1": "x", "lost": "y"},
    }));
    insta::assert_snapshot!(refused.unwrap_err(), @"refused tweaks of code, code_In-1, key, lost, python_code, query: The field is protected and keeps the value set by the flow author.");
    assert_eq!(field(&after, "Other-1", "temperature"), field(&graph(), "Other-1", "temperature"));
    assert!(tweak(json!({"code": "import os"})).1.is_err());
}

#[test]
fn a_groups_field_reaches_its_child_and_children_have_no_address() {
    let (graph, applied) = tweak(json!({
        "Group-1": {"text_In-1": "set"}, "In-1": {"text": "no"}, "text": "neither",
    }));
    assert_eq!(graph.node("In-1").unwrap().field("text").unwrap()["value"], "set");
    assert_eq!(applied.unwrap().unmatched, ["In-1"]);
}

#[test]
fn input_and_tweak_conflict() {
    let conflict = |tweaks: Value, input_type| {
        check_input(tweaks.as_object().unwrap(), true, input_type).map_err(|error| match error {
            Error::InputConflict { input, .. } => input,
            Error::Refused { .. } => panic!("not a refusal"),
        })
    };
    let chat = || json!({"ChatInput-a": {"input_value": "x"}});
    let text = || json!({"My Text Input": {"input_value": "x"}});
    assert_eq!(conflict(chat(), InputType::Chat), Err(ConflictInput::Chat));
    assert_eq!(conflict(chat(), InputType::Text), Ok(()));
    assert_eq!(conflict(text(), InputType::Text), Err(ConflictInput::Text));
    assert_eq!(conflict(json!({"ChatInput-a": {"input_value": null}}), InputType::Chat), Ok(()));
    assert_eq!(conflict(json!({"input_value": "x"}), InputType::Chat), Ok(()));
    assert_eq!(check_input(chat().as_object().unwrap(), false, InputType::Chat), Ok(()));
    insta::assert_snapshot!(ConflictInput::Chat.detail(), @"If you pass an input_value to the chat input, you cannot pass a tweak with the same name.");
}

/// What the policy says of tweaks of a flow that declares one field, or none.
fn judged(policy: Policy, declares: bool, tweaks: Value) -> String {
    let open = json!({"type": "str", "value": "", "api_editable": declares});
    let group = Draft::new().node(node("In-1", "In").field("text", "str")).group(
        "Group-1",
        json!({
            "open_In-1": {"type": "str", "value": "", "api_editable": declares, "proxy": {"id": "In-1", "field": "text"}},
            "shut_In-1": {"type": "str", "value": "", "proxy": {"id": "In-1", "field": "text"}},
        }),
        json!([]),
    );
    let agent = node("Agent-1", "Agent").raw_field("open", open).field("shut", "str");
    let graph = Draft::new().node(agent.field("stream", "bool")).node(group).graph();
    match check(&graph, tweaks.as_object().unwrap(), policy) {
        Ok(()) => "accepted".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn only_declared_fields_may_be_set_where_any_is() {
    let open = || json!({"Agent-1": {"open": "x"}, "Group-1": {"open_In-1": "x"}});
    let shut = || json!({"shut": "x", "Group-1": {"shut_In-1": "x"}, "nobody": {"shut": 1}});
    assert_eq!(judged(Policy::Declared, true, open()), "accepted");
    assert_eq!(judged(Policy::Declared, false, shut()), "accepted");
    assert_eq!(judged(Policy::Permissive, true, shut()), "accepted");
    insta::assert_snapshot!(judged(Policy::Declared, true, shut()), @"refused tweaks of shut, shut_In-1: This flow declares which fields the API may set. Only fields marked editable via API accept a tweak.");
    let both = json!({"shut": "x", "code": "x"});
    insta::assert_snapshot!(judged(Policy::Declared, true, both), @"refused tweaks of code, shut: The field is protected and keeps the value set by the flow author. This flow declares which fields the API may set. Only fields marked editable via API accept a tweak.");
}

#[test]
fn no_field_may_be_set_where_none_is_accepted() {
    let of = |tweaks| judged(Policy::Off, true, tweaks);
    insta::assert_snapshot!(of(json!({"open": 1, "code": 1, "stream": true})), @"refused tweaks of code, open, stream: This deployment does not accept tweaks.");
    assert_eq!(of(json!({})), "accepted");
    assert_eq!(of(json!({"nothing": 1, "nobody": {"open": 1}})), "accepted");
}
