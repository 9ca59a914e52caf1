//! Reading one connection, and checking it by the rules by which lfx would refuse it.

use serde_json::Value;

use super::error::{Issue, Issues};
use super::handle::{Source, Target, normalised};
use super::types::compatible;
use super::{Edge, Node, json};

/// What an edge needs to know of the nodes.
pub(super) struct Ends<'a> {
    pub(super) nodes: &'a [Node],
    pub(super) positions: &'a std::collections::HashMap<String, usize>,
}

impl Edge {
    /// The edge as Langflow writes it.
    #[must_use]
    pub fn to_value(&self) -> Value {
        self.raw.clone()
    }

    /// Whether this is the same connection.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.source_position == other.source_position
            && self.target_position == other.target_position
            && self.output == other.output
            && self.field == other.field
    }
}

impl Ends<'_> {
    /// Reads an edge; what is wrong with it joins the issues.
    pub(super) fn read(&self, index: usize, raw: Value, issues: &mut Issues) -> Option<Edge> {
        let label = label(index, &raw);
        match self.try_read(&label, raw) {
            Ok(edge) => Some(edge),
            Err(issue) => {
                issues.push(issue);
                None
            }
        }
    }

    fn try_read(&self, label: &str, raw: Value) -> Result<Edge, Issue> {
        let wrong = |(field, expected)| Issue::Edge { edge: label.to_owned(), field, expected };
        let (source_position, source_node) = self.end(label, &raw, "source")?;
        let (target_position, target_node) = self.end(label, &raw, "target")?;
        let source = Source::read(&raw).map_err(wrong)?;
        let target = Target::read(&raw).map_err(wrong)?;
        let output = output(label, source_node, &source)?;
        let is_known = target_node.template.contains_key(&target.field)
            || target_node.output(&target.field).is_some();
        if !is_known {
            return Err(Issue::UnknownField {
                edge: label.to_owned(),
                node: target_node.id.clone(),
                field: target.field,
            });
        }
        if !fits(source_node, &output, &source, target_node, &target) {
            return Err(Issue::Incompatible {
                edge: label.to_owned(),
                node: target_node.id.clone(),
                given: listed(&source.types),
                taken: listed(&taken(&target)),
                field: target.field,
            });
        }
        let types = if source.types.is_empty() {
            source_node.output(&output).map(|output| output.types.clone()).unwrap_or_default()
        } else {
            normalised(&source.types)
        };
        Ok(Edge {
            source: source_node.id.clone(),
            source_position,
            output,
            target: target_node.id.clone(),
            target_position,
            field: target.field,
            types,
            is_feedback: target.is_feedback,
            raw,
        })
    }

    fn end(&self, label: &str, raw: &Value, end: &'static str) -> Result<(usize, &Node), Issue> {
        let id = json::text(raw, end).ok_or_else(|| Issue::Edge {
            edge: label.to_owned(),
            field: end,
            expected: "a node's id",
        })?;
        let position = self.positions.get(id).copied();
        position
            .and_then(|position| Some((position, self.nodes.get(position)?)))
            .ok_or_else(|| Issue::MissingNode { edge: label.to_owned(), node: id.to_owned() })
    }
}

/// The output at which the edge begins. The oldest handles do not name it when there is only one.
fn output(label: &str, node: &Node, source: &Source) -> Result<String, Issue> {
    let named = match (&source.output, node.outputs.as_slice()) {
        (Some(name), _) if source.is_legacy || node.output(name).is_some() => Some(name.clone()),
        (None, [only]) if source.is_legacy => Some(only.name.clone()),
        (None, _) if source.is_legacy => Some(String::new()),
        _ => None,
    };
    named.ok_or_else(|| Issue::UnknownOutput {
        edge: label.to_owned(),
        node: node.id.clone(),
        output: source.output.clone().unwrap_or_default(),
        available: listed(
            &node.outputs.iter().map(|output| output.name.clone()).collect::<Vec<_>>(),
        ),
    })
}

/// lfx asks twice: the handles must fit each other, and the output that the node really has must
/// fit the handle, or any field of the target when the handle lists no types.
fn fits(node: &Node, output: &str, source: &Source, target_node: &Node, target: &Target) -> bool {
    let given = || source.types.iter().map(String::as_str);
    let by_kind = || compatible(given(), target.kind.as_slice());
    let handles = match target.kind {
        None if source.is_legacy => compatible(given(), &target.input_types),
        None => {
            !source.types.is_empty()
                && (target.input_types.is_empty() || compatible(given(), &target.input_types))
        }
        Some(_) => compatible(given(), &target.input_types) || by_kind(),
    };
    if !handles {
        return false;
    }
    if source.is_legacy {
        let classes = node.component().and_then(|component| component.get("base_classes"));
        let classes = classes.and_then(json::texts).unwrap_or_default();
        return compatible(classes.iter().map(String::as_str), &field_types(target_node));
    }
    let real = node.output(output).map(|output| output.types.as_slice()).unwrap_or_default();
    let real = || real.iter().map(String::as_str);
    if target.input_types.is_empty() {
        compatible(real(), &field_types(target_node))
    } else {
        compatible(real(), &target.input_types)
    }
}

/// Every type that any field of the node takes.
fn field_types(node: &Node) -> Vec<String> {
    let mut types = Vec::new();
    for field in node.template.values() {
        types.extend(json::text(field, "type").map(str::to_owned));
        types.extend(field.get("input_types").and_then(json::texts).unwrap_or_default());
    }
    types
}

fn taken(target: &Target) -> Vec<String> {
    target.input_types.iter().cloned().chain(target.kind.clone()).collect()
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

/// How a message names an edge: by its ends, as far as they are known.
fn label(index: usize, raw: &Value) -> String {
    let part = |end: &str, handle: &str, names: [&str; 2]| {
        let node = json::text(raw, end)?;
        let handle = raw.pointer(&format!("/data/{handle}"));
        let name = handle.and_then(|h| names.iter().find_map(|name| json::text(h, name)));
        Some(name.map_or_else(|| node.to_owned(), |name| format!("{node}.{name}")))
    };
    match (
        part("source", "sourceHandle", ["name", "name"]),
        part("target", "targetHandle", ["fieldName", "name"]),
    ) {
        (Some(source), Some(target)) => format!("{source} -> {target}"),
        _ => format!("edges[{index}]"),
    }
}
