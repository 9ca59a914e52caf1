//! A small language in which tests write flows.

use serde_json::{Map, Value, json};

use super::Graph;

/// A flow in the making.
pub(crate) struct Draft {
    nodes: Vec<Value>,
    edges: Vec<Value>,
}

/// A node in the making.
#[derive(Clone)]
pub(crate) struct NodeDraft(Value);

/// A node without fields or outputs.
pub(crate) fn node(id: &str, kind: &str) -> NodeDraft {
    NodeDraft(json!({
        "id": id, "type": "genericNode",
        "data": {"id": id, "type": kind, "node": {
            "template": {
                "_type": "Component",
                "code": {"type": "code", "value": format!("class {kind}: pass")},
            },
            "display_name": kind, "outputs": [], "tool_mode": false, "frozen": false,
        }},
    }))
}

impl NodeDraft {
    pub(crate) fn field(self, name: &str, kind: &str) -> Self {
        self.raw_field(name, json!({"type": kind, "value": ""}))
    }

    pub(crate) fn raw_field(mut self, name: &str, field: Value) -> Self {
        self.0["data"]["node"]["template"][name] = field;
        self
    }

    pub(crate) fn output(mut self, name: &str, types: &str) -> Self {
        let types: Vec<&str> = types.split('|').collect();
        let outputs = self.0["data"]["node"]["outputs"].as_array_mut().unwrap();
        outputs.push(json!({"name": name, "types": types}));
        self
    }

    pub(crate) fn named(self, name: &str) -> Self {
        self.with("display_name", json!(name))
    }

    pub(crate) fn tool(self) -> Self {
        self.with("tool_mode", json!(true)).output("component_as_tool", "Tool")
    }

    pub(crate) fn with(mut self, key: &str, value: Value) -> Self {
        self.0["data"]["node"][key] = value;
        self
    }

    pub(crate) fn value(self) -> Value {
        self.0
    }
}

impl Draft {
    pub(crate) fn new() -> Self {
        Self { nodes: Vec::new(), edges: Vec::new() }
    }

    pub(crate) fn node(mut self, node: NodeDraft) -> Self {
        self.nodes.push(node.0);
        self
    }

    /// Several plain nodes at once, by id; the kind is what stands before the dash.
    pub(crate) fn nodes(self, ids: &str) -> Self {
        ids.split(' ').fold(self, |draft, id| draft.node(node(id, id.split('-').next().unwrap())))
    }

    /// `Node.output:Type|Type` to `Node.field`; output and field are added when missing.
    pub(crate) fn edge(mut self, source: &str, target: &str) -> Self {
        let (source, types) = source.split_once(':').unwrap();
        let (source, output) = source.split_once('.').unwrap();
        let (target, field) = target.split_once('.').unwrap();
        let types: Vec<&str> = types.split('|').collect();
        for node in &mut self.nodes {
            let id = node["id"].as_str().unwrap().to_owned();
            let component = &mut node["data"]["node"];
            let outputs = component["outputs"].as_array_mut().unwrap();
            if id == source && !outputs.iter().any(|known| known["name"] == output) {
                outputs.push(json!({"name": output, "types": types}));
            }
            let Some(template) = component["template"].as_object_mut() else {
                continue;
            };
            if id == target && !template.contains_key(field) {
                template.insert(field.to_owned(), json!({"type": "other", "value": ""}));
            }
        }
        self.edges.push(json!({
            "source": source, "target": target,
            "data": {
                "sourceHandle": {
                    "dataType": "X", "id": source, "name": output, "output_types": types,
                },
                "targetHandle": {
                    "fieldName": field, "id": target, "inputTypes": types, "type": "other",
                },
            },
        }));
        self
    }

    pub(crate) fn raw_edge(mut self, edge: Value) -> Self {
        self.edges.push(edge);
        self
    }

    /// The nodes so far as the inside of a group, whose fields and outputs are given.
    pub(crate) fn group(self, id: &str, template: Value, outputs: Value) -> NodeDraft {
        let mut fields = Map::from_iter([("_type".to_owned(), json!("Group"))]);
        fields.extend(template.as_object().unwrap().clone());
        NodeDraft(json!({
            "id": id, "type": "genericNode",
            "data": {"id": id, "type": "GroupNode", "node": {
                "display_name": "Group", "template": fields, "outputs": outputs,
                "flow": {"data": self.data()},
            }},
        }))
    }

    pub(crate) fn data(self) -> Value {
        json!({"nodes": self.nodes, "edges": self.edges})
    }

    pub(crate) fn graph(self) -> Graph {
        Graph::read(&self.data()).unwrap()
    }
}
