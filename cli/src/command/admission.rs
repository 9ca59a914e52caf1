//! `flowcell admission show|set|unset`.

use anyhow::Result;
use reqwest::Method;
use serde_json::{Map, Value};

use crate::args::{AdmissionCommand, AdmissionScope};
use crate::client::{Client, Refusal, percent_encode};
use crate::exit::Exit;
use crate::output;

type Settings = Map<String, Value>;

/// What is to become of the settings.
enum Change {
    Nothing,
    Put(Vec<String>),
    Remove(Vec<String>),
}

pub(crate) async fn execute(command: AdmissionCommand) -> Result<Exit> {
    let (scope, change) = match command {
        AdmissionCommand::Show { scope } => (scope, Change::Nothing),
        AdmissionCommand::Set { values, scope } => (scope, Change::Put(values)),
        AdmissionCommand::Unset { names, scope } => (scope, Change::Remove(names)),
    };
    let client = Client::new(&scope.client)?;
    let path = path(&scope);
    let mut set: Settings = client.get(&path).await?;
    let node = scope.node.as_deref();
    match &change {
        Change::Nothing => {}
        Change::Put(values) => put(part(&mut set, node), values)?,
        Change::Remove(names) => remove(part(&mut set, node), names),
    }
    if !matches!(change, Change::Nothing) {
        set = client.json(client.request(Method::PUT, &path).json(&set)).await?;
    }
    let shown = lines(part(&mut set, node), "");
    if shown.is_empty() {
        output::line("nothing is set")?;
    }
    for line in shown {
        output::line(line)?;
    }
    Ok(Exit::Done)
}

/// What is set for a node, or all of it.
fn part<'s>(set: &'s mut Settings, node: Option<&str>) -> &'s mut Settings {
    match node {
        None => set,
        Some(node) => inner(inner(set, "nodes"), node),
    }
}

/// The object of this name, which is made where there is none.
fn inner<'s>(set: &'s mut Settings, name: &str) -> &'s mut Settings {
    let value = set.entry(name).or_insert_with(|| Value::Object(Settings::new()));
    if !value.is_object() {
        *value = Value::Object(Settings::new());
    }
    value.as_object_mut().expect("it was made an object")
}

fn remove(set: &mut Settings, names: &[String]) {
    if names.is_empty() {
        set.clear();
    }
    for name in names {
        match name.split_once('.') {
            Some((outer, name)) => inner(set, outer).shift_remove(name),
            None => set.shift_remove(name),
        };
    }
}

/// One line for each value: `retry.attempts_max=5`.
fn lines(set: &Settings, before: &str) -> Vec<String> {
    let line = |(name, value): (&String, &Value)| match value {
        Value::Object(inner) => lines(inner, &format!("{before}{name}.")),
        Value::Array(list) => {
            let words: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
            vec![format!("{before}{name}={}", words.join(","))]
        }
        Value::String(word) => vec![format!("{before}{name}={word}")],
        value => vec![format!("{before}{name}={value}")],
    };
    set.iter().flat_map(line).collect()
}

fn path(scope: &AdmissionScope) -> String {
    match (&scope.flow, &scope.of_key) {
        (Some(flow), _) => format!("/api/flowcell/v1/flows/{}/admission", percent_encode(flow)),
        (None, Some(key)) => format!("/api/flowcell/v1/keys/{}/admission", percent_encode(key)),
        (None, None) => scope.of.on("/api/flowcell/v1/admission"),
    }
}

/// The server knows the names; here numbers, truth values and lists are told from words.
fn put(set: &mut Settings, values: &[String]) -> Result<()> {
    for given in values {
        let Some((name, value)) = given.split_once('=') else {
            let text = format!("{given:?} is not NAME=VALUE");
            return Err(Refusal::Failed(text).into());
        };
        let (set, name) = match name.split_once('.') {
            Some((outer, name)) => (inner(set, outer), name),
            None => (&mut *set, name),
        };
        set.insert(name.to_owned(), read(name, value));
    }
    Ok(())
}

fn read(name: &str, value: &str) -> Value {
    if name == "errors" {
        return value.split(',').filter(|word| !word.is_empty()).collect();
    }
    let number = value.parse().map(|number: u64| number.into()).ok();
    let truth = || value.parse().map(Value::Bool).ok();
    number.or_else(truth).unwrap_or_else(|| value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_from_words() {
        let mut set = Settings::new();
        put(&mut set, &["runs_max=3".to_owned(), "pool=gpu".to_owned()]).unwrap();
        assert_eq!(Value::from(set), serde_json::json!({"runs_max": 3, "pool": "gpu"}));
        assert!(put(&mut Settings::new(), &["runs_max".to_owned()]).is_err());
    }

    #[test]
    fn dots_lead_to_what_is_inside() {
        let mut set = Settings::new();
        let values =
            ["pool=gpu", "retry.errors=component,timed_out", "retry.component_errors=true"];
        put(part(&mut set, Some("A-1")), &values.map(str::to_owned)).unwrap();
        let retry =
            serde_json::json!({"errors": ["component", "timed_out"], "component_errors": true});
        let expected = serde_json::json!({"nodes": {"A-1": {"pool": "gpu", "retry": retry}}});
        assert_eq!(Value::from(set.clone()), expected);
        assert_eq!(
            lines(&set, ""),
            [
                "nodes.A-1.pool=gpu",
                "nodes.A-1.retry.errors=component,timed_out",
                "nodes.A-1.retry.component_errors=true"
            ]
        );
        remove(part(&mut set, Some("A-1")), &["retry.errors".to_owned(), "pool".to_owned()]);
        assert_eq!(lines(&set, ""), ["nodes.A-1.retry.component_errors=true"]);
    }
}
