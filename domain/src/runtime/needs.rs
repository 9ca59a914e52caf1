//! What a flow version needs of its runtime. Stored with the version: it never changes.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Build, Minor, Requirements, Runtimes, mentioned};
use crate::flow::Graph;

/// What a flow version needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    /// The minor version of Langflow that exported the flow; none when the export does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub langflow: Option<Minor>,
    /// Packages besides those of its runtime.
    #[serde(default, skip_serializing_if = "Requirements::is_empty")]
    pub requirements: Requirements,
}

impl Needs {
    /// What a flow needs, from its export and its graph, and what its owner listed.
    #[must_use]
    pub fn of(export: &Value, data: &Value, requirements: Requirements) -> Self {
        let tested = export.get("last_tested_version").and_then(Value::as_str).and_then(Minor::of);
        Self { langflow: tested.or_else(|| newest_node(data)), requirements }
    }
}

impl Runtimes {
    /// What a flow needs now, as the operator has it. Its graph is read only where packages are
    /// derived from it.
    #[must_use]
    pub fn needs(&self, export: &Value, data: &Value, listed: &Requirements) -> Needs {
        let needs = Needs::of(export, data, listed.clone());
        if self.build != Build::Derived || !listed.is_empty() {
            return needs;
        }
        let named = Graph::read(data).map(|graph| mentioned(&graph, listed)).unwrap_or_default();
        let requirements = Requirements::read(named.iter().map(String::as_str));
        Needs { requirements: requirements.unwrap_or_default(), ..needs }
    }
}

/// Older exports name a version in each component. A flow was last saved by the newest of them.
fn newest_node(data: &Value) -> Option<Minor> {
    let nodes = data.get("nodes").and_then(Value::as_array);
    let version = |node: &Value| {
        node.pointer("/data/node/lf_version").and_then(Value::as_str).and_then(Minor::of)
    };
    nodes.into_iter().flatten().filter_map(version).max()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_export_says_it_or_its_newest_component() {
        let node = |version: &str| json!({"data": {"node": {"lf_version": version}}});
        let data = json!({"nodes": [node("1.4.2"), node("1.10.0"), {"data": {"node": {}}}]});
        let of = |export: Value, data: &Value| {
            Needs::of(&export, data, Requirements::default()).langflow
        };
        assert_eq!(of(json!({"last_tested_version": "1.12.8"}), &data), Some(Minor::new(1, 12)));
        assert_eq!(of(json!({"last_tested_version": null}), &data), Some(Minor::new(1, 10)));
        assert_eq!(of(json!({}), &json!({"nodes": []})), None);
        assert_eq!(of(Value::Null, &Value::Null), None);
    }

    #[test]
    fn what_is_stored_is_read_again() {
        let needs = Needs { langflow: Some(Minor::new(1, 12)), ..Needs::default() };
        let text = serde_json::to_string(&needs).unwrap();
        assert_eq!(text, r#"{"langflow":"1.12"}"#);
        assert_eq!(serde_json::from_str::<Needs>(&text).unwrap(), needs);
        assert_eq!(serde_json::from_str::<Needs>("{}").unwrap(), Needs::default());
    }
}
