use serde_json::{Value, json};

use super::fixture::{Draft, node};
use super::{Error, Graph, Issue};

fn issues(data: &Value) -> String {
    match Graph::read(data) {
        Err(Error::Invalid(issues)) => {
            issues.list().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        }
        other => format!("{other:?}"),
    }
}

fn edges(graph: &Graph) -> String {
    let line = |edge: &super::Edge| {
        format!(
            "{}.{} -> {}.{} [{}]",
            edge.source,
            edge.output,
            edge.target,
            edge.field,
            edge.types.join(",")
        )
    };
    graph.edges().iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn reads_nodes_and_edges() {
    let graph = Draft::new()
        .nodes("ChatInput-a Prompt-b ChatOutput-c")
        .node(node("note-1", "note"))
        .edge("ChatInput-a.message:Message", "Prompt-b.name")
        .edge("Prompt-b.data:Data|DataFrame", "ChatOutput-c.input_value")
        .edge("Prompt-b.data:Data|DataFrame", "ChatOutput-c.input_value")
        .graph();
    insta::assert_snapshot!(edges(&graph), @r"
    ChatInput-a.message -> Prompt-b.name [Message]
    Prompt-b.data -> ChatOutput-c.input_value [JSON,Table]
    ");
    assert!(graph.node("ChatInput-a").unwrap().is_input);
    assert!(graph.node("ChatOutput-c").unwrap().is_output);
    assert!(graph.is_fed(1, "name"));
    assert_eq!(graph.node("Prompt-b").unwrap().code_hash().unwrap().len(), 12);
}

#[test]
fn notes_are_left_out_and_nothing_else_is_changed() {
    let mut data = Draft::new().nodes("A-1 B-1").edge("A-1.out:Message", "B-1.in").data();
    let mut note = node("note-1", "note").value();
    note["type"] = json!("noteNode");
    data["nodes"].as_array_mut().unwrap().insert(0, note);
    let graph = Graph::read(&json!({"data": data})).unwrap();
    assert_eq!(graph.nodes().len(), 2);
    assert_eq!(graph.nodes()[0].to_value(), data["nodes"][1]);
    assert_eq!(graph.edges()[0].to_value(), data["edges"][0]);
}

#[test]
fn code_in_lines_is_joined() {
    let draft = node("A-1", "A").raw_field("code", json!({"type": "code", "value": ["a", "b"]}));
    let graph = Draft::new().node(draft).graph();
    assert_eq!(graph.nodes()[0].code(), Some("a\nb"));
}

#[test]
fn names_every_problem() {
    let data = Draft::new()
        .nodes("A-1 A-1 B-1 C-1")
        .node(node("D-1", "D").raw_field("code", json!(null)))
        .node(node("E-1", "E").with("template", json!(7)))
        .edge("A-1.out:Message", "B-1.in")
        .edge("A-1.out:Message", "Gone-1.in")
        .edge("D-1.out:Message", "B-1.in")
        .raw_edge(json!({"source": "A-1", "target": "B-1"}))
        .raw_edge(json!({"source": "A-1"}))
        .raw_edge(json!({"source": "A-1", "target": "C-1", "data": {
            "sourceHandle": {"dataType": "A", "name": "nope", "output_types": ["Message"]},
            "targetHandle": {"fieldName": "in", "inputTypes": ["Message"], "type": "str"}}}))
        .raw_edge(json!({"source": "A-1", "target": "B-1", "data": {
            "sourceHandle": {"dataType": "A", "name": "out", "output_types": ["Message"]},
            "targetHandle": {"fieldName": "nope", "inputTypes": ["Message"], "type": "str"}}}))
        .raw_edge(json!({"source": "A-1", "target": "B-1", "data": {
            "sourceHandle": {"dataType": "A", "name": "out", "output_types": ["Message"]},
            "targetHandle": {"fieldName": "in", "inputTypes": ["Tool"], "type": "other"}}}))
        .raw_edge(json!({"source": "A-1", "target": "B-1", "data": {
            "sourceHandle": {"dataType": "A", "name": "out", "output_types": ["Message"]},
            "targetHandle": {"fieldName": "in", "inputTypes": null, "type": "str"}}}));
    insta::assert_snapshot!(issues(&data.data()), @r"
    node A-1: another node has the same id; delete one and add it anew
    node D-1: `template.code.value` must be the component's source; delete the component and add it anew
    node E-1: `data.node.template` must be an object of fields; delete the component and add it anew
    edge A-1.out -> Gone-1.in: node Gone-1 does not exist; delete the edge or restore the node
    edge A-1 -> B-1: `data.sourceHandle` must be an object; delete the edge and draw it again
    edge edges[4]: `target` must be a node's id; delete the edge and draw it again
    edge A-1.nope -> C-1.in: node A-1 has no output `nope` (it has out); draw the edge from one of those
    edge A-1.out -> B-1.nope: node B-1 has no field `nope`; delete the edge or draw it again
    edge A-1.out -> B-1.in: the output gives Message but field `in` of node B-1 takes Tool, other; put a converting component between them
    edge A-1.out -> B-1.in: `data.targetHandle.inputTypes` must be an array of types; delete the edge and draw it again
    ");
}

#[test]
fn names_a_wrong_shape() {
    insta::assert_snapshot!(issues(&json!({"nodes": {}, "edges": null})), @r"
    `data.nodes` must be an array; export the flow from langflow again
    `data.edges` must be an array; export the flow from langflow again
    ");
    insta::assert_snapshot!(issues(&json!({"nodes": [], "edges": []})), @"the flow has no components; add at least one and export it again");
    insta::assert_snapshot!(issues(&json!({"nodes": [3, {"id": "a"}], "edges": [null]})), @r"
    node nodes[0]: `id` must be a text that is not empty; export the flow from langflow again
    node a: `data.type` must be a component type; export the flow from langflow again
    edge edges[0]: `source` must be a node's id; delete the edge and draw it again
    ");
    insta::assert_snapshot!(issues(&json!([])), @r"
    `data.nodes` must be an array; export the flow from langflow again
    `data.edges` must be an array; export the flow from langflow again
    ");
}

#[test]
fn keeps_twenty_problems_and_counts_the_rest() {
    let data = json!({"nodes": vec![json!(null); 50], "edges": []});
    let Err(Error::Invalid(issues)) = Graph::read(&data) else { panic!("must be refused") };
    assert_eq!((issues.list().len(), issues.omitted()), (20, 30));
}

#[test]
fn limits_hold() {
    let many = json!({"nodes": vec![json!(null); 2_001], "edges": vec![json!(null); 10_001]});
    let Err(Error::Invalid(issues)) = Graph::read(&many) else { panic!("must be refused") };
    assert_eq!(issues.list(), [Issue::TooManyNodes, Issue::TooManyEdges]);
    let mut inner = Draft::new().nodes("A-0");
    for depth in 0..40 {
        inner = Draft::new().node(inner.group(&format!("G-{depth}"), json!({}), json!([])));
    }
    assert!(self::issues(&inner.data()).contains("nested deeper than 32"));
}

fn grouped() -> Value {
    let group = Draft::new()
        .node(node("In-1", "In").raw_field("text", json!({"type": "str", "value": "inner", "show": false})))
        .node(node("Out-1", "Out"))
        .edge("In-1.out:Message", "Out-1.in")
        .node(node("Out-2", "Out").output("result", "Message"))
        .group(
            "Group-1",
            json!({"text_In-1": {
                "type": "str", "value": "outer", "show": true,
                "proxy": {"id": "In-1", "field": "text"}}}),
            json!([{"name": "Out-2_result", "types": ["Message"], "proxy": {"id": "Out-2", "name": "result"}}]),
        )
        .with("frozen", json!(true));
    Draft::new()
        .nodes("ChatInput-1")
        .node(group)
        .nodes("ChatOutput-1")
        .edge("ChatInput-1.message:Message", "ChatOutput-1.side")
        .raw_edge(json!({"source": "ChatInput-1", "target": "Group-1", "data": {
            "sourceHandle": {"dataType": "ChatInput", "id": "ChatInput-1", "name": "message", "output_types": ["Message"]},
            "targetHandle": {"fieldName": "text_In-1", "id": "Group-1", "inputTypes": ["Message"], "type": "str",
                "proxy": {"id": "In-1", "field": "text"}}}}))
        .raw_edge(json!({"source": "Group-1", "target": "ChatOutput-1", "data": {
            "sourceHandle": {"dataType": "GroupNode", "id": "Group-1", "name": "Out-2_result"},
            "targetHandle": {"fieldName": "side", "id": "ChatOutput-1", "inputTypes": ["Message"], "type": "str"}}}))
        .data()
}

#[test]
fn a_group_is_replaced_by_its_inside() {
    let graph = Graph::read(&grouped()).unwrap();
    let ids: Vec<&str> = graph.nodes().iter().map(|node| node.id.as_str()).collect();
    assert_eq!(ids, ["ChatInput-1", "ChatOutput-1", "In-1", "Out-1", "Out-2"]);
    insta::assert_snapshot!(edges(&graph), @r"
    ChatInput-1.message -> ChatOutput-1.side [Message]
    In-1.out -> Out-1.in [Message]
    ChatInput-1.message -> In-1.text [Message]
    Out-2.result -> ChatOutput-1.side [Message]
    ");
    let inner = graph.node("In-1").unwrap();
    assert_eq!(inner.parent.as_deref(), Some("Group-1"));
    assert!(inner.is_frozen);
    assert_eq!(inner.field("text").unwrap()["value"], "outer");
    assert_eq!(inner.field("text").unwrap()["show"], false);
}

#[test]
fn groups_in_groups_are_opened() {
    let inner = Draft::new().nodes("A-1 B-1").edge("A-1.out:Message", "B-1.in").group(
        "Inner",
        json!({"in_B-1": {"type": "str", "proxy": {"id": "B-1", "field": "in"}}}),
        json!([]),
    );
    let outer = Draft::new().node(inner).group("Outer", json!({}), json!([]));
    let data = Draft::new().nodes("C-1").node(outer).edge("C-1.out:Message", "C-1.in").data();
    let graph = Graph::read(&data).unwrap();
    let ids: Vec<&str> = graph.nodes().iter().map(|node| node.id.as_str()).collect();
    assert_eq!(ids, ["C-1", "A-1", "B-1"]);
    assert_eq!(graph.node("A-1").unwrap().parent.as_deref(), Some("Inner"));
}

#[test]
fn a_group_without_output_proxies_gives_what_its_last_node_gives() {
    let mut data = grouped();
    data["nodes"][1]["data"]["node"]["outputs"] = json!([]);
    data["edges"][2]["data"]["sourceHandle"] =
        json!({"dataType": "GroupNode", "name": "x_in", "output_types": ["Message"]});
    insta::assert_snapshot!(issues(&data), @"edge Out-1.x_in -> ChatOutput-1.side: node Out-1 has no output `in` (it has nothing); draw the edge from one of those");
}
