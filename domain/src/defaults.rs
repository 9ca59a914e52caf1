//! Fields that a variable fills by itself, because it is the default of every field of that name.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::flow::{Graph, Place};

/// Lets every field that nobody filled look up the variable that is the default of its name, as
/// Langflow's editor does when it opens a flow. Only what stands on the canvas is looked at:
/// fields of nodes and of groups, not of the nodes inside. Comes after tweaks, which may fill a
/// field or empty one.
///
/// `variables` are names and the display names of fields; of two that name the same the later one
/// counts.
pub fn apply<'v>(graph: &mut Graph, variables: impl IntoIterator<Item = (&'v str, &'v [String])>) {
    let mut by_field: HashMap<&str, &str> = HashMap::new();
    for (variable, fields) in variables {
        by_field.extend(fields.iter().map(|field| (field.as_str(), variable)));
    }
    by_field.remove("");
    if by_field.is_empty() {
        return;
    }
    for lookup in lookups(graph, &by_field) {
        let node = graph.nodes_mut().get_mut(lookup.position);
        let field = node.and_then(|node| node.template.get_mut(&lookup.field));
        if let Some(field) = field.and_then(Value::as_object_mut) {
            field.insert("value".to_owned(), Value::String(lookup.variable));
            field.insert("load_from_db".to_owned(), Value::Bool(true));
        }
    }
}

/// A field and the variable that it is to look up.
struct Lookup {
    position: usize,
    field: String,
    variable: String,
}

fn lookups(graph: &Graph, by_field: &HashMap<&str, &str>) -> Vec<Lookup> {
    let mut found = Vec::new();
    let mut push = |node: &str, field: &str, name: Option<&str>| {
        let variable = name.and_then(|name| by_field.get(name));
        let position = graph.position(node);
        let is_empty = position
            .and_then(|position| graph.nodes().get(position)?.field(field))
            .is_some_and(is_empty);
        if let (Some(variable), Some(position), true) = (variable, position, is_empty) {
            let (field, variable) = (field.to_owned(), (*variable).to_owned());
            found.push(Lookup { position, field, variable });
        }
    };
    for address in graph.addresses() {
        match &address.place {
            Place::Nothing => {}
            Place::Node => {
                let template = graph.node(&address.id).map(|node| &node.template);
                for (name, field) in template.into_iter().flatten() {
                    let shown = field.get("show") != Some(&Value::Bool(false));
                    if shown && field.get("type").and_then(Value::as_str) == Some(TEXT) {
                        push(&address.id, name, field.get("display_name").and_then(Value::as_str));
                    }
                }
            }
            Place::Group(fields) => {
                for field in fields.iter().filter(|field| field.is_shown && field.kind == TEXT) {
                    if let Some((node, inner)) = &field.target {
                        push(node, inner, field.display_name.as_deref());
                    }
                }
            }
        }
    }
    found
}

/// The type of the fields for which the editor offers variables.
const TEXT: &str = "str";

fn is_empty(field: &Map<String, Value>) -> bool {
    let is_lookup = field.get("load_from_db") == Some(&Value::Bool(true));
    let value = field.get("value").unwrap_or(&Value::Null);
    !is_lookup && (value.is_null() || value.as_str() == Some(""))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::flow::fixture::{Draft, node};

    fn field(kind: &str, value: Value) -> Value {
        json!({"type": kind, "display_name": "Api Key", "value": value})
    }

    fn applied(draft: Draft, variables: &[(&str, &[&str])]) -> Graph {
        let mut graph = draft.graph();
        let owned: Vec<(&str, Vec<String>)> = variables
            .iter()
            .map(|(name, fields)| (*name, fields.iter().map(ToString::to_string).collect()))
            .collect();
        apply(&mut graph, owned.iter().map(|(name, fields)| (*name, fields.as_slice())));
        graph
    }

    fn text(graph: &Graph, node: &str, name: &str) -> String {
        let field = graph.node(node).unwrap().field(name).unwrap();
        format!("{} {}", field["value"], field.get("load_from_db").unwrap_or(&Value::Null))
    }

    #[test]
    fn an_empty_field_looks_up_the_last_variable_of_its_name() {
        let draft = Draft::new().node(
            node("A-1", "A")
                .raw_field("empty", field("str", json!("")))
                .raw_field("null", field("str", Value::Null))
                .raw_field("full", field("str", json!("mine")))
                .raw_field("number", field("int", Value::Null))
                .raw_field(
                    "hidden",
                    json!({"type": "str", "display_name": "Api Key", "value": "", "show": false}),
                )
                .raw_field(
                    "lookup",
                    json!({"type": "str", "display_name": "Api Key", "value": "", "load_from_db": true}),
                )
                .raw_field("nameless", json!({"type": "str", "value": ""})),
        );
        let graph = applied(draft, &[("FIRST", &["Api Key", ""]), ("LAST", &["Api Key", "Other"])]);
        let all = ["empty", "null", "full", "number", "hidden", "lookup", "nameless"]
            .map(|name| format!("{name} {}", text(&graph, "A-1", name)))
            .join("\n");
        insta::assert_snapshot!(all, @r#"
        empty "LAST" true
        null "LAST" true
        full "mine" null
        number null null
        hidden "" null
        lookup "" true
        nameless "" null
        "#);
    }

    #[test]
    fn a_groups_field_counts_by_its_own_name_and_its_inside_does_not() {
        let inner = node("In-1", "In")
            .raw_field("shown", json!({"type": "str", "display_name": "Inner", "value": ""}))
            .raw_field("own", field("str", json!("")));
        let proxy = json!({"id": "In-1", "field": "shown"});
        let group = Draft::new().node(inner).group(
            "Group-1",
            json!({"shown_In-1": {"type": "str", "display_name": "Api Key", "value": "", "proxy": proxy}}),
            json!([]),
        );
        let graph = applied(Draft::new().node(group), &[("KEY", &["Api Key"]), ("NO", &["Inner"])]);
        assert_eq!(text(&graph, "In-1", "shown"), r#""KEY" true"#);
        assert_eq!(text(&graph, "In-1", "own"), r#""" null"#);
    }

    #[test]
    fn without_defaults_nothing_changes() {
        let draft = || Draft::new().node(node("A-1", "A").raw_field("a", field("str", json!(""))));
        let graph = applied(draft(), &[("KEY", &[]), ("EMPTY", &[""])]);
        assert_eq!(text(&graph, "A-1", "a"), r#""" null"#);
    }
}
