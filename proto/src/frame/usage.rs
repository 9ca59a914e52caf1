//! What models cost, counted in tokens.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::CellResult;

/// Tokens of one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenUsage {
    /// Tokens that models were given.
    #[serde(default)]
    pub input_tokens: u64,
    /// Tokens that they answered with.
    #[serde(default)]
    pub output_tokens: u64,
}

/// Tokens by node.
pub type UsageByNode = BTreeMap<String, TokenUsage>;

impl TokenUsage {
    /// Adds another node's.
    pub fn add(&mut self, other: Self) {
        self.input_tokens = self.input_tokens.saturating_add(other.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(other.output_tokens);
    }
}

impl CellResult {
    /// What each node spent, as its `ResultData` says; nodes that spent nothing are left out.
    #[must_use]
    pub fn usage_by_node(&self) -> UsageByNode {
        let spent = self.nodes.iter().filter_map(|(node, given)| {
            let usage = given.result.get("token_usage").filter(|usage| usage.is_object())?;
            let count = |key| usage.get(key).and_then(Value::as_u64).unwrap_or_default();
            let (input_tokens, output_tokens) = (count("input_tokens"), count("output_tokens"));
            Some((node.clone(), TokenUsage { input_tokens, output_tokens }))
        });
        spent.collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::frame::NodeResult;

    #[test]
    fn is_what_results_say() {
        let node = |usage: Value| NodeResult {
            outputs: BTreeMap::new(),
            result: json!({"token_usage": usage}),
            valid: true,
        };
        let tokens = json!({"input_tokens": 3, "output_tokens": null, "total_tokens": 3});
        let nodes = [("A-1", node(tokens)), ("B-2", node(Value::Null)), ("C-3", node(json!("x")))];
        let nodes = nodes.map(|(id, node)| (id.to_owned(), node)).into();
        let result = CellResult { nodes, ..CellResult::default() };
        let spent = TokenUsage { input_tokens: 3, output_tokens: 0 };
        assert_eq!(result.usage_by_node(), UsageByNode::from([("A-1".to_owned(), spent)]));
        let mut sum = spent;
        sum.add(TokenUsage { input_tokens: u64::MAX, output_tokens: 1 });
        assert_eq!(sum, TokenUsage { input_tokens: u64::MAX, output_tokens: 1 });
    }
}
