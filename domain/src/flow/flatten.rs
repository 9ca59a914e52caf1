//! Groups are an editor's convenience: before anything runs, each is replaced by its inside.
//!
//! A group is a node that holds a flow. Its fields stand for fields of nodes inside (`proxy`), and
//! edges that end at the group are led to those nodes. This follows Langflow's own order and
//! rules exactly, including that a value set on an outer group does not pass through a group
//! nested in it, because flows behave by it.

use std::collections::{BTreeSet, VecDeque};

use serde_json::{Map, Value};

use super::error::{GroupReason, Issue, Issues};
use super::proxy::Inside;
use super::{handle, json};
use crate::limits::{FLOW_EDGES_MAX, FLOW_NODES_MAX, GROUP_DEPTH_MAX};

/// Nodes and edges without groups.
pub(super) struct Flat {
    pub(super) nodes: Vec<Value>,
    pub(super) edges: Vec<Value>,
}

/// Replaces every group by its inside. Children come after all nodes of the level above, which
/// is the order in which Langflow lists them and so part of how a run behaves.
pub(super) fn flatten(nodes: Vec<Value>, mut edges: Vec<Value>, issues: &mut Issues) -> Flat {
    let mut flat = Flat { nodes: Vec::new(), edges: Vec::new() };
    edges.iter_mut().for_each(handle::complete);
    let mut queue: VecDeque<(Value, usize)> = nodes.into_iter().map(|node| (node, 0)).collect();
    let mut opened = BTreeSet::new();
    while let Some((node, depth)) = queue.pop_front() {
        let nodes_count = flat.nodes.len() + queue.len() + 1;
        if nodes_count > FLOW_NODES_MAX {
            issues.push(Issue::TooManyNodes);
            return flat;
        }
        if edges.len() > FLOW_EDGES_MAX {
            issues.push(Issue::TooManyEdges);
            return flat;
        }
        if !is_group(&node) {
            flat.nodes.push(node);
            continue;
        }
        let id = json::text(&node, "id").unwrap_or_default().to_owned();
        if depth >= GROUP_DEPTH_MAX {
            issues.push(Issue::TooDeep { node: id });
            continue;
        }
        if !opened.insert(id.clone()) {
            issues.push(Issue::DuplicateNode { node: id });
            continue;
        }
        if let Some(children) = open(id, node, &mut edges, issues) {
            queue.extend(children.into_iter().map(|child| (child, depth + 1)));
        }
    }
    flat.edges = edges;
    flat
}

/// Whether the node holds a flow of its own.
pub(super) fn is_group(node: &Value) -> bool {
    component(node).and_then(|component| component.get("flow")).is_some_and(json::is_truthy)
}

fn component(node: &Value) -> Option<&Map<String, Value>> {
    node.get("data")?.get("node")?.as_object()
}

/// Takes one group apart: its children are returned, its edges join the others.
fn open(
    id: String,
    mut node: Value,
    edges: &mut Vec<Value>,
    issues: &mut Issues,
) -> Option<Vec<Value>> {
    let flow = node.pointer_mut("/data/node/flow/data").map(Value::take).unwrap_or_default();
    let (mut children, mut inner_edges) = match flow {
        Value::Object(mut flow) => match (flow.remove("nodes"), flow.remove("edges")) {
            (Some(Value::Array(nodes)), Some(Value::Array(edges))) => (nodes, edges),
            _ => {
                issues.push(Issue::Group { node: id, reason: GroupReason::NoFlow });
                return None;
            }
        },
        _ => {
            issues.push(Issue::Group { node: id, reason: GroupReason::NoFlow });
            return None;
        }
    };
    inner_edges.iter_mut().for_each(handle::complete);
    let frozen = component(&node).and_then(|c| c.get("frozen")).cloned();
    for child in &mut children {
        adopt(child, &id, frozen.as_ref());
    }
    let (touching, rest): (Vec<Value>, Vec<Value>) =
        std::mem::take(edges).into_iter().partition(|edge| touches(edge, &id));
    let inside = Inside { group: &node, children: &children, edges: &inner_edges };
    let led: Vec<Value> =
        touching.into_iter().filter_map(|edge| lead(edge, &id, &inside, issues)).collect();
    *edges = rest;
    edges.append(&mut inner_edges);
    edges.extend(led);
    pass_values(&id, &mut node, &mut children, issues);
    Some(children)
}

fn touches(edge: &Value, id: &str) -> bool {
    json::text(edge, "source") == Some(id) || json::text(edge, "target") == Some(id)
}

/// A child remembers its group, and is frozen when the group is.
fn adopt(child: &mut Value, group: &str, frozen: Option<&Value>) {
    if let Some(map) = child.as_object_mut() {
        map.insert("parent_node_id".to_owned(), Value::String(group.to_owned()));
    }
    if let Some(map) = child.pointer_mut("/data/node").and_then(Value::as_object_mut) {
        map.insert("frozen".to_owned(), frozen.cloned().unwrap_or(Value::Bool(false)));
    }
}

/// Leads an edge that ends at the group to the nodes inside.
fn lead(mut edge: Value, id: &str, inside: &Inside<'_>, issues: &mut Issues) -> Option<Value> {
    let at_target = json::text(&edge, "target") == Some(id);
    let at_source = json::text(&edge, "source") == Some(id);
    if at_target && let Err(handle) = inside.lead_target(&mut edge) {
        issues.push(Issue::Group { node: id.to_owned(), reason: GroupReason::Edge { handle } });
        return None;
    }
    if at_source && let Err(handle) = inside.lead_source(&mut edge) {
        issues.push(Issue::Group { node: id.to_owned(), reason: GroupReason::Edge { handle } });
        return None;
    }
    Some(edge)
}

/// Copies the values of the group's fields onto the fields that they stand for.
fn pass_values(id: &str, group: &mut Value, children: &mut [Value], issues: &mut Issues) {
    let template = group.pointer_mut("/data/node/template").map(Value::take);
    let Some(Value::Object(template)) = template else {
        return;
    };
    for (name, field) in template {
        let Some(proxy) = field.get("proxy").filter(|proxy| json::is_truthy(proxy)) else {
            continue;
        };
        let (child, inner) = (json::text(proxy, "id"), json::text(proxy, "field"));
        let child = child.unwrap_or_default().to_owned();
        let inner = inner.unwrap_or_default().to_owned();
        let Some(node) = children.iter_mut().find(|node| json::text(node, "id") == Some(&child))
        else {
            // The field belongs to a node that was removed from the group: nothing reads it.
            continue;
        };
        let target = node
            .pointer_mut("/data/node/template")
            .and_then(|template| template.get_mut(&inner))
            .and_then(Value::as_object_mut);
        match (target, field) {
            (Some(target), Value::Object(field)) => replace_field(target, field),
            _ => {
                let reason = GroupReason::Proxy { field: name, child, inner };
                issues.push(Issue::Group { node: id.to_owned(), reason });
            }
        }
    }
}

/// The child's field becomes the group's, except for how the child shows it; and a code field
/// stays one, so that a group cannot hide code from the rules that protect it.
fn replace_field(target: &mut Map<String, Value>, mut field: Map<String, Value>) {
    let display_name = target.get("display_name").or_else(|| target.get("name")).cloned();
    for (key, kept) in [
        ("show", target.get("show").cloned()),
        ("advanced", target.get("advanced").cloned()),
        ("display_name", display_name),
    ] {
        if let Some(kept) = kept {
            field.insert(key.to_owned(), kept);
        }
    }
    if target.get("type").and_then(Value::as_str) == Some("code") {
        field.insert("type".to_owned(), Value::String("code".to_owned()));
    }
    *target = field;
}
