//! `flowcell egress allow|list`.

use anyhow::Result;
use proto::message::EgressRule;
use reqwest::Method;

use crate::args::EgressCommand;
use crate::client::{Client, Refusal};
use crate::exit::Exit;
use crate::output;

const PATH: &str = "/api/flowcell/v1/egress";

pub(crate) async fn execute(command: EgressCommand) -> Result<Exit> {
    match command {
        EgressCommand::Allow { destination, private, client } => {
            let client = Client::new(&client)?;
            let rule = parse(&destination, private)?;
            client.send(client.request(Method::POST, PATH).json(&rule)).await?;
            output::line(format_args!("flows may now connect to {}:{}", rule.host, rule.port))?;
        }
        EgressCommand::List { client } => {
            let rules: Vec<EgressRule> = Client::new(&client)?.get(PATH).await?;
            if rules.is_empty() {
                output::line("nothing is allowed: flowcell egress allow HOST:PORT")?;
            }
            for rule in rules {
                let note = if rule.private { "  (may be inside the network)" } else { "" };
                output::line(format_args!("{}:{}{note}", rule.host, rule.port))?;
            }
        }
    }
    Ok(Exit::Done)
}

fn parse(destination: &str, private: bool) -> Result<EgressRule> {
    let parsed = destination
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host.trim_matches(['[', ']']), port.parse().ok()?)))
        .filter(|(host, port)| !host.is_empty() && *port != 0);
    match parsed {
        Some((host, port)) => Ok(EgressRule { host: host.to_lowercase(), port, private }),
        None => Err(Refusal::Failed(format!(
            "{destination:?} is not HOST:PORT\n  for example: api.openai.com:443"
        ))
        .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations() {
        let rule = parse("API.openai.com:443", false).unwrap();
        assert_eq!((rule.host.as_str(), rule.port), ("api.openai.com", 443));
        assert_eq!(parse("[::1]:80", true).unwrap().host, "::1");
        for wrong in ["", "host", "host:", ":80", "host:0", "host:99999"] {
            assert!(parse(wrong, false).is_err(), "{wrong}");
        }
    }
}
