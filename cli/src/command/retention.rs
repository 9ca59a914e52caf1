//! `flowcell retention show|set|unset`.

use anyhow::Result;
use proto::http::{RetentionSet, RetentionView};
use reqwest::Method;

use crate::args::RetentionCommand;
use crate::client::Client;
use crate::exit::Exit;
use crate::output;

const PATH: &str = "/api/flowcell/v1/retention";

pub(crate) async fn execute(command: RetentionCommand) -> Result<Exit> {
    match command {
        RetentionCommand::Show { json, of, client } => {
            let view: RetentionView = Client::new(&client)?.get(&of.on(PATH)).await?;
            let shown = if json { serde_json::to_string_pretty(&view)? } else { sentence(&view) };
            output::line(shown)?;
        }
        RetentionCommand::Set { runs_days, messages, of, client } => {
            let (client, path) = (Client::new(&client)?, of.on(PATH));
            let before: RetentionView = client.get(&path).await?;
            let set = RetentionSet {
                runs_days: runs_days.or(before.set.runs_days),
                messages: messages.or(before.set.messages),
            };
            let view: RetentionView =
                client.json(client.request(Method::PUT, &path).json(&set)).await?;
            output::line(sentence(&view))?;
        }
        RetentionCommand::Unset { of, client } => {
            let (client, path) = (Client::new(&client)?, of.on(PATH));
            client.send(client.request(Method::DELETE, &path)).await?;
            output::line(sentence(&client.get(&path).await?))?;
        }
    }
    Ok(Exit::Done)
}

fn sentence(view: &RetentionView) -> String {
    let from = |is_set: bool| if is_set { "tenant" } else { "platform" };
    let (days, messages) = (from(view.set.runs_days.is_some()), from(view.set.messages.is_some()));
    let runs = match view.runs_days {
        0 => "runs are kept for ever".to_owned(),
        1 => "runs are removed 1 day after their end".to_owned(),
        days => format!("runs are removed {days} days after their end"),
    };
    let go = if view.messages { "go with them" } else { "stay" };
    format!("{runs} (from {days}); their chat messages {go} (from {messages})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_is_said_in_a_sentence() {
        let set = RetentionSet { runs_days: Some(30), messages: None };
        let view = RetentionView { runs_days: 30, messages: false, set };
        let text = "runs are removed 30 days after their end (from tenant); \
                    their chat messages stay (from platform)";
        assert_eq!(sentence(&view), text);
        let view = RetentionView { runs_days: 0, messages: true, set: RetentionSet::default() };
        let text = "runs are kept for ever (from platform); \
                    their chat messages go with them (from platform)";
        assert_eq!(sentence(&view), text);
    }
}
