//! `flowcell dead-letters list|redrive|dismiss`.

use std::time::Duration;

use anyhow::Result;
use proto::http::{RunAccepted, RunView};
use reqwest::header::RETRY_AFTER;
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;

use crate::args::{DeadLettersArguments, DeadLettersCommand};
use crate::client::{Client, percent_encode};
use crate::exit::Exit;
use crate::output;

/// Runs that are listed at once.
const PAGE: usize = 200;

/// How long to wait for a place in a full queue, where the server does not say.
const FULL: Duration = Duration::from_secs(5);

#[derive(Debug, Deserialize)]
struct Listed {
    items: Vec<RunView>,
    next: Option<String>,
}

pub(crate) async fn execute(command: DeadLettersCommand) -> Result<Exit> {
    match command {
        DeadLettersCommand::List { flow, json, client } => {
            let letters = Letters { client: Client::new(&client)?, flow };
            letters.list(json).await
        }
        DeadLettersCommand::Redrive(which) => settle(which, Verb::Redrive).await,
        DeadLettersCommand::Dismiss(which) => settle(which, Verb::Dismiss).await,
    }
}

/// What becomes of them.
#[derive(Clone, Copy, Debug)]
enum Verb {
    Redrive,
    Dismiss,
}

async fn settle(which: DeadLettersArguments, verb: Verb) -> Result<Exit> {
    let letters = Letters { client: Client::new(&which.client)?, flow: which.flow };
    let mut count = Count::default();
    if which.all {
        // From the newest to the oldest: what fails anew meanwhile is not met again.
        let mut page = letters.page(None).await?;
        loop {
            for run in &page.items {
                letters.settle(&run.id, verb, &mut count).await?;
            }
            match page.next {
                Some(next) => page = letters.page(Some(&next)).await?,
                None => break,
            }
        }
    }
    for run in &which.runs {
        letters.settle(run, verb, &mut count).await?;
    }
    output::note(match verb {
        Verb::Redrive => format!("{} run again, {} left alone", count.done, count.refused),
        Verb::Dismiss => format!("{} dismissed, {} left alone", count.done, count.refused),
    });
    Ok(if count.refused == 0 { Exit::Done } else { Exit::Failed })
}

#[derive(Debug, Default)]
struct Count {
    done: u64,
    refused: u64,
}

/// A tenant's dead letters, or those of one flow.
struct Letters {
    client: Client,
    flow: Option<String>,
}

impl Letters {
    async fn page(&self, after: Option<&str>) -> Result<Listed> {
        let mut path = format!("/api/flowcell/v1/runs?dead_letter=true&limit={PAGE}");
        for (name, value) in [("flow", self.flow.as_deref()), ("after", after)] {
            if let Some(value) = value {
                path.push_str(&format!("&{name}={}", percent_encode(value)));
            }
        }
        self.client.get(&path).await
    }

    async fn list(&self, json: bool) -> Result<Exit> {
        let mut after = None;
        loop {
            let page = self.page(after.as_deref()).await?;
            for run in &page.items {
                output::line(if json { serde_json::to_string(run)? } else { line(run) })?;
            }
            after = page.next;
            if after.is_none() {
                return Ok(Exit::Done);
            }
        }
    }

    /// Settles one; waits where the tenant's queue is full. One that is settled already, or is no
    /// dead letter, is left alone.
    async fn settle(&self, run: &str, verb: Verb, count: &mut Count) -> Result<()> {
        let verb_name = match verb {
            Verb::Redrive => "redrive",
            Verb::Dismiss => "dismiss",
        };
        let path = format!("/api/flowcell/v1/runs/{}/{verb_name}", percent_encode(run));
        loop {
            let response = self.client.answer(self.client.request(Method::POST, &path)).await?;
            match response.status() {
                StatusCode::TOO_MANY_REQUESTS => tokio::time::sleep(later(&response)).await,
                StatusCode::CONFLICT | StatusCode::NOT_FOUND => {
                    let refused = Client::success(response).await.err();
                    let why = refused.map(|error| error.to_string()).unwrap_or_default();
                    output::note(format_args!("{run}: {why}"));
                    count.refused += 1;
                    return Ok(());
                }
                _ => {
                    let response = Client::success(response).await?;
                    match verb {
                        Verb::Redrive => {
                            let accepted: RunAccepted = response.json().await?;
                            output::line(format_args!("{run}  {}", accepted.id))?;
                        }
                        Verb::Dismiss => output::line(run)?,
                    }
                    count.done += 1;
                    return Ok(());
                }
            }
        }
    }
}

fn later(response: &Response) -> Duration {
    let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    header.and_then(|text| text.parse().ok()).map_or(FULL, Duration::from_secs)
}

fn line(run: &RunView) -> String {
    let why = run.failure.as_ref().and_then(|failure| failure.message.lines().next());
    let why = why.unwrap_or_default();
    let ended = run.ended_at.as_deref().unwrap_or_default();
    format!("{}  {ended}  {}  {}  {why}", run.id, run.flow_name, run.state)
}
