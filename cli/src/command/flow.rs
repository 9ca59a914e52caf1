//! `flowcell flow import|list`.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::args::FlowCommand;
use crate::client::Client;
use crate::exit::Exit;
use crate::output;

pub(crate) async fn execute(command: FlowCommand) -> Result<Exit> {
    match command {
        FlowCommand::Import { file, client, json } => {
            let client = Client::new(&client)?;
            let flows = client.upload(&file, read(&file)?).await?;
            if json {
                output::line(serde_json::to_string_pretty(&flows)?)?;
            } else {
                for flow in &flows {
                    output::line(format_args!(
                        "imported {} ({})",
                        text(flow, "name"),
                        text(flow, "id")
                    ))?;
                }
            }
        }
        FlowCommand::List { client, json } => {
            let client = Client::new(&client)?;
            let path = "/api/v1/flows/?get_all=true&header_flows=true";
            let flows: Vec<Value> = client.get(path).await?;
            if json {
                output::line(serde_json::to_string_pretty(&flows)?)?;
            } else if flows.is_empty() {
                output::line("no flows yet: flowcell flow import FILE")?;
            } else {
                for flow in &flows {
                    output::line(format_args!("{}  {}", text(flow, "id"), text(flow, "name")))?;
                }
            }
        }
    }
    Ok(Exit::Done)
}

fn read(file: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        std::io::stdin().read_to_end(&mut bytes).context("cannot read standard input")?;
    } else {
        bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    }
    Ok(bytes)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or("-")
}
