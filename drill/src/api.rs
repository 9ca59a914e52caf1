//! A client of the cluster's APIs: it asks any of them, and another when one does not answer.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use proto::http::{AllowEgress, RunAccepted, RunView, StartRun};
use rand::seq::IndexedRandom;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;

/// A client that waits longer asks somebody else.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const AGAIN_AFTER: Duration = Duration::from_millis(400);

#[derive(Clone, Debug)]
pub(crate) struct Apis {
    addresses: Vec<SocketAddr>,
    pub(crate) key: String,
    http: reqwest::Client,
}

/// What came of a submission.
#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    pub(crate) id: String,
    /// How often it had to be sent until there was an answer.
    pub(crate) tries: u32,
}

/// What an API answered.
enum Answer<T> {
    Yes(T),
    No(StatusCode, String),
    /// Nothing, or that it cannot do anything right now.
    Nothing,
}

impl Apis {
    pub(crate) fn new(addresses: Vec<SocketAddr>, key: String) -> Result<Self> {
        let http = reqwest::Client::builder().no_proxy().timeout(ANSWER_WITHIN).build()?;
        Ok(Self { addresses, key, http })
    }

    /// One of them.
    pub(crate) fn any(&self) -> Result<SocketAddr> {
        self.addresses.choose(&mut rand::rng()).copied().context("there is no API")
    }

    /// Stores the flow; returns its id.
    pub(crate) async fn import(&self, flow: &Value) -> Result<String> {
        let (_, stored): (u32, Value) =
            self.ask(|any| self.request(Method::POST, any, "/api/v1/flows/").json(flow)).await?;
        let id = stored.get("id").and_then(Value::as_str);
        id.map(str::to_owned).context("a stored flow has no id")
    }

    /// Lets cells connect to an address of this machine.
    pub(crate) async fn allow(&self, to: SocketAddr) -> Result<()> {
        let rule = AllowEgress {
            host: to.ip().to_string(),
            port: to.port(),
            private: true,
            tcp: false,
            flow: None,
            node: None,
        };
        let path = "/api/flowcell/v1/egress";
        let _: (u32, Value) =
            self.ask(|any| self.request(Method::POST, any, path).json(&rule)).await?;
        Ok(())
    }

    /// Starts a run, and asks until it knows that it was accepted.
    pub(crate) async fn start(&self, flow: &str, key: &str) -> Result<Accepted> {
        let body = StartRun {
            flow: flow.to_owned(),
            input_value: Some(key.to_owned()),
            session_id: Some(key.to_owned()),
            ..StartRun::default()
        };
        let request = |any| {
            let request = self.request(Method::POST, any, "/api/flowcell/v1/runs");
            request.header("idempotency-key", key).json(&body)
        };
        let (tries, accepted): (u32, RunAccepted) = self.ask(request).await?;
        Ok(Accepted { id: accepted.id, tries })
    }

    /// A run as it is now.
    pub(crate) async fn run(&self, id: &str) -> Result<RunView> {
        let path = format!("/api/flowcell/v1/runs/{id}");
        let (_, view) = self.ask(|any| self.request(Method::GET, any, &path)).await?;
        Ok(view)
    }

    fn request(&self, method: Method, any: SocketAddr, path: &str) -> RequestBuilder {
        self.http.request(method, format!("http://{any}{path}")).header("x-api-key", &self.key)
    }

    /// Asks until somebody answers; how often it asked, and the answer. A refusal is an error.
    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        request: impl Fn(SocketAddr) -> RequestBuilder,
    ) -> Result<(u32, T)> {
        let mut tries = 0;
        loop {
            tries += 1;
            match once(request(self.any()?)).await {
                Answer::Yes(answer) => return Ok((tries, answer)),
                Answer::No(status, body) => anyhow::bail!("an API answered {status}: {body}"),
                Answer::Nothing => tokio::time::sleep(AGAIN_AFTER).await,
            }
        }
    }
}

async fn once<T: serde::de::DeserializeOwned>(request: RequestBuilder) -> Answer<T> {
    let Ok(response) = request.send().await else { return Answer::Nothing };
    let status = response.status();
    // The body of an answer may be lost too.
    let Ok(body) = response.bytes().await else { return Answer::Nothing };
    if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
        return Answer::Nothing;
    }
    match serde_json::from_slice(&body) {
        Ok(answer) if status.is_success() => Answer::Yes(answer),
        _ => Answer::No(status, String::from_utf8_lossy(&body).into_owned()),
    }
}
