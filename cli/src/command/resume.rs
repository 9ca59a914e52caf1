//! `flowcell resume`.

use anyhow::{Context, Result};
use proto::http::{Resume, RunLinks};
use reqwest::Method;
use serde_json::{Map, Value};

use super::run::watched;
use crate::args::ResumeArguments;
use crate::client::Client;
use crate::exit::Exit;

pub(crate) async fn execute(arguments: ResumeArguments) -> Result<Exit> {
    let client = Client::new(&arguments.client)?;
    let links = RunLinks::of(&arguments.run);
    let request = Resume {
        request_id: arguments.request,
        decision: decision(arguments.decision, arguments.values.as_deref())?,
    };
    // What was told before the question is known; what follows it is news.
    let after = client.position(&links.events).await?;
    client.send(client.request(Method::POST, &links.resume).json(&request)).await?;
    if arguments.watch.detach {
        return Ok(Exit::Done);
    }
    watched(&client, &links, after, arguments.watch.json).await
}

fn decision(action: String, values: Option<&str>) -> Result<Map<String, Value>> {
    let mut decision = Map::new();
    decision.insert("action_id".to_owned(), Value::String(action));
    if let Some(values) = values {
        let values: Map<String, Value> =
            serde_json::from_str(values).context("--values must be a JSON object")?;
        decision.insert("values".to_owned(), Value::Object(values));
    }
    Ok(decision)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_go_beside_the_action() {
        let edit = decision("edit".to_owned(), Some("{\"args\": {\"x\": 1}}")).unwrap();
        let expected = json!({"action_id": "edit", "values": {"args": {"x": 1}}});
        assert_eq!(Value::Object(edit), expected);
        assert!(decision("edit".to_owned(), Some("7")).is_err());
    }
}
