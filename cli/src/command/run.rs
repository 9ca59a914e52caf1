//! `flowcell run`.

use anyhow::{Context, Result};
use proto::http::{RunAccepted, RunLinks, RunView, StartRun};
use reqwest::Method;
use serde_json::{Map, Value};

use crate::args::{RunArguments, WatchArguments};
use crate::client::{Client, Refusal};
use crate::exit::Exit;
use crate::output;
use crate::watch::Watch;

pub(crate) async fn execute(arguments: RunArguments) -> Result<Exit> {
    let client = Client::new(&arguments.client)?;
    let request = StartRun {
        flow: arguments.flow,
        input_value: Some(arguments.input),
        output_type: Some(arguments.output.name().to_owned()),
        tweaks: tweaks(&arguments.tweaks)?,
        session_id: arguments.session,
        stream: arguments.stream,
        isolation: arguments.isolation.map(|isolation| isolation.name().to_owned()),
        priority: arguments.turn.priority,
        delay_ms: arguments.turn.delay_ms,
        pool: arguments.turn.pool,
        ..StartRun::default()
    };
    let post = client.request(Method::POST, "/api/flowcell/v1/runs").json(&request);
    let accepted: RunAccepted = client.json(post).await?;
    started(&client, accepted, arguments.watch).await
}

/// Watches a run that was accepted, or only names it.
pub(crate) async fn started(
    client: &Client,
    accepted: RunAccepted,
    how: WatchArguments,
) -> Result<Exit> {
    for warning in &accepted.warnings {
        output::note(format_args!("warning: {warning}"));
    }
    if how.detach {
        output::line(accepted.id)?;
        return Ok(Exit::Done);
    }
    watched(client, &accepted.links, 0, how.json).await
}

/// Watches a run until it ends or waits for a person.
pub(crate) async fn watched(
    client: &Client,
    links: &RunLinks,
    after: u64,
    json: bool,
) -> Result<Exit> {
    let mut watch = Watch::new(json);
    let followed = client.follow(&links.events, after, |seq, event| watch.event(seq, &event));
    tokio::select! {
        followed = followed => followed?,
        _ = tokio::signal::ctrl_c() => {
            client.send(client.request(Method::POST, &links.cancel)).await?;
            watch.note("cancelled");
        }
    }
    let view: RunView = client.get(&links.this).await?;
    watch.end(&view)?;
    if view.state == "suspended" {
        watch.note(&format!("answer with: flowcell resume {} DECISION", view.id));
    }
    Ok(match view.state.as_str() {
        "completed" | "suspended" => Exit::Done,
        _ => Exit::Failed,
    })
}

/// `NODE.FIELD=VALUE` to Langflow's nested form.
pub(super) fn tweaks(texts: &[String]) -> Result<Map<String, Value>> {
    let mut tweaks = Map::new();
    for text in texts {
        let (target, value) = text.split_once('=').ok_or_else(|| wrong(text))?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
        match target.rsplit_once('.') {
            None => {
                tweaks.insert(target.to_owned(), value);
            }
            Some((node, field)) => {
                tweaks
                    .entry(node)
                    .or_insert_with(|| Value::Object(Map::new()))
                    .as_object_mut()
                    .with_context(|| format!("two tweaks disagree about {node}"))?
                    .insert(field.to_owned(), value);
            }
        }
    }
    Ok(tweaks)
}

fn wrong(text: &str) -> anyhow::Error {
    Refusal::Failed(format!(
        "{text:?} is not a tweak\n  write NODE.FIELD=VALUE, for example 'Prompt-ab1cd.template=Hi'"
    ))
    .into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tweaks_are_nested_by_node() {
        let texts = ["A-1.x=1", "A-1.y=hi", "stream=true", "My Node.z={\"a\":[1]}"];
        let texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
        assert_eq!(
            Value::Object(tweaks(&texts).unwrap()),
            json!({"A-1": {"x": 1, "y": "hi"}, "stream": true, "My Node": {"z": {"a": [1]}}})
        );
        assert!(tweaks(&["nonsense".to_owned()]).is_err());
    }
}
