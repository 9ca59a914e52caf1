//! `flowcell egress allow|list|forbid|connections`.

use anyhow::Result;
use proto::http::{AllowEgress, ConnectionsView, EgressView};
use proto::message::EgressRule;
use reqwest::Method;

use crate::args::{EgressCommand, EgressScope};
use crate::client::{Client, Refusal};
use crate::exit::Exit;
use crate::output;

const PATH: &str = "/api/flowcell/v1/egress";

pub(crate) async fn execute(command: EgressCommand) -> Result<Exit> {
    match command {
        EgressCommand::Allow { destination, private, tcp, scope, of, client } => {
            let (host, port) = parse(&destination)?;
            let EgressScope { flow, node } = scope;
            let rule = AllowEgress { host, port, private, tcp, flow, node };
            let client = Client::new(&client)?;
            let answer =
                client.send(client.request(Method::POST, &of.on(PATH)).json(&rule)).await?;
            let rule: EgressView = answer.json().await?;
            output::line(format_args!("{} may now connect to {}", who(&rule), what(&rule)))?;
        }
        EgressCommand::List { of, client } => {
            let rules: Vec<EgressView> = Client::new(&client)?.get(&of.on(PATH)).await?;
            if rules.is_empty() {
                output::line("nothing is allowed: flowcell egress allow HOST:PORT")?;
            }
            for rule in rules {
                output::line(format_args!("{:<44} {}", what(&rule), who(&rule)))?;
            }
        }
        EgressCommand::Forbid { destination, scope, of, client } => {
            let (host, port) = parse(&destination)?;
            let port = port.to_string();
            let mut query = vec![("host", host.as_str()), ("port", port.as_str())];
            query.extend(scope.flow.as_deref().map(|flow| ("flow", flow)));
            query.extend(scope.node.as_deref().map(|node| ("node", node)));
            query.extend(of.tenant.as_deref().map(|tenant| ("tenant", tenant)));
            let client = Client::new(&client)?;
            // The base does not matter: only its query is used.
            let url = reqwest::Url::parse_with_params("http://localhost", &query)?;
            let path = format!("{PATH}?{}", url.query().unwrap_or_default());
            client.send(client.request(Method::DELETE, &path)).await?;
            output::line(format_args!("the rule for {destination} is gone"))?;
        }
        EgressCommand::Connections { run, json, client } => {
            let path = format!("/api/flowcell/v1/runs/{run}/connections");
            show(&Client::new(&client)?.get(&path).await?, json)?;
        }
    }
    Ok(Exit::Done)
}

fn show(view: &ConnectionsView, json: bool) -> Result<()> {
    if json {
        output::line(serde_json::to_string(view)?)?;
        return Ok(());
    }
    for item in &view.items {
        let state = serde_json::to_value(item.state)?;
        let duration = item.duration_ms.map_or_else(String::new, |ms| format!("  {ms} ms"));
        let reason = item.reason.as_deref().map_or_else(String::new, |text| format!("  {text}"));
        output::line(format_args!(
            "{}  {}#{}  {}:{}  {}  {} B up, {} B down{duration}{reason}",
            item.at,
            item.cell,
            item.attempt,
            item.host,
            item.port,
            state.as_str().unwrap_or_default(),
            item.bytes_up,
            item.bytes_down,
        ))?;
    }
    if view.items.is_empty() {
        output::line("no cell of this run connected anywhere")?;
    }
    if view.omitted > 0 {
        output::line(format_args!("and {} more", view.omitted))?;
    }
    Ok(())
}

fn what(rule: &EgressView) -> String {
    let host = match rule.host.contains(':') {
        true => format!("[{}]", rule.host),
        false => rule.host.clone(),
    };
    let port = match rule.port {
        EgressRule::ANY_PORT => "*".to_owned(),
        port => port.to_string(),
    };
    let mut notes = Vec::new();
    if rule.host == EgressRule::ANY_HOST {
        notes.push("the public internet");
    }
    if rule.private {
        notes.push("may be inside the network");
    }
    if rule.tcp {
        notes.push("plain TCP");
    }
    match notes.is_empty() {
        true => format!("{host}:{port}"),
        false => format!("{host}:{port} ({})", notes.join(", ")),
    }
}

fn who(rule: &EgressView) -> String {
    let node = rule.node.as_deref();
    let flow = rule.flow_name.as_deref().or(rule.flow_id.as_deref());
    match (node, flow) {
        (None, None) => "all flows".to_owned(),
        (None, Some(flow)) => format!("flow {flow}"),
        (Some(node), None) => format!("node {node} of any flow"),
        (Some(node), Some(flow)) => format!("node {node} of flow {flow}"),
    }
}

/// `HOST:PORT`; `*` is any port.
fn parse(destination: &str) -> Result<(String, u16)> {
    let parsed = destination.rsplit_once(':').and_then(|(host, port)| {
        let port = match port {
            "*" => EgressRule::ANY_PORT,
            port => port.parse().ok().filter(|port| *port != EgressRule::ANY_PORT)?,
        };
        Some((host.trim_matches(['[', ']']).to_lowercase(), port))
    });
    parsed.filter(|(host, _)| !host.is_empty()).ok_or_else(|| {
        Refusal::Failed(format!(
            "{destination:?} is not HOST:PORT\n  for example: api.openai.com:443"
        ))
        .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations() {
        assert_eq!(parse("API.openai.com:443").unwrap(), ("api.openai.com".to_owned(), 443));
        assert_eq!(parse("[::1]:80").unwrap().0, "::1");
        assert_eq!(parse("*:*").unwrap(), ("*".to_owned(), EgressRule::ANY_PORT));
        for wrong in ["", "host", "host:", ":80", "host:0", "host:99999"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn rules_read_as_sentences() {
        let mut rule = EgressView {
            host: "*".into(),
            port: 0,
            private: false,
            tcp: false,
            flow_id: None,
            flow_name: None,
            node: None,
        };
        assert_eq!(
            (what(&rule), who(&rule)),
            ("*:* (the public internet)".into(), "all flows".into())
        );
        rule.host = "db.internal".into();
        rule.port = 5432;
        (rule.private, rule.tcp) = (true, true);
        (rule.flow_name, rule.node) = (Some("Ingest".into()), Some("PGVector-1".into()));
        assert_eq!(what(&rule), "db.internal:5432 (may be inside the network, plain TCP)");
        assert_eq!(who(&rule), "node PGVector-1 of flow Ingest");
    }
}
