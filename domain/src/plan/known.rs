//! What runs have shown of components, by their code: outputs that are live although their types
//! travel.

use std::collections::BTreeSet;

use super::OutputRef;
use crate::flow::Graph;

/// The hashes of all code in the graph, by which something may be known of it.
#[must_use]
pub fn code_digests(graph: &Graph) -> Vec<String> {
    let digests: BTreeSet<String> =
        graph.nodes().iter().filter_map(|node| node.code_digest()).collect();
    digests.into_iter().collect()
}

/// The outputs of the graph that are known to be live: `known` are hashes of code with the names
/// of outputs.
#[must_use]
pub fn observed<'a>(
    graph: &Graph,
    known: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> BTreeSet<OutputRef> {
    let known: Vec<(&str, &str)> = known.into_iter().collect();
    let nodes = graph.nodes().iter().filter_map(|node| Some((node, node.code_digest()?)));
    let live = nodes.flat_map(|(node, digest)| {
        let same = known.iter().filter(move |(code, _)| *code == digest);
        same.map(|(_, output)| OutputRef { node: node.id.clone(), output: (*output).to_owned() })
    });
    live.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::flow::fixture::{Draft, node};

    #[test]
    fn what_is_known_of_code_holds_for_every_node_with_it() {
        let code = json!({"type": "code", "value": "class Same: pass"});
        let graph = Draft::new()
            .node(node("A-a", "A").raw_field("code", code.clone()))
            .node(node("B-b", "B").raw_field("code", code))
            .node(node("C-c", "C"))
            .graph();
        let digests = code_digests(&graph);
        let code = graph.node("A-a").and_then(crate::flow::Node::code_digest).unwrap();
        assert!(digests.contains(&code));
        let live = observed(&graph, [(code.as_str(), "out"), ("other", "more")]);
        let live: Vec<&str> = live.iter().map(|output| output.node.as_str()).collect();
        assert_eq!(live, ["A-a", "B-b"]);
    }
}
