//! `flowcell pause` and `flowcell unpause`.

use anyhow::Result;
use reqwest::Method;
use serde_json::Value;

use crate::args::RunIdArguments;
use crate::client::{Client, percent_encode};
use crate::exit::Exit;
use crate::output;

/// Does it, and prints the run's state afterwards.
pub(crate) async fn execute(arguments: RunIdArguments, verb: &str) -> Result<Exit> {
    let client = Client::new(&arguments.client)?;
    let path = format!("/api/flowcell/v1/runs/{}/{verb}", percent_encode(&arguments.run));
    let answer: Value = client.json(client.request(Method::POST, &path)).await?;
    output::line(answer.get("state").and_then(Value::as_str).unwrap_or_default())?;
    Ok(Exit::Done)
}
