//! Which files a cell may ask for: those that the values it was given name.

use std::sync::{Mutex, PoisonError};

use domain::files::{FilePath, Named};
use proto::frame::{CallBody, ReplyError, Task};
use serde_json::Value;

use super::error;

/// What Write File may add to the name of a file that it appends to.
const APPENDED_FORMATS: [&str; 5] = ["txt", "json", "markdown", "csv", "html"];

/// The files that a cell may ask for. It learns from answers too: stored messages have files.
#[derive(Debug)]
pub(crate) struct Nameable(Mutex<Named>);

impl Nameable {
    /// What a task names.
    pub(crate) fn of(task: &Task) -> Self {
        let mut named = Named::default();
        named.learn(&task.graph);
        task.inputs.values().flat_map(|outputs| outputs.values()).for_each(|v| named.learn(v));
        task.parameters.values().flat_map(|fields| fields.values()).for_each(|v| named.learn(v));
        task.overrides.values().flat_map(|fields| fields.values()).for_each(|v| named.learn(v));
        task.context.values().for_each(|value| named.learn(value));
        let variables = task.variables.values().chain(task.request_variables.values());
        variables.for_each(|value| named.learn_text(value));
        for name in appended_to(&task.graph) {
            named.learn_text(&format!("{}/{name}", task.user_id));
        }
        Self(Mutex::new(named))
    }

    /// Refuses a call for a file that nothing names.
    pub(super) fn check(&self, call: &CallBody) -> Result<(), ReplyError> {
        let text = |key| call.args.get(key).and_then(Value::as_str).unwrap_or_default();
        let named = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_named = match call.op.as_str() {
            "file.get" => text("path").parse::<FilePath>().is_ok_and(|path| named.has(&path)),
            "file.list" => text("owner").parse().is_ok_and(|owner| named.has_folder(owner)),
            _ => true,
        };
        if is_named {
            return Ok(());
        }
        Err(error("refused", "no value of this cell names that file"))
    }

    /// Takes up what an answer names, and what the cell stored itself.
    pub(super) fn learn(&self, op: &str, answer: &Value) {
        let part = match op {
            "messages.get" => answer,
            "file.put" => answer.get("path").unwrap_or(&Value::Null),
            _ => return,
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).learn(part);
    }
}

/// Names of files that Write File appends to: no value has their paths as a whole.
fn appended_to(graph: &Value) -> impl Iterator<Item = String> {
    let nodes = graph.get("nodes").and_then(Value::as_array).into_iter().flatten();
    let names = nodes.filter_map(|node| {
        let template = node.pointer("/data/node/template")?;
        let value = |field: &str| template.get(field)?.get("value");
        let name = value("file_name")?.as_str().filter(|name| !name.is_empty())?;
        (value("append_mode") == Some(&Value::Bool(true))).then(|| name.to_owned())
    });
    names.flat_map(|name| {
        let formats = APPENDED_FORMATS.map(|format| format!("{name}.{format}"));
        std::iter::once(name).chain(formats)
    })
}

#[cfg(test)]
mod tests {
    use domain::id::UserId;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    const OTHER: &str = "00000000-0000-4000-8000-00000000000b";

    fn task() -> Task {
        let user = Uuid::from_u128(7);
        let template = json!({
            "path": {"file_path": [format!("{user}/in-field.txt")]},
            "file_name": {"value": "log"},
            "append_mode": {"value": true},
        });
        serde_json::from_value(json!({
            "run_id": Uuid::nil(), "flow_id": OTHER, "flow_name": "f", "user_id": UserId(user),
            "session_id": "s", "cell": "A", "attempt": 1, "members": ["A"],
            "graph": {"nodes": [{"data": {"node": {"template": template}}}], "edges": []},
            "inputs": {"B": {"out": {"files": [{"path": format!("/tmp/.lfx/{OTHER}/input.png")}]}}},
            "parameters": {"A": {"files": [format!("{OTHER}/parameter.png")]}},
            "variables": {"V": format!("{user}/variable.txt")},
            "context": {}, "egress": null, "limits": {"log_bytes_max": 1, "output_bytes_max": 1},
        }))
        .unwrap()
    }

    fn asks(nameable: &Nameable, path: String) -> bool {
        let args = json!({"path": path});
        nameable.check(&CallBody { id: 1, op: "file.get".into(), args }).is_ok()
    }

    #[test]
    fn what_values_name_may_be_asked_for_and_nothing_else() {
        let (nameable, user) = (Nameable::of(&task()), Uuid::from_u128(7));
        for named in [
            format!("{user}/in-field.txt"),
            format!("{user}/variable.txt"),
            format!("{user}/log.txt"),
            format!("{OTHER}/input.png"),
            format!("{OTHER}/parameter.png"),
        ] {
            assert!(asks(&nameable, named.clone()), "{named}");
        }
        for other in ["parameter.png", "unnamed.txt", "../in-field.txt", "in-field.txt/../x", ""] {
            assert!(!asks(&nameable, format!("{user}/{other}")), "{other}");
        }
        let list = CallBody { id: 1, op: "file.list".into(), args: json!({"owner": user}) };
        assert!(nameable.check(&list).is_err());
    }

    #[test]
    fn files_of_stored_messages_may_be_asked_for_once_they_were_told() {
        let (nameable, path) = (Nameable::of(&task()), format!("{OTHER}/history.png"));
        assert!(!asks(&nameable, path.clone()));
        nameable.learn("variable.get", &json!({"value": path}));
        assert!(!asks(&nameable, path.clone()));
        nameable.learn("messages.get", &json!({"messages": [{"files": [path]}]}));
        assert!(asks(&nameable, path));
    }
}
