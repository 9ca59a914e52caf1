//! What a run asks of a person, and what becomes of the answer.
//!
//! A request is kept as lfx makes it: a JSON object with `request_id`, `prompt`, `options`,
//! `allowed_decisions` and, for a Human Input, `timeout_seconds` and `fallback_action`. A decision
//! is one with `action_id`, and `values` where the action takes some.

use serde_json::{Map, Value};

use crate::time::Timestamp;

/// The action of an answer that came too late where nothing else is to be done then. No branch has
/// this name, so none is taken.
const EXPIRED: &str = "__expired__";

/// The id of a request; `None` where the component gave none.
#[must_use]
pub fn request_id(request: &Value) -> Option<&str> {
    request.get("request_id").and_then(Value::as_str).filter(|id| !id.is_empty())
}

/// Whether a decision of the request with this id reaches a node of a run: lfx gives it to the
/// node that the id names, with or without a mark for one of several questions.
#[must_use]
pub fn is_for(request_id: &str, node: &str, run: &str) -> bool {
    let rest = request_id.strip_prefix(node).and_then(|rest| rest.strip_prefix(':'));
    let mark = rest.and_then(|rest| rest.strip_prefix(run));
    mark.is_some_and(|mark| mark.is_empty() || mark.starts_with(':'))
}

/// The decisions that a request admits; none: any.
#[must_use]
pub fn allowed(request: &Value) -> Vec<&str> {
    let listed = request.get("allowed_decisions").and_then(Value::as_array);
    listed.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Whether a decision is one that the request admits.
#[must_use]
pub fn is_allowed(request: &Value, decision: &Value) -> bool {
    let allowed = allowed(request);
    let chosen = decision.get("action_id").and_then(Value::as_str);
    allowed.is_empty() || chosen.is_some_and(|chosen| allowed.contains(&chosen))
}

/// What is done with a decision. As in Langflow nobody watches the clock while a request waits: an
/// answer after the request's time counts as its fallback, or takes no branch at all.
#[must_use]
pub fn effective(request: &Value, decision: &Value, asked: Timestamp, decided: Timestamp) -> Value {
    let seconds = request.get("timeout_seconds").and_then(Value::as_u64).unwrap_or(0);
    let is_late = seconds > 0 && decided.since(asked).as_millis() > u128::from(seconds) * 1_000;
    if !is_late {
        return decision.clone();
    }
    let fallback = request.get("fallback_action").and_then(Value::as_str).unwrap_or(EXPIRED);
    let mut rerouted = decision.as_object().cloned().unwrap_or_else(Map::new);
    rerouted.insert("action_id".to_owned(), Value::from(fallback));
    Value::Object(rerouted)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_listed_actions_are_allowed() {
        let request = json!({"allowed_decisions": ["approve", "reject"]});
        for (decision, allowed) in [
            (json!({"action_id": "approve"}), true),
            (json!({"action_id": "escalate"}), false),
            (json!({}), false),
            (Value::Null, false),
        ] {
            assert_eq!(is_allowed(&request, &decision), allowed, "{decision}");
            assert!(is_allowed(&json!({"allowed_decisions": []}), &decision));
        }
    }

    #[test]
    fn a_late_answer_is_the_fallback() {
        let decision = json!({"action_id": "approve", "values": {"x": 1}});
        let taken = |request: Value, after: i64| {
            let taken = effective(&request, &decision, Timestamp(0), Timestamp(after));
            assert_eq!(taken["values"], json!({"x": 1}));
            taken["action_id"].as_str().unwrap().to_owned()
        };
        let request = json!({"timeout_seconds": 60, "fallback_action": "fallback"});
        assert_eq!(taken(request.clone(), 60_000), "approve");
        assert_eq!(taken(request, 60_001), "fallback");
        let nothing = json!({"timeout_seconds": 60, "fallback_action": null});
        assert_eq!(taken(nothing, 60_001), "__expired__");
        assert_eq!(taken(json!({"timeout_seconds": 0}), i64::MAX), "approve");
    }

    #[test]
    fn an_id_names_a_node_of_a_run() {
        assert!(is_for("A-1:r", "A-1", "r") && is_for("A-1:r:7", "A-1", "r"));
        assert!(!is_for("A-1:r7", "A-1", "r") && !is_for("A-12:r", "A-1", "r"));
        assert!(!is_for("r", "A-1", "r"));
    }
}
