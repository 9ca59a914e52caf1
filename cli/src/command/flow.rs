//! `flowcell flow import|list|runtime|requirements`.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use proto::http::{RuntimeView, SetRequirements};
use reqwest::Method;
use serde_json::Value;

use crate::args::FlowCommand;
use crate::client::{Client, Refusal, percent_encode};
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
            for flow in &flows {
                warn(&client, text(flow, "id")).await?;
            }
        }
        FlowCommand::Requirements { flow, file, clear, client, json } => {
            let client = Client::new(&client)?;
            let view = match (file, clear) {
                (Some(file), _) => {
                    let text = String::from_utf8(read(&file)?).context("the file is no text")?;
                    list(&client, &flow, text.lines().map(str::to_owned).collect()).await?
                }
                (None, true) => list(&client, &flow, Vec::new()).await?,
                (None, false) => runtime(&client, &flow).await?,
            };
            if json {
                output::line(serde_json::to_string_pretty(&view)?)?;
            } else {
                output::piece(packages(&view))?;
            }
        }
        FlowCommand::Runtime { flow, client, json } => {
            let view = runtime(&Client::new(&client)?, &flow).await?;
            if json {
                output::line(serde_json::to_string_pretty(&view)?)?;
            } else {
                output::piece(describe(&view))?;
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

async fn runtime(client: &Client, flow: &str) -> Result<RuntimeView> {
    client.get(&format!("/api/flowcell/v1/flows/{}/runtime", percent_encode(flow))).await
}

async fn list(client: &Client, flow: &str, requirements: Vec<String>) -> Result<RuntimeView> {
    let path = format!("/api/flowcell/v1/flows/{}/requirements", percent_encode(flow));
    let body = SetRequirements { requirements };
    client.json(client.request(Method::PUT, &path).json(&body)).await
}

fn packages(view: &RuntimeView) -> String {
    let mut text = String::new();
    for line in &view.requirements {
        text.push_str(&format!("{line}\n"));
    }
    if view.requirements.is_empty() {
        text.push_str("the flow lists no packages\n");
    } else {
        let image = match &view.build {
            None => "not built yet: the next run waits for it".to_owned(),
            Some(build) if build.detail.is_empty() => build.state.clone(),
            Some(build) => format!("{}: {}", build.state, build.detail),
        };
        text.push_str(&format!("image: {image}\n"));
    }
    if !view.mentioned.is_empty() {
        let names = view.mentioned.join(", ");
        text.push_str(&format!("its components also mention: {names}\n"));
    }
    text
}

/// What the runtime changes for a flow that was just stored. One that has no nodes yet has none.
async fn warn(client: &Client, flow: &str) -> Result<()> {
    match runtime(client, flow).await {
        Ok(view) => {
            for warning in view.warnings {
                output::note(format_args!("warning: {}: {warning}", view.flow_name));
            }
            Ok(())
        }
        Err(error) if matches!(error.downcast_ref(), Some(Refusal::Failed(_))) => Ok(()),
        Err(error) => Err(error),
    }
}

fn describe(view: &RuntimeView) -> String {
    let exported_by = view.exported_by.as_deref().unwrap_or("an unknown version of Langflow");
    let mut text =
        format!("{}: exported by {exported_by}, runs under {}\n", view.flow_name, view.runs_under);
    for warning in &view.warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    text
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
