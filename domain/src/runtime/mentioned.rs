//! Packages that a flow's components name in their export and the runtime does not have.
//!
//! An export names what the code imports: the name of a module, with the version of the
//! distribution that had it there. Often both have one name, not always (`bs4` is of
//! `beautifulsoup4`), and whoever wrote the export chose it. So this is for a person to look at;
//! it is installed only where the operator says [`Build::Derived`](super::Build::Derived).

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Requirements, normalised};
use crate::flow::Graph;

/// Modules of the runtime of 1.13, one a line, sorted: what its image can import, the standard
/// library aside, which exports do not name.
const MODULES: &str = include_str!("modules-1.13.txt");

/// What the components name, without what the runtime has or the flow lists, as lines that could
/// be listed.
#[must_use]
pub fn mentioned(graph: &Graph, listed: &Requirements) -> Vec<String> {
    let listed: BTreeSet<&str> = listed.lines().iter().map(|line| name(line)).collect();
    let nodes = graph.nodes().iter();
    let named = nodes.filter_map(|node| {
        node.component()?.get("metadata")?.get("dependencies")?.get("dependencies")?.as_array()
    });
    let lines = named.flatten().filter_map(|dependency| {
        let module = dependency.get("name")?.as_str()?;
        let package = normalised(module);
        if MODULES.lines().any(|own| own == module) || listed.contains(package.as_str()) {
            return None;
        }
        let version = dependency.get("version").and_then(Value::as_str);
        let line =
            version.map_or_else(|| package.clone(), |version| format!("{package}=={version}"));
        // Only what could be listed: the export may say anything.
        Requirements::read([line.as_str()]).ok().filter(|read| !read.is_empty()).map(|_| line)
    });
    lines.collect::<BTreeSet<String>>().into_iter().collect()
}

fn name(line: &str) -> &str {
    let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    line.get(..end.unwrap_or(line.len())).unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_runtime_lacks_is_named_once_and_as_it_could_be_listed() {
        let dependencies = json!([
            {"name": "lfx", "version": null}, {"name": "pandas", "version": "2.2.3"},
            {"name": "humanize", "version": "4.9.0"}, {"name": "Data_Forge", "version": null},
            {"name": "listed", "version": "1.0"}, {"name": "evil @ https://x", "version": null},
            {"name": "odd", "version": "1; rm"},
        ]);
        let node = |id: &str| {
            json!({"id": id, "position": {}, "data": {"type": "Mine", "node": {
            "template": {"_type": "Component", "code": {"value": "class A: pass"}}, "outputs": [],
            "metadata": {"dependencies": {"dependencies": dependencies}}}}})
        };
        let graph =
            Graph::read(&json!({"nodes": [node("A-1"), node("B-1")], "edges": []})).unwrap();
        let listed = Requirements::read(["listed>=1"]).unwrap();
        assert_eq!(mentioned(&graph, &listed), ["data-forge", "humanize==4.9.0"]);
    }

    #[test]
    fn the_list_is_sorted() {
        let lines: Vec<&str> = MODULES.lines().collect();
        assert!(lines.len() > 100 && lines.is_sorted());
    }
}
