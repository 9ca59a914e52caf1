//! Leads an edge at a group's handle to the node inside that the handle stands for.

use serde_json::{Map, Value};

use super::json;

/// The inside of one group.
pub(super) struct Inside<'a> {
    pub(super) group: &'a Value,
    pub(super) children: &'a [Value],
    pub(super) edges: &'a [Value],
}

impl Inside<'_> {
    /// Makes the edge end at the field inside. On failure names the handle.
    pub(super) fn lead_target(&self, edge: &mut Value) -> Result<(), String> {
        let handle = edge.pointer("/data/targetHandle").cloned().unwrap_or_default();
        let shown = || json::text(&handle, "fieldName").unwrap_or("target").to_owned();
        let proxy = handle.get("proxy").filter(|proxy| json::is_truthy(proxy)).ok_or_else(shown)?;
        let child = json::text(proxy, "id").ok_or_else(shown)?;
        let field = json::text(proxy, "field").ok_or_else(shown)?;
        let node = self.child(child).ok_or_else(shown)?;
        let kind = handle.get("type").filter(|kind| !kind.is_null()).ok_or_else(shown)?;
        let mut led = Map::new();
        led.insert("fieldName".to_owned(), Value::String(field.to_owned()));
        led.insert("type".to_owned(), kind.clone());
        led.insert("id".to_owned(), Value::String(child.to_owned()));
        if node.pointer("/data/node/flow").is_some_and(json::is_truthy) {
            // The node inside is itself a group: its own proxy leads one level deeper.
            let next = node
                .pointer("/data/node/template")
                .and_then(|template| template.get(field))
                .and_then(|field| field.get("proxy"))
                .ok_or_else(shown)?;
            led.insert("proxy".to_owned(), next.clone());
        }
        if let Some(types) = handle.get("inputTypes").filter(|types| json::is_truthy(types)) {
            led.insert("inputTypes".to_owned(), types.clone());
        }
        set(edge, "target", child, "targetHandle", led);
        Ok(())
    }

    /// Makes the edge begin at the output inside. On failure names the handle.
    pub(super) fn lead_source(&self, edge: &mut Value) -> Result<(), String> {
        let handle = edge.pointer("/data/sourceHandle").cloned().unwrap_or_default();
        let shown = || json::text(&handle, "name").unwrap_or("source").to_owned();
        let mut led = handle.as_object().cloned().ok_or_else(shown)?;
        let Some((child, output)) = self.output(json::text(&handle, "name").unwrap_or_default())
        else {
            // An export from before outputs had proxies: the group gives what its last node gives.
            let last = self.last_node().and_then(|node| json::text(node, "id"));
            let last = last.ok_or_else(shown)?.to_owned();
            led.insert("id".to_owned(), Value::String(last.clone()));
            set(edge, "source", &last, "sourceHandle", led);
            return Ok(());
        };
        let node = self.child(&child).ok_or_else(shown)?;
        led.insert("id".to_owned(), Value::String(child.clone()));
        led.insert("name".to_owned(), Value::String(output.clone()));
        if let Some(kind) = node.pointer("/data/type").filter(|kind| json::is_truthy(kind)) {
            led.insert("dataType".to_owned(), kind.clone());
        }
        if !led.get("output_types").is_some_and(json::is_truthy)
            && let Some(types) = output_types(node, &output)
        {
            led.insert("output_types".to_owned(), types.clone());
        }
        set(edge, "source", &child, "sourceHandle", led);
        Ok(())
    }

    fn child(&self, id: &str) -> Option<&Value> {
        self.children.iter().find(|node| json::text(node, "id") == Some(id))
    }

    /// The node and output inside that the group's output stands for.
    fn output(&self, name: &str) -> Option<(String, String)> {
        if name.is_empty() {
            return None;
        }
        let outputs = self.group.pointer("/data/node/outputs").and_then(Value::as_array);
        let output = outputs
            .into_iter()
            .flatten()
            .find(|output| json::text(output, "name") == Some(name))
            .and_then(|output| output.get("proxy"))
            .filter(|proxy| json::is_truthy(proxy));
        if let Some(proxy) = output {
            let output = json::text(proxy, "name").or_else(|| json::text(proxy, "field"));
            return Some((json::text(proxy, "id")?.to_owned(), output?.to_owned()));
        }
        // Otherwise the name itself says it, as `<node id>_<output>`; the longest id wins.
        let mut ids: Vec<&str> =
            self.children.iter().filter_map(|node| json::text(node, "id")).collect();
        ids.sort_by_key(|id| std::cmp::Reverse(id.len()));
        ids.into_iter().find_map(|id| {
            let output = name.strip_prefix(id)?.strip_prefix('_')?;
            Some((id.to_owned(), output.to_owned()))
        })
    }

    /// The first node inside from which no edge begins.
    fn last_node(&self) -> Option<&Value> {
        self.children.iter().find(|node| {
            let id = json::text(node, "id");
            !self.edges.iter().any(|edge| json::text(edge, "source") == id)
        })
    }
}

fn output_types<'a>(node: &'a Value, name: &str) -> Option<&'a Value> {
    let outputs = node.pointer("/data/node/outputs")?.as_array()?;
    outputs.iter().find(|output| json::text(output, "name") == Some(name))?.get("types")
}

fn set(edge: &mut Value, end: &str, id: &str, name: &str, handle: Map<String, Value>) {
    if let Some(edge) = edge.as_object_mut() {
        edge.insert(end.to_owned(), Value::String(id.to_owned()));
        if let Some(data) = edge.get_mut("data").and_then(Value::as_object_mut) {
            data.insert(name.to_owned(), Value::Object(handle));
        }
    }
}
