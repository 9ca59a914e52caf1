//! Which nodes a run builds, and which of their results it answers with.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::flow::{Edge, Graph, Node};

/// Which results a caller asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputType {
    /// Chat outputs.
    #[default]
    Chat,
    /// Text outputs.
    Text,
    /// Every output component.
    Any,
    /// Every node.
    Debug,
}

/// Which part of a flow a run builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    /// What Langflow's `/run` builds: what is connected to the input at which a run begins, or
    /// everything when there is none.
    Run,
    /// Everything.
    All,
    /// What is connected to this node: all behind it, and all that those need.
    From(&'a str),
    /// What this node needs, and itself.
    UpTo(&'a str),
    /// Of what the second node needs, and itself: what is connected to the first.
    Between(&'a str, &'a str),
}

impl<'a> Scope<'a> {
    /// What a run builds that was asked to start at one node and to stop at another.
    #[must_use]
    pub fn of(start: Option<&'a str>, stop: Option<&'a str>) -> Self {
        match (start, stop) {
            (None, None) => Self::Run,
            (Some(start), None) => Self::From(start),
            (None, Some(stop)) => Self::UpTo(stop),
            (Some(start), Some(stop)) => Self::Between(start, stop),
        }
    }
}

/// The nodes whose results `/run` returns, in its order, as far as they were built: the caller
/// leaves out those that were not.
///
/// Two of Langflow's habits are kept. The component may be named by its display name. And when
/// nothing matches the type, every output component answers.
#[must_use]
pub fn outputs(graph: &Graph, component: Option<&str>, output_type: OutputType) -> Vec<String> {
    let matches = |node: &&Node| {
        let id = node.id.to_lowercase();
        match output_type {
            OutputType::Debug => true,
            OutputType::Any => node.is_output,
            OutputType::Chat => node.is_output && id.contains("chat"),
            OutputType::Text => node.is_output && id.contains("text"),
        }
    };
    let named: BTreeSet<&str> = match component.filter(|name| !name.is_empty()) {
        Some(name) => BTreeSet::from([name]),
        None => graph.nodes().iter().filter(matches).map(|node| node.id.as_str()).collect(),
    };
    let is_returned = |node: &&Node| {
        (named.is_empty() && node.is_output)
            || named.contains(node.id.as_str())
            || named.contains(node.display_name.as_str())
    };
    graph.nodes().iter().filter(is_returned).map(|node| node.id.clone()).collect()
}

/// The input at which a run begins: a webhook before a chat input, the first of each by position.
#[must_use]
pub fn start(graph: &Graph) -> Option<&Node> {
    let first = |part: &str| {
        let mut inputs = graph.nodes().iter().filter(|node| node.is_input);
        inputs.find(|node| node.id.to_lowercase().contains(part))
    };
    first("webhook").or_else(|| first("chat"))
}

/// The nodes that a run builds, in position order. Tools that nothing uses are left out, except
/// those at which the run begins or ends: then somebody is looking at them.
#[must_use]
pub fn to_run(graph: &Graph, scope: Scope<'_>) -> Vec<String> {
    let all: BTreeSet<usize> = (0..graph.nodes().len()).collect();
    let at = |node: &str| graph.position(node);
    let (chosen, named) = match scope {
        Scope::All => (all, Vec::new()),
        Scope::Run => match start(graph).and_then(|node| at(&node.id)) {
            Some(first) => (connected(graph, first, &all), vec![first]),
            None => (all, Vec::new()),
        },
        Scope::From(first) => match at(first) {
            Some(first) => (connected(graph, first, &all), vec![first]),
            None => (BTreeSet::new(), Vec::new()),
        },
        Scope::UpTo(last) => match at(last) {
            Some(last) => (before(graph, [last]), vec![last]),
            None => (BTreeSet::new(), Vec::new()),
        },
        Scope::Between(first, last) => match (at(first), at(last)) {
            (Some(first), Some(last)) => {
                let needed = before(graph, [last]);
                (connected(graph, first, &needed), vec![first, last])
            }
            _ => (BTreeSet::new(), Vec::new()),
        },
    };
    chosen
        .into_iter()
        .filter(|position| !graph.is_orphan_tool(*position) || named.contains(position))
        .filter_map(|position| graph.nodes().get(position).map(|node| node.id.clone()))
        .collect()
}

/// All behind a node as far as the bounds go, which have all that their nodes need; and what those
/// need.
fn connected(graph: &Graph, position: usize, bounds: &BTreeSet<usize>) -> BTreeSet<usize> {
    if !bounds.contains(&position) {
        return BTreeSet::new();
    }
    let within = |edge: &&Edge| bounds.contains(&edge.target_position);
    let outgoing = |at| graph.outgoing(at).filter(within);
    before(graph, spread([position], outgoing, |edge| edge.target_position))
}

fn before(graph: &Graph, positions: impl IntoIterator<Item = usize>) -> BTreeSet<usize> {
    spread(positions, |at| graph.incoming(at), |edge| edge.source_position)
}

fn spread<'g, I: Iterator<Item = &'g Edge>>(
    from: impl IntoIterator<Item = usize>,
    edges: impl Fn(usize) -> I,
    end: impl Fn(&Edge) -> usize,
) -> BTreeSet<usize> {
    let mut found: BTreeSet<usize> = from.into_iter().collect();
    let mut stack: Vec<usize> = found.iter().copied().collect();
    while let Some(at) = stack.pop() {
        for edge in edges(at) {
            if found.insert(end(edge)) {
                stack.push(end(edge));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::fixture::{Draft, node};

    fn graph() -> Graph {
        Draft::new()
            .node(node("Lonely-z", "Lonely"))
            .node(node("ChatInput-a", "ChatInput").output("message", "Message"))
            .node(node("Prompt-b", "Prompt").output("prompt", "Message"))
            .node(node("Side-c", "Side").output("out", "Message"))
            .node(node("ChatOutput-d", "ChatOutput").named("Answer"))
            .node(node("TextOutput-e", "TextOutput"))
            .node(node("Tool-f", "Tool").tool())
            .edge("ChatInput-a.message:Message", "Prompt-b.in")
            .edge("Side-c.out:Message", "Prompt-b.more")
            .edge("Prompt-b.prompt:Message", "ChatOutput-d.in")
            .edge("Side-c.out:Message", "TextOutput-e.in")
            .graph()
    }

    #[test]
    fn answers_with_the_outputs_of_the_type() {
        let of = |component, kind| outputs(&graph(), component, kind).join(" ");
        assert_eq!(of(None, OutputType::Chat), "ChatOutput-d");
        assert_eq!(of(None, OutputType::Text), "TextOutput-e");
        assert_eq!(of(None, OutputType::Any), "ChatOutput-d TextOutput-e");
        assert_eq!(of(None, OutputType::Debug).split(' ').count(), 7);
        assert_eq!(of(Some("Prompt-b"), OutputType::Chat), "Prompt-b");
        assert_eq!(of(Some("Answer"), OutputType::Chat), "ChatOutput-d");
        assert_eq!(of(Some("nobody"), OutputType::Chat), "");
    }

    #[test]
    fn without_a_match_every_output_answers() {
        let graph = Draft::new().node(node("ChatOutput-d", "ChatOutput")).graph();
        assert_eq!(outputs(&graph, None, OutputType::Text), ["ChatOutput-d"]);
    }

    #[test]
    fn builds_what_is_connected_to_the_input() {
        let of = |scope| to_run(&graph(), scope).join(" ");
        assert_eq!(of(Scope::Run), "ChatInput-a Prompt-b Side-c ChatOutput-d");
        assert_eq!(of(Scope::UpTo("Prompt-b")), "ChatInput-a Prompt-b Side-c");
        assert_eq!(of(Scope::From("Tool-f")), "Tool-f");
        assert_eq!(of(Scope::All).split(' ').count(), 6);
        assert_eq!(of(Scope::From("nobody")), "");
        assert_eq!(of(Scope::of(None, None)), of(Scope::Run));
        let part = |start, stop| of(Scope::of(Some(start), Some(stop)));
        assert_eq!(part("Side-c", "ChatOutput-d"), "ChatInput-a Prompt-b Side-c ChatOutput-d");
        assert_eq!(part("Side-c", "TextOutput-e"), "Side-c TextOutput-e");
        assert_eq!(part("ChatInput-a", "TextOutput-e"), "");
        assert_eq!(part("nobody", "TextOutput-e"), "");
    }
}
