//! One run, from the request to the last byte of its answer.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use futures::StreamExt as _;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Response, Url};
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use super::answer::{self, Event};
use super::config::{Job, Target};
use super::frames::Frames;
use super::outcome::{Failure, FailureClass, Sample};

/// A whole answer.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Of an error's body, as much as an example may need.
const ERROR_BYTES_MAX: usize = 4 * 1024;

#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    endpoint: Url,
    headers: HeaderMap,
    flow: String,
    job: Job,
}

impl Client {
    pub(crate) fn new(target: &Target, job: &Job) -> anyhow::Result<Self> {
        // Straight to the target: a proxy from the environment would be measured as well, and a
        // redirect would be a run that nobody answered.
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .build()
            .context("preparing the HTTP client")?;
        let endpoint = endpoint(target, job)?;
        let mut headers = HeaderMap::new();
        if let Some(key) = &target.api_key {
            let mut value = HeaderValue::from_str(key.expose()).map_err(|_| {
                anyhow!("the API key of target {} is no header value", target.label)
            })?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static("x-api-key"), value);
        }
        Ok(Self { http, endpoint, headers, flow: target.flow.clone(), job: job.clone() })
    }

    /// Runs once. Latency counts from `due`, the timeout from now.
    pub(crate) async fn run(&self, due: Instant) -> Sample {
        let sent = Instant::now();
        let mut first_token = None;
        let asking = self.ask(due, &mut first_token);
        let result = match tokio::time::timeout(self.job.timeout, asking).await {
            Ok(result) => result,
            Err(_) => {
                let example = format!("no answer in {:?}", self.job.timeout);
                Err(Failure::new(FailureClass::TimedOut, &example))
            }
        };
        Sample { latency: due.elapsed(), first_token, send_lag: sent.duration_since(due), result }
    }

    /// With a session of its own, so that no run waits for another's or reads its history.
    fn body(&self) -> Value {
        let session = format!("load-{}", Uuid::new_v4());
        let input = &self.job.input;
        if self.job.accept {
            return json!({"flow": self.flow, "input_value": input, "session_id": session});
        }
        json!({
            "input_value": input,
            "input_type": "chat",
            "output_type": "chat",
            "session_id": session,
        })
    }

    async fn ask(&self, due: Instant, first_token: &mut Option<Duration>) -> Result<(), Failure> {
        let body = self.body();
        let request = self.http.post(self.endpoint.clone()).headers(self.headers.clone());
        let response =
            request.json(&body).send().await.map_err(|error| {
                Failure::of_error(FailureClass::Unreachable, &error.without_url())
            })?;
        let status = response.status();
        if !status.is_success() {
            // The status counts, whether or not its explanation can be read.
            let text = start_of(response).await;
            return Err(Failure::new(FailureClass::Status(status.as_u16()), &text));
        }
        if self.job.accept {
            return accepted(&answer::json(&whole(response).await?)?);
        }
        let texts = if self.job.stream {
            streamed(response, due, first_token).await?
        } else {
            answer::texts(&answer::json(&whole(response).await?)?)?
        };
        answer::expected(&texts, self.job.expect.as_deref())
    }
}

/// Where runs are asked for: answered by Langflow's route, only acknowledged by Flowcell's own.
fn endpoint(target: &Target, job: &Job) -> anyhow::Result<Url> {
    let mut endpoint = target.url.clone();
    let path: &[&str] = if job.accept {
        &["api", "flowcell", "v1", "runs"]
    } else {
        &["api", "v1", "run", &target.flow]
    };
    endpoint
        .path_segments_mut()
        .map_err(|()| anyhow!("{} cannot have a path", target.url))?
        .pop_if_empty()
        .extend(path);
    if !job.accept {
        let stream = if job.stream { "true" } else { "false" };
        endpoint.query_pairs_mut().append_pair("stream", stream);
    }
    Ok(endpoint)
}

/// A durable run has an id.
fn accepted(answer: &Value) -> Result<(), Failure> {
    match answer.get("id").and_then(Value::as_str) {
        Some(_) => Ok(()),
        None => Err(Failure::new(FailureClass::Unreadable, &format!("no id: {answer}"))),
    }
}

/// The texts of a stream's `end` event, which must be there and the connection whole until then.
async fn streamed(
    response: Response,
    due: Instant,
    first_token: &mut Option<Duration>,
) -> Result<Vec<String>, Failure> {
    let mut bytes = response.bytes_stream();
    let mut frames = Frames::default();
    let mut texts = None;
    let mut take = |frame: &[u8]| -> Result<(), Failure> {
        match answer::event(&answer::json(frame)?)? {
            Event::Token => *first_token = first_token.or_else(|| Some(due.elapsed())),
            Event::End(found) => texts = Some(found),
            Event::Error(text) => return Err(Failure::new(FailureClass::ErrorEvent, &text)),
            Event::Other => {}
        }
        Ok(())
    };
    while let Some(piece) = bytes.next().await {
        let piece = piece.map_err(broken)?;
        let complete = frames.push(&piece).map_err(|class| Failure::new(class, "an event"))?;
        for frame in complete {
            take(&frame)?;
        }
    }
    if let Some(frame) = frames.finish() {
        take(&frame)?;
    }
    texts.ok_or_else(|| Failure::new(FailureClass::NoEnd, "the stream ended without an end event"))
}

async fn whole(response: Response) -> Result<Vec<u8>, Failure> {
    let mut bytes = response.bytes_stream();
    let mut all = Vec::new();
    while let Some(piece) = bytes.next().await {
        all.extend_from_slice(&piece.map_err(broken)?);
        if all.len() > ANSWER_BYTES_MAX {
            return Err(Failure::new(FailureClass::TooLarge, "the answer"));
        }
    }
    Ok(all)
}

async fn start_of(response: Response) -> String {
    let mut bytes = response.bytes_stream();
    let mut start = Vec::new();
    while let Some(Ok(piece)) = bytes.next().await {
        start.extend_from_slice(&piece);
        if start.len() > ERROR_BYTES_MAX {
            break;
        }
    }
    String::from_utf8_lossy(&start).into_owned()
}

fn broken(error: reqwest::Error) -> Failure {
    Failure::of_error(FailureClass::Broken, &error.without_url())
}
