//! Which knowledge bases a cell may use: those that its nodes name.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use domain::plan::KNOWLEDGE_FIELD;
use proto::frame::{CallBody, ReplyError, Task};
use serde_json::Value;

use super::error;

/// The knowledge bases that a cell may use: by name, and by the ids that it was told.
#[derive(Debug)]
pub(crate) struct Bases {
    names: BTreeSet<String>,
    ids: Mutex<BTreeSet<String>>,
}

impl Bases {
    /// What the nodes of a task name.
    pub(crate) fn of(task: &Task) -> Self {
        let mut names = BTreeSet::new();
        collect(&task.graph, &mut names);
        let given = task.parameters.values().chain(task.overrides.values());
        let given = given.filter_map(|fields| fields.get(KNOWLEDGE_FIELD));
        given.for_each(|value| keep(value, &mut names));
        Self { names, ids: Mutex::default() }
    }

    /// Refuses a call for a base that nothing names.
    pub(super) fn check(&self, call: &CallBody) -> Result<(), ReplyError> {
        let text = |key| call.args.get(key).and_then(Value::as_str).unwrap_or_default();
        let is_named = match call.op.as_str() {
            "knowledge.get" => self.names.contains(text("name")),
            "knowledge.read" | "knowledge.add" | "knowledge.note" => {
                self.ids.lock().unwrap_or_else(PoisonError::into_inner).contains(text("id"))
            }
            _ => true,
        };
        if is_named {
            return Ok(());
        }
        Err(error("refused", "no node of this cell names that knowledge base"))
    }

    /// Takes up the id of a base that was found by its name.
    pub(super) fn learn(&self, op: &str, answer: &Value) {
        if op == "knowledge.get"
            && let Some(id) = answer.get("id").and_then(Value::as_str)
        {
            self.ids.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned());
        }
    }
}

fn collect(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, names)),
        Value::Object(members) => {
            for (key, member) in members {
                if key == KNOWLEDGE_FIELD {
                    keep(member, names);
                }
                collect(member, names);
            }
        }
        _ => {}
    }
}

/// A field of a template has its value inside; a parameter is the value.
fn keep(value: &Value, names: &mut BTreeSet<String>) {
    let name = value.get("value").unwrap_or(value).as_str();
    names.extend(name.filter(|name| !name.is_empty()).map(str::to_owned));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn call(op: &str, args: Value) -> CallBody {
        CallBody { id: 1, op: op.into(), args }
    }

    #[test]
    fn only_what_a_node_names_is_found_and_only_what_was_found_is_used() {
        let mut names = BTreeSet::new();
        let template = json!({"knowledge_base": {"value": "laws"}, "other": {"value": "secrets"}});
        collect(&json!({"nodes": [{"data": {"node": {"template": template}}}]}), &mut names);
        let bases = Bases { names, ids: Mutex::default() };
        let get = |name: &str| bases.check(&call("knowledge.get", json!({"name": name})));
        assert!(get("laws").is_ok());
        assert_eq!(get("secrets").unwrap_err().kind, "refused");
        assert_eq!(get("").unwrap_err().kind, "refused");
        let read = || bases.check(&call("knowledge.read", json!({"id": "7"})));
        assert_eq!(read().unwrap_err().kind, "refused");
        bases.learn("messages.get", &json!({"id": "7"}));
        assert_eq!(read().unwrap_err().kind, "refused");
        bases.learn("knowledge.get", &json!({"id": "7"}));
        assert!(read().is_ok());
    }
}
