//! `flowcell files upload|list|download|delete`.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use futures::StreamExt;
use reqwest::Method;
use serde_json::Value;

use crate::args::FilesCommand;
use crate::client::{Client, Refusal};
use crate::exit::Exit;
use crate::output;

const FILES: &str = "/api/v2/files/";

pub(crate) async fn execute(command: FilesCommand) -> Result<Exit> {
    match command {
        FilesCommand::Upload { files, append, client } => {
            let client = Client::new(&client)?;
            for file in &files {
                let stored = client.upload_file(file, append).await?;
                output::line(text(&stored, "path"))?;
            }
        }
        FilesCommand::List { client, json } => list(&Client::new(&client)?, json).await?,
        FilesCommand::Download { file, output, client } => {
            download(&Client::new(&client)?, &file, output.as_deref()).await?;
        }
        FilesCommand::Delete { files, client } => {
            let client = Client::new(&client)?;
            for name in &files {
                let file = find(&client, name).await?;
                let path = format!("{FILES}{}", text(&file, "id"));
                client.send(client.request(Method::DELETE, &path)).await?;
                output::line(format_args!("deleted {}", text(&file, "path")))?;
            }
        }
    }
    Ok(Exit::Done)
}

async fn list(client: &Client, json: bool) -> Result<()> {
    let files: Vec<Value> = client.get(FILES).await?;
    if json {
        output::line(serde_json::to_string_pretty(&files)?)?;
    } else if files.is_empty() {
        output::line("no files yet: flowcell files upload FILE")?;
    }
    for file in files.iter().filter(|_| !json) {
        let bytes = file.get("size").and_then(Value::as_u64).unwrap_or_default();
        let (id, path) = (text(file, "id"), text(file, "path"));
        output::line(format_args!("{id}  {bytes:>12}  {path}"))?;
    }
    Ok(())
}

async fn download(client: &Client, name: &str, to: Option<&Path>) -> Result<()> {
    let file = find(client, name).await?;
    let path = format!("{FILES}{}", text(&file, "id"));
    let answer = client.send(client.request(Method::GET, &path)).await?;
    let mut pieces = answer.bytes_stream();
    let mut out: Box<dyn Write + Send> = match to {
        Some(path) => Box::new(
            std::fs::File::create(path)
                .with_context(|| format!("cannot write {}", path.display()))?,
        ),
        None => Box::new(std::io::stdout()),
    };
    while let Some(piece) = pieces.next().await {
        let piece = piece.context("the connection broke: the file is not complete")?;
        out.write_all(&piece).map_err(output::Error::from)?;
    }
    Ok(out.flush().map_err(output::Error::from)?)
}

/// The file that this id, path or name means; a name that several have means none.
async fn find(client: &Client, wanted: &str) -> Result<Value> {
    let files: Vec<Value> = client.get(FILES).await?;
    for key in ["id", "path", "name"] {
        let mut found = files.iter().filter(|file| text(file, key) == wanted);
        match (found.next(), found.next()) {
            (Some(file), None) => return Ok(file.clone()),
            (Some(_), Some(_)) => {
                let message = format!("several files are called {wanted}\n  use the id");
                return Err(Refusal::Failed(message).into());
            }
            (None, _) => {}
        }
    }
    let message = format!("there is no file {wanted}\n  list them with flowcell files list");
    Err(Refusal::Failed(message).into())
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or("-")
}
