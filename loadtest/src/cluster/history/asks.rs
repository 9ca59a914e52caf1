//! What people ask for: lists of runs, and one of them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::Tenants;
use super::past::{Place, SESSION};
use crate::cluster::measured::Times;
use crate::load::Percentiles;

const TIMES: usize = 100;
const RUNS: &str = "/api/flowcell/v1/runs";
const ANSWER_WITHIN: Duration = Duration::from_secs(120);

/// How long one thing takes.
#[derive(Debug, Clone, Serialize)]
pub struct Answered {
    /// What was asked for.
    pub name: &'static str,
    /// Items of the answer, where it is a list.
    pub items: Option<usize>,
    /// From the request to the whole answer.
    pub latency_ms: Percentiles,
}

pub(super) struct Asks<'a> {
    http: reqwest::Client,
    tenants: &'a Tenants,
    at: &'a Place,
}

impl<'a> Asks<'a> {
    /// With this run to look at and to begin after.
    pub(super) fn new(tenants: &'a Tenants, at: &'a Place) -> Result<Self> {
        let http = reqwest::Client::builder().no_proxy().timeout(ANSWER_WITHIN).build()?;
        Ok(Self { http, tenants, at })
    }

    /// Opens connections, and has what is often read in memory.
    pub(super) async fn warm(&self) -> Result<()> {
        for (_, path) in self.paths() {
            self.ask(&path).await?;
        }
        Ok(())
    }

    pub(super) async fn measure(&self) -> Result<Vec<Answered>> {
        let mut answered = Vec::new();
        for (name, path) in self.paths() {
            let times = Times::new()?;
            let mut items = None;
            for _ in 0..TIMES {
                let began = Instant::now();
                let answer = self.ask(&path).await?;
                times.add(began.elapsed());
                items = answer.get("items").and_then(Value::as_array).map(Vec::len);
            }
            let latency_ms = times.take().context("nothing was measured")?;
            answered.push(Answered { name, items, latency_ms });
        }
        Ok(answered)
    }

    fn paths(&self) -> Vec<(&'static str, String)> {
        let (most, rare) = (self.tenants.most.flow(), self.tenants.rare.flow());
        let (Place { run, created }, nobody) = (self.at, Uuid::nil());
        vec![
            ("newest runs", RUNS.to_owned()),
            ("runs from the middle", format!("{RUNS}?after={created}-{run}")),
            ("furthest offset", format!("{RUNS}?offset=10000")),
            ("of the flow with most", format!("{RUNS}?flow={most}")),
            ("of it, from the middle", format!("{RUNS}?flow={most}&after={created}-{run}")),
            ("failed", format!("{RUNS}?state=failed")),
            ("running", format!("{RUNS}?state=running")),
            ("failed of the flow with most", format!("{RUNS}?flow={most}&state=failed")),
            ("failed of a flow without any", format!("{RUNS}?flow={rare}&state=failed")),
            ("of a session", format!("{RUNS}?session_id={SESSION}")),
            ("children of a run", format!("{RUNS}?parent_id={run}")),
            ("children of no run", format!("{RUNS}?parent_id={nobody}")),
            ("a run", format!("{RUNS}/{run}")),
        ]
    }

    async fn ask(&self, path: &str) -> Result<Value> {
        let response = self.tenants.most.request(&self.http, Method::GET, path).send().await?;
        let status = response.status();
        let text = response.text().await?;
        ensure!(status.is_success(), "{path} was answered with {status}: {text}");
        Ok(serde_json::from_str(&text)?)
    }
}
