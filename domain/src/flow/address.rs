//! What a tweak can name: the nodes that the author sees, before groups are opened.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::flatten::is_group;
use super::json;

/// One node of the editor's canvas.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) id: String,
    /// Exactly what the export says; a node without one cannot be named by it.
    pub(crate) display_name: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) place: Place,
}

/// Where the fields of an address live after flattening.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// In the node of the same id.
    Node,
    /// In nodes inside the group.
    Group(Vec<GroupField>),
    /// Nowhere: a note, or a node without fields.
    Nothing,
}

/// A field of a group.
#[derive(Clone, Debug)]
pub(crate) struct GroupField {
    pub(crate) name: String,
    pub(crate) kind: String,
    /// Its name on the canvas; the field inside keeps one of its own.
    pub(crate) display_name: Option<String>,
    /// Whether the canvas shows it.
    pub(crate) is_shown: bool,
    /// Whether the author lets callers set it.
    pub(crate) is_api_editable: bool,
    /// Whether it stands for something that runs as code.
    pub(crate) is_protected: bool,
    /// The node and field that take its value.
    pub(crate) target: Option<(String, String)>,
}

pub(super) fn addresses(nodes: &[Value]) -> Vec<Address> {
    nodes.iter().map(address).collect()
}

fn address(node: &Value) -> Address {
    let template = node.pointer("/data/node/template").and_then(Value::as_object);
    let place = match template {
        None => Place::Nothing,
        Some(_) if json::text(node, "type") == Some("noteNode") => Place::Nothing,
        Some(template) if is_group(node) => {
            Place::Group(template.iter().filter_map(|field| group_field(node, field)).collect())
        }
        Some(_) => Place::Node,
    };
    let text = |pointer| node.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    Address {
        id: json::text(node, "id").unwrap_or_default().to_owned(),
        display_name: text("/data/node/display_name"),
        kind: text("/data/type"),
        place,
    }
}

fn group_field(group: &Value, (name, field): (&String, &Value)) -> Option<GroupField> {
    let map = field.as_object()?;
    let component = group.pointer("/data/node")?.as_object()?;
    Some(GroupField {
        name: name.clone(),
        kind: json::text(field, "type").unwrap_or_default().to_owned(),
        display_name: json::text(field, "display_name").map(str::to_owned),
        is_shown: field.get("show") != Some(&Value::Bool(false)),
        is_api_editable: is_api_editable(map),
        is_protected: leads_to_code(component, map),
        target: target(component, field),
    })
}

/// Whether the author marked the field as one that callers may set.
pub(crate) fn is_api_editable(field: &Map<String, Value>) -> bool {
    field.get("api_editable") == Some(&Value::Bool(true))
}

/// The node and field inside that take the value. One level only: the value of an outer group
/// does not pass through a group nested in it (see `flatten`).
fn target(component: &Map<String, Value>, field: &Value) -> Option<(String, String)> {
    let proxy = field.get("proxy").filter(|proxy| json::is_truthy(proxy))?;
    let (id, inner) = (json::text(proxy, "id")?, json::text(proxy, "field")?);
    let child = children(component)?.iter().find(|node| json::text(node, "id") == Some(id))?;
    (!is_group(child)).then(|| (id.to_owned(), inner.to_owned()))
}

fn children(component: &Map<String, Value>) -> Option<&Vec<Value>> {
    component.get("flow")?.get("data")?.get("nodes")?.as_array()
}

/// Follows a field's proxies to what they stand for. Anything that cannot be followed counts as
/// protected: a tweak must not reach code through a malformed group.
pub(crate) fn leads_to_code(component: &Map<String, Value>, field: &Map<String, Value>) -> bool {
    let (mut component, mut field) = (component, field);
    let mut seen = BTreeSet::new();
    while let Some(proxy) = field.get("proxy").filter(|proxy| json::is_truthy(proxy)) {
        let (Some(id), Some(name)) = (json::text(proxy, "id"), json::text(proxy, "field")) else {
            return true;
        };
        if !seen.insert((id, name)) {
            return true;
        }
        if !component.contains_key("flow") {
            // A field that flattening copied onto its child still carries its proxy, which
            // leads nowhere any more; the child's own rules apply to it.
            return false;
        }
        let child = children(component)
            .and_then(|nodes| nodes.iter().find(|node| json::text(node, "id") == Some(id)));
        let Some(inner) = child.and_then(|child| child.pointer("/data/node")?.as_object()) else {
            return true;
        };
        let next = inner.get("template").and_then(|template| template.get(name)?.as_object());
        let Some(next) = next else { return true };
        let kind = child.and_then(|child| child.pointer("/data/type")?.as_str());
        let field_kind = next.get("type").and_then(Value::as_str).unwrap_or_default();
        if crate::tweaks::is_protected(kind.unwrap_or_default(), name, field_kind) {
            return true;
        }
        (component, field) = (inner, next);
    }
    false
}
