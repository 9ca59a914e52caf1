//! The flow that is run: Chat Input, two components that are counted, Chat Output.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use serde_json::{Value, json};

const EXPORT: &str = include_str!("flow/flow.json");
const COUNT: &str = include_str!("flow/count.py");

/// The components that are counted, in their order.
pub(crate) const COUNTED: [&str; 2] = ["first", "second"];

/// The flow as a body for the API; its components are counted at this address.
pub(crate) fn export(counter: SocketAddr) -> Result<Value> {
    let mut flow: Value = serde_json::from_str(EXPORT).context("reading the flow")?;
    let nodes = flow.pointer_mut("/data/nodes").and_then(Value::as_array_mut);
    for node in nodes.context("the flow has no nodes")? {
        if node.pointer("/data/type") != Some(&json!("Count")) {
            continue;
        }
        for (field, value) in [("code", COUNT.to_owned()), ("url", format!("http://{counter}/"))] {
            let place = node.pointer_mut(&format!("/data/node/template/{field}/value"));
            *place.with_context(|| format!("a component has no {field}"))? = json!(value);
        }
    }
    Ok(flow)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counted_components_are_told_where() {
        let flow = export("127.0.0.1:9".parse().unwrap()).unwrap();
        let nodes = flow["data"]["nodes"].as_array().unwrap();
        assert_eq!(nodes.len(), 4);
        let counted: Vec<&Value> =
            nodes.iter().filter(|node| node["data"]["type"] == "Count").collect();
        for (node, cell) in counted.iter().zip(COUNTED) {
            let template = &node["data"]["node"]["template"];
            assert_eq!(template["cell"]["value"], cell);
            assert_eq!(template["url"]["value"], "http://127.0.0.1:9/");
            assert!(template["code"]["value"].as_str().unwrap().contains("class Count"));
        }
        assert_eq!(counted.len(), COUNTED.len());
    }
}
