//! A cluster, a flow in it, and the workers of one measurement.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use drill::{Cast, Stage};
use reqwest::Url;
use serde_json::{Value, json};

use super::flow::chain;
use super::hollow::{Seen, TEXT, Work, Worker};
use crate::ApiKey;
use crate::load::{Bound, Config, Job, Pace, Target};

/// A run that waits longer has failed.
const RUN_WITHIN: Duration = Duration::from_secs(300);

pub(crate) struct Scene {
    pub(crate) stage: Stage,
    pub(crate) seen: Seen,
    /// The administrator's flow.
    pub(crate) mine: Tenant,
}

/// Whose runs they are, and of what flow.
#[derive(Clone, Debug)]
pub(crate) struct Tenant {
    api: SocketAddr,
    api_key: String,
    flow: String,
}

impl Scene {
    /// Starts a cluster with a flow of so many cells, and no workers yet.
    pub(crate) async fn start(cast: &Cast, cells: usize) -> Result<Self> {
        let stage = Stage::start(cast).await?;
        let api = *stage.apis().first().context("there is no API")?;
        let mine = Tenant::with(api, stage.api_key(), cells).await?;
        Ok(Self { stage, seen: Seen::new()?, mine })
    }

    /// Adds a worker.
    pub(crate) async fn worker(&self, name: &str, slots: u32, work: Work) -> Result<Worker> {
        Worker::start(&self.stage.worker_access()?, name, slots, work, &self.seen).await
    }
}

impl Tenant {
    /// With a flow of so many cells.
    pub(crate) async fn with(api: SocketAddr, api_key: &str, cells: usize) -> Result<Self> {
        let mut tenant = Self { api, api_key: api_key.to_owned(), flow: String::new() };
        let stored = tenant.post("/api/v1/flows/", &chain(cells)).await?;
        let id = stored.get("id").and_then(Value::as_str).context("a stored flow has no id")?;
        tenant.flow = id.to_owned();
        Ok(tenant)
    }

    /// What to measure: its runs, answered or, with `accept`, only acknowledged.
    pub(crate) fn load(&self, pace: Pace, bound: Bound, accept: bool) -> Result<Config> {
        let target = Target {
            label: "A".to_owned(),
            url: Url::parse(&format!("http://{}", self.api))?,
            api_key: Some(ApiKey::new(self.api_key.clone())),
            flow: self.flow.clone(),
        };
        let job = Job {
            input: "hello".to_owned(),
            stream: false,
            accept,
            expect: (!accept).then(|| TEXT.to_owned()),
            timeout: RUN_WITHIN,
        };
        Ok(Config { targets: vec![target], job, pace, bound, slices: 1 })
    }

    /// Starts a durable run; returns its id.
    pub(crate) async fn submit(&self) -> Result<String> {
        let run = json!({"flow": self.flow, "input_value": "hello"});
        let accepted = self.post("/api/flowcell/v1/runs", &run).await?;
        let id = accepted.get("id").and_then(Value::as_str);
        id.map(str::to_owned).context("an accepted run has no id")
    }

    /// The live events of a run.
    pub(crate) async fn events(&self, run: &str) -> Result<reqwest::Response> {
        let url = format!("http://{}/api/flowcell/v1/runs/{run}/events", self.api);
        let http = reqwest::Client::builder().no_proxy().build()?;
        let response = http.get(url).header("x-api-key", &self.api_key).send().await?;
        Ok(response.error_for_status()?)
    }

    /// The id of the flow.
    pub(crate) fn flow(&self) -> &str {
        &self.flow
    }

    /// A request to the API in this tenant's name.
    pub(crate) fn request(
        &self,
        http: &reqwest::Client,
        method: reqwest::Method,
        path: &str,
    ) -> reqwest::RequestBuilder {
        let url = format!("http://{}{path}", self.api);
        http.request(method, url).header("x-api-key", &self.api_key)
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        let request = http.post(format!("http://{}{path}", self.api));
        let response = request.header("x-api-key", &self.api_key).json(body).send().await?;
        let status = response.status();
        let text = response.text().await?;
        ensure!(status.is_success(), "{path} was answered with {status}: {text}");
        Ok(serde_json::from_str(&text)?)
    }
}
