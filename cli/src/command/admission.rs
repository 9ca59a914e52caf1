//! `flowcell admission show|set|unset`.

use anyhow::Result;
use reqwest::Method;
use serde_json::{Map, Value};

use super::explain::percent_encode;
use crate::args::{AdmissionCommand, AdmissionScope};
use crate::client::{Client, Refusal};
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
    match &change {
        Change::Nothing => {}
        Change::Put(values) => put(&mut set, values)?,
        Change::Remove(names) => {
            set.retain(|name, _| !names.is_empty() && !names.contains(name));
        }
    }
    if !matches!(change, Change::Nothing) {
        set = client.json(client.request(Method::PUT, &path).json(&set)).await?;
    }
    if set.is_empty() {
        output::line("nothing is set")?;
    }
    for (name, value) in &set {
        output::line(format_args!("{name}={}", value.as_str().unwrap_or(&value.to_string())))?;
    }
    Ok(Exit::Done)
}

fn path(scope: &AdmissionScope) -> String {
    match (&scope.flow, &scope.of_key) {
        (Some(flow), _) => format!("/api/flowcell/v1/flows/{}/admission", percent_encode(flow)),
        (None, Some(key)) => format!("/api/flowcell/v1/keys/{}/admission", percent_encode(key)),
        (None, None) => "/api/flowcell/v1/admission".to_owned(),
    }
}

/// The server knows the names; here a number is told from a word.
fn put(set: &mut Settings, values: &[String]) -> Result<()> {
    for given in values {
        let Some((name, value)) = given.split_once('=') else {
            let text = format!("{given:?} is not NAME=VALUE");
            return Err(Refusal::Failed(text).into());
        };
        let value = value.parse().map_or_else(|_| Value::from(value), |number: u32| number.into());
        set.insert(name.to_owned(), value);
    }
    Ok(())
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
}
