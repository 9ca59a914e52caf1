//! What changes for a flow that runs under another runtime than its own.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use super::components::{self, Shipped};
use super::{Minor, Needs, Runtimes};
use crate::flow::{Graph, Node};

/// Most components that a warning names one by one.
const NAMED_MAX: usize = 20;
/// What the editor writes into every template, or a component only in use.
const NOT_FIELDS: [&str; 2] = ["code", "tools_metadata"];

/// A flow runs under another runtime than its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// The version that exported it.
    pub exported_by: Minor,
    /// The version whose runtime it gets.
    pub runs_under: Minor,
    /// Components whose code is not that runtime's own; none when no list of its own is known.
    pub changes: Option<Vec<Change>>,
}

/// A component whose code is not the runtime's own. The code in the flow is what runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The node.
    pub node: String,
    /// Its name for people.
    pub display_name: String,
    /// Fields that differ, by name.
    pub fields: Vec<Field>,
}

/// A field that only one of them has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// The flow has it, the runtime's own component does not.
    Gone(String),
    /// The runtime's own component has it, the flow does not.
    New(String),
}

impl Runtimes {
    /// What an operator's choice changes for a flow; nothing when it has its own runtime, or does
    /// not say which one that is.
    #[must_use]
    pub fn warning(&self, needs: &Needs, graph: &Graph) -> Option<Warning> {
        let exported_by = needs.langflow?;
        let runs_under = self.choose(needs).langflow;
        (exported_by != runs_under).then(|| Warning {
            exported_by,
            runs_under,
            changes: components::of(runs_under).map(|shipped| {
                let change = |node: &Node| changed(node, shipped.get(node.kind.as_str())?);
                graph.nodes().iter().filter_map(change).collect()
            }),
        })
    }
}

/// Custom components have a type that no runtime ships: nothing can be said about them.
fn changed(node: &Node, shipped: &Shipped) -> Option<Change> {
    if node.code_digest().as_deref() == Some(shipped.digest) {
        return None;
    }
    let own = |name: &&str| !name.starts_with('_') && !NOT_FIELDS.contains(name);
    let made: BTreeSet<String> = made_by_the_user(node);
    let here: BTreeSet<&str> = node.template.keys().map(String::as_str).filter(own).collect();
    let there: BTreeSet<&str> = shipped.fields.iter().copied().filter(own).collect();
    let gone = here.difference(&there).filter(|name| !made.contains(**name));
    let gone = gone.map(|name| Field::Gone((*name).to_owned()));
    let new = there.difference(&here).map(|name| Field::New((*name).to_owned()));
    let fields = gone.chain(new).collect();
    Some(Change { node: node.id.clone(), display_name: node.display_name.clone(), fields })
}

/// Fields that the user's own text makes: the variables of a prompt.
fn made_by_the_user(node: &Node) -> BTreeSet<String> {
    let custom = node.component().and_then(|component| component.get("custom_fields")?.as_object());
    let lists = custom.into_iter().flat_map(|lists| lists.values());
    let names = lists.filter_map(|list| list.as_array()).flatten();
    names.filter_map(|name| name.as_str()).map(str::to_owned).collect()
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { exported_by, runs_under, changes } = self;
        write!(
            f,
            "Langflow {exported_by} exported this flow, and no runtime of {exported_by} is "
        )?;
        write!(f, "configured: it runs under {runs_under}")?;
        match changes.as_deref() {
            None => Ok(()),
            Some([]) => write!(f, "; the code of its components is the same there"),
            Some(changes) => {
                write!(f, "; not {runs_under}'s own code: ")?;
                for (index, change) in changes.iter().take(NAMED_MAX).enumerate() {
                    write!(f, "{}{change}", if index == 0 { "" } else { "; " })?;
                }
                match changes.len().saturating_sub(NAMED_MAX) {
                    0 => Ok(()),
                    more => write!(f, "; and {more} more"),
                }
            }
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.display_name, self.node)?;
        let names = |wanted: fn(&Field) -> Option<&String>| {
            let names: Vec<&str> =
                self.fields.iter().filter_map(wanted).map(String::as_str).collect();
            names.join(", ")
        };
        let gone = names(|field| match field {
            Field::Gone(name) => Some(name),
            Field::New(_) => None,
        });
        let new = names(|field| match field {
            Field::New(name) => Some(name),
            Field::Gone(_) => None,
        });
        for (word, names) in [("gone there", gone), ("new there", new)] {
            if !names.is_empty() {
                write!(f, ", fields {word}: {names}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn graph(nodes: Vec<Value>) -> Graph {
        Graph::read(&json!({"nodes": nodes, "edges": []})).unwrap()
    }

    fn node(kind: &str, fields: &[&str]) -> Value {
        let mut template = json!({"_type": "Component", "code": {"value": "class Old: pass"}});
        for field in fields {
            template[*field] = json!({"value": ""});
        }
        let frame = json!({"template": template, "outputs": [], "display_name": "It",
            "custom_fields": {"template": ["name"]}});
        json!({"id": format!("{kind}-aaaaa"), "type": "genericNode", "position": {"x": 0, "y": 0},
            "data": {"id": format!("{kind}-aaaaa"), "type": kind, "node": frame}})
    }

    fn needs(minor: u16) -> Needs {
        Needs { langflow: Some(Minor::new(1, minor)), ..Needs::default() }
    }

    #[test]
    fn a_flow_of_the_runtime_s_own_version_has_nothing_to_be_told() {
        let runtimes = Runtimes::default();
        let graph = graph(vec![node("ChatInput", &[])]);
        assert_eq!(runtimes.warning(&needs(13), &graph), None);
        assert_eq!(runtimes.warning(&Needs::default(), &graph), None);
    }

    #[test]
    fn what_changed_is_named() {
        let runtimes = Runtimes::default();
        let custom = node("Mine", &["x"]);
        let graph = graph(vec![node("Prompt Template", &["template", "name", "old"]), custom]);
        let warning = runtimes.warning(&needs(4), &graph).unwrap();
        let changes = warning.changes.as_ref().unwrap();
        assert_eq!(changes.len(), 1, "nothing is known of a custom component: {changes:?}");
        assert!(changes[0].fields.contains(&Field::Gone("old".to_owned())), "{changes:?}");
        assert!(!changes[0].fields.contains(&Field::Gone("name".to_owned())), "{changes:?}");
        let text = warning.to_string();
        assert!(text.contains("Langflow 1.4 exported") && text.contains("under 1.13"), "{text}");
        assert!(text.contains("It (Prompt Template-aaaaa), fields gone there: old"), "{text}");
    }

    #[test]
    fn without_a_list_only_the_versions_are_named() {
        let old = Minor::new(1, 2);
        let runtimes = Runtimes {
            default: old,
            images: [(old, "x".to_owned())].into(),
            ..Runtimes::default()
        };
        let warning = runtimes.warning(&needs(4), &graph(vec![node("ChatInput", &[])])).unwrap();
        assert_eq!(warning.changes, None);
        assert!(warning.to_string().ends_with("it runs under 1.2"), "{warning}");
    }
}
