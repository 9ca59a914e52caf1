//! The HTTP client of the command line.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use futures::StreamExt;
use proto::event::{RunEvent, RunEventKind};
use proto::http::ErrorBody;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::args::ClientArguments;
use crate::credentials::Credentials;
use crate::output;

/// An error that ends the program with a code of its own.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// Nobody listens, or the credentials are not accepted.
    #[error("{0}")]
    NoAccess(String),
    /// The server says no.
    #[error("{0}")]
    Failed(String),
}

/// A run that waits for a person rests once nothing has followed for so long.
const REST: std::time::Duration = std::time::Duration::from_millis(700);

/// The pause before a stream that ended is asked for again.
const AGAIN_AFTER: std::time::Duration = std::time::Duration::from_millis(300);

/// A connection to one server.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    key: String,
}

impl Client {
    /// A client for the server that the arguments, the environment or the local server's
    /// credentials file name, in this order.
    pub(crate) fn new(arguments: &ClientArguments) -> Result<Self> {
        let local = Credentials::read(&arguments.data.path());
        let url = arguments.url.clone().or_else(|| local.as_ref().map(|l| l.url.clone()));
        let key = arguments.api_key.clone().or_else(|| local.map(|l| l.api_key));
        let (Some(url), Some(key)) = (url, key) else {
            return Err(Refusal::NoAccess(format!(
                "no server is known: start one with `flowcell up`, or give --url and --api-key \
                 (looked for {})",
                Credentials::file(&arguments.data.path()).display()
            ))
            .into());
        };
        let http = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self { http, url: url.trim_end_matches('/').to_owned(), key })
    }

    /// The server's base URL.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The API key in use.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// A request with credentials.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).header("x-api-key", &self.key)
    }

    /// Sends a request; an answer that is no success becomes an error for people.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response> {
        Self::success(self.answer(request).await?).await
    }

    /// Sends a request and gives whatever the answer is.
    pub(crate) async fn answer(&self, request: RequestBuilder) -> Result<Response> {
        let answer = request.send().await.map_err(|error| {
            let why =
                if error.is_connect() { "nobody listens there".to_owned() } else { chain(&error) };
            Refusal::NoAccess(format!("cannot reach {}: {why}", self.url))
        });
        Ok(answer?)
    }

    /// The answer, if it is a success.
    pub(crate) async fn success(response: Response) -> Result<Response> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.text().await.unwrap_or_default();
        let text = describe(status, &body);
        Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Refusal::NoAccess(text),
            _ => Refusal::Failed(text),
        }
        .into())
    }

    /// Sends a request and reads its JSON answer.
    pub(crate) async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T> {
        self.send(request)
            .await?
            .json()
            .await
            .context("the server's answer is not what was expected")
    }

    /// `GET` of a JSON document.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.json(self.request(Method::GET, path)).await
    }

    /// Uploads a file for flows to read; returns what was stored.
    pub(crate) async fn upload_file(&self, file: &Path, append: bool) -> Result<Value> {
        let bytes = std::fs::read(file);
        let bytes = bytes.with_context(|| format!("cannot read {}", file.display()))?;
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned());
        let part = reqwest::multipart::Part::bytes(bytes).file_name(name.unwrap_or_default());
        let form = reqwest::multipart::Form::new().part("file", part);
        let path = format!("/api/v2/files/?append={append}");
        self.json(self.request(Method::POST, &path).multipart(form)).await
    }

    /// Uploads a flow file; returns the created flows.
    pub(crate) async fn upload(&self, name: &Path, bytes: Vec<u8>) -> Result<Vec<Value>> {
        let file_name = name.file_name().map_or("flow.json".into(), |name| name.to_string_lossy());
        let part = reqwest::multipart::Part::bytes(bytes).file_name(file_name.into_owned());
        let form = reqwest::multipart::Form::new().part("file", part);
        self.json(self.request(Method::POST, "/api/v1/flows/upload/").multipart(form)).await
    }

    /// Follows a run's events after a position until it rests: it ended, or waits for a person.
    /// Each item is `(sequence number, event)`. A broken connection is resumed after the last event
    /// seen, so none is missed or repeated.
    pub(crate) async fn follow(
        &self,
        events_path: &str,
        after: u64,
        mut each: impl FnMut(u64, RunEvent) -> Result<(), output::Error>,
    ) -> Result<()> {
        let mut failures = 0u32;
        let mut seen = Seen { after, rests: false };
        loop {
            let before = seen.after;
            match self.follow_once(events_path, &mut seen, &mut each).await {
                Ok(true) => return Ok(()),
                // The end of an answer is not that of the run: a proxy may have had enough of it.
                Ok(false) if seen.after > before => failures = 0,
                Ok(false) => tokio::time::sleep(AGAIN_AFTER).await,
                Err(error) if failures >= 10 || error.is::<output::Error>() => return Err(error),
                Err(_) => {
                    failures += 1;
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
            }
        }
    }

    /// The position of the last event so far of a run that waits for a person.
    pub(crate) async fn position(&self, events_path: &str) -> Result<u64> {
        let mut last = 0;
        let each = |seq, _| {
            last = seq;
            Ok(())
        };
        self.follow(events_path, 0, each).await?;
        Ok(last)
    }

    /// Returns whether the run was seen to rest.
    async fn follow_once(
        &self,
        path: &str,
        seen: &mut Seen,
        each: &mut impl FnMut(u64, RunEvent) -> Result<(), output::Error>,
    ) -> Result<bool> {
        let request =
            self.request(Method::GET, path).header("last-event-id", seen.after.to_string());
        let response = self.send(request).await?;
        let mut lines = crate::sse::Parser::default();
        let mut body = response.bytes_stream();
        loop {
            // A log that is read again has what followed an earlier rest right behind it.
            let next = match seen.rests {
                true => tokio::time::timeout(REST, body.next()).await,
                false => Ok(body.next().await),
            };
            let bytes = match next {
                Err(_) => return Ok(true),
                Ok(None) => return Ok(false),
                Ok(Some(bytes)) => bytes?,
            };
            for event in lines.feed(&bytes) {
                let (Some(id), Ok(parsed)) = (event.id, serde_json::from_str(&event.data)) else {
                    continue;
                };
                let parsed: RunEvent = parsed;
                *seen = Seen { after: id, rests: parsed.kind == RunEventKind::RunSuspended };
                let last = parsed.kind.is_terminal();
                each(id, parsed)?;
                if last {
                    return Ok(true);
                }
            }
        }
    }
}

/// How far a run was followed.
struct Seen {
    after: u64,
    /// Whether the last event says that the run waits for a person.
    rests: bool,
}

fn describe(status: StatusCode, body: &str) -> String {
    if let Ok(ours) = serde_json::from_str::<ErrorBody>(body) {
        let mut text = format!("{}\n  {}", ours.error.message, ours.error.action);
        if let Some(details) =
            ours.error.details.as_ref().and_then(|details| details.get("problems"))
            && let Some(problems) = details.as_array()
        {
            for problem in problems {
                let said = problem.as_str().or_else(|| problem.get("message")?.as_str());
                text.push_str(&format!("\n  - {}", said.unwrap_or(&problem.to_string())));
            }
        }
        return text;
    }
    let detail = serde_json::from_str::<Value>(body).ok().and_then(|v| v.get("detail").cloned());
    match detail {
        Some(Value::String(text)) => format!("{text} ({status})"),
        Some(other) => format!("{other} ({status})"),
        None => format!("the server answered {status}"),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(next) = source {
        text = next.to_string();
        source = next.source();
    }
    text
}

/// A path segment of any text.
pub(crate) fn percent_encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_one_segment() {
        assert_eq!(percent_encode("Basic Prompting/ü"), "Basic%20Prompting%2F%C3%BC");
    }
}
