//! `flowcell var set|list`.

use std::io::Read;

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};

use crate::args::VarCommand;
use crate::client::{Client, Refusal};
use crate::exit::Exit;
use crate::output;

pub(crate) async fn execute(command: VarCommand) -> Result<Exit> {
    match command {
        VarCommand::Set { name, client } => {
            let client = Client::new(&client)?;
            let mut value = String::new();
            std::io::stdin().read_to_string(&mut value).context("cannot read standard input")?;
            let value = value.trim_end_matches('\n');
            if value.is_empty() {
                return Err(Refusal::Failed(
                    "the value is empty\n  pipe it in: printf %s \"$KEY\" | flowcell var set NAME"
                        .to_owned(),
                )
                .into());
            }
            set(&client, &name, value).await?;
            output::line(format_args!("stored {name}"))?;
        }
        VarCommand::List { client } => {
            for variable in variables(&Client::new(&client)?).await? {
                let field = |key: &str| variable.get(key).and_then(Value::as_str).unwrap_or("-");
                output::line(format_args!("{:<12} {}", field("type"), field("name")))?;
            }
        }
    }
    Ok(Exit::Done)
}

async fn variables(client: &Client) -> Result<Vec<Value>> {
    client.get("/api/v1/variables/").await
}

/// Creates the variable, or replaces its value.
async fn set(client: &Client, name: &str, value: &str) -> Result<()> {
    let known = variables(client).await?;
    let same = |variable: &&Value| variable.get("name").and_then(Value::as_str) == Some(name);
    let id = known.iter().find(same).and_then(|variable| variable.get("id")?.as_str());
    let request = match id {
        Some(id) => client
            .request(Method::PATCH, &format!("/api/v1/variables/{id}"))
            .json(&json!({"id": id, "name": name, "value": value})),
        None => client.request(Method::POST, "/api/v1/variables/").json(
            &json!({"name": name, "value": value, "type": "Credential", "default_fields": []}),
        ),
    };
    client.send(request).await?;
    Ok(())
}
