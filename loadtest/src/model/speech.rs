//! Saying an answer in time: bytes at moments counted from the start, and the cut connection.
//!
//! Moments are absolute, so that the timer's rounding does not add up over a long answer.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use futures::StreamExt as _;
use futures::stream;
use serde_json::Value;
use tokio::time::Instant;

use super::plan::Timing;

/// One thing to do at a moment after the request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) at: Duration,
    pub(crate) what: What,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum What {
    Send(String),
    /// Break the connection.
    Cut,
}

/// Builds the steps of a stream, counting tokens for the clock and for the cut.
#[derive(Debug)]
pub(crate) struct Speaker {
    timing: Timing,
    cut_after: Option<usize>,
    tokens: usize,
    now: Duration,
    steps: Vec<Step>,
    cut: bool,
}

impl Speaker {
    pub(crate) fn new(timing: Timing, cut_after: Option<usize>) -> Self {
        Self {
            timing,
            cut_after,
            tokens: 0,
            now: timing.first_token,
            steps: Vec::new(),
            cut: false,
        }
    }

    /// Sends a frame that is not a token, at the moment reached.
    pub(crate) fn frame(&mut self, text: String) {
        if !self.cut {
            self.steps.push(Step { at: self.now, what: What::Send(text) });
        }
    }

    /// Sends the next token's frame, or cuts in its place.
    pub(crate) fn token(&mut self, text: String) {
        if self.cut_after == Some(self.tokens) {
            self.break_off();
        }
        if self.tokens > 0 {
            self.now = self.now.saturating_add(self.timing.token);
        }
        self.tokens = self.tokens.saturating_add(1);
        self.frame(text);
    }

    /// To be called after the last token: an answer with fewer tokens than the cut asks for is cut
    /// here, before it is finished.
    pub(crate) fn end_of_tokens(&mut self) {
        if self.cut_after.is_some() {
            self.break_off();
        }
    }

    pub(crate) fn into_steps(self) -> Vec<Step> {
        self.steps
    }

    fn break_off(&mut self) {
        if !self.cut {
            self.steps.push(Step { at: self.now, what: What::Cut });
            self.cut = true;
        }
    }
}

/// `data: {…}`, as chat completions are streamed.
pub(crate) fn data_frame(data: &Value) -> String {
    format!("data: {data}\n\n")
}

/// `event: name` and `data: {…}`, as responses are streamed.
pub(crate) fn event_frame(name: &str, data: &Value) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

/// The steps as an event stream. A client that goes away drops the stream and with it the waits.
pub(crate) fn streamed(steps: Vec<Step>) -> Response {
    let started = Instant::now();
    let frames = stream::iter(steps).then(move |step| async move {
        tokio::time::sleep_until(started + step.at).await;
        match step.what {
            What::Send(text) => Ok(Bytes::from(text)),
            What::Cut => Err(cut().await),
        }
    });
    let mut response = Response::new(Body::from_stream(frames));
    let headers = response.headers_mut();
    headers
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// A whole JSON answer; when it is to be cut, the length of all of it is promised and half is sent.
pub(crate) fn whole(body: &Value, cut_off: bool) -> Response {
    let text = body.to_string();
    let length = text.len();
    let body = if cut_off {
        let half = Bytes::from(text).slice(..length / 2);
        let sent = stream::once(async move { Ok(half) });
        Body::from_stream(sent.chain(stream::once(async { Err(cut().await) })))
    } else {
        Body::from(text)
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// The error that makes hyper drop the connection. It flushes what was sent before only when the
/// body is not ready, hence the yield.
async fn cut() -> io::Error {
    tokio::task::yield_now().await;
    io::Error::new(io::ErrorKind::ConnectionAborted, "the script cuts the connection here")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Speaker, Step, What};
    use crate::model::plan::Timing;

    fn spoken(cut_after: Option<usize>) -> Vec<Step> {
        let timing =
            Timing { first_token: Duration::from_millis(10), token: Duration::from_millis(2) };
        let mut speaker = Speaker::new(timing, cut_after);
        speaker.frame("role".to_owned());
        speaker.token("a".to_owned());
        speaker.token("b".to_owned());
        speaker.end_of_tokens();
        speaker.frame("end".to_owned());
        speaker.into_steps()
    }

    fn send(at_ms: u64, text: &str) -> Step {
        Step { at: Duration::from_millis(at_ms), what: What::Send(text.to_owned()) }
    }

    fn cut(at_ms: u64) -> Step {
        Step { at: Duration::from_millis(at_ms), what: What::Cut }
    }

    #[test]
    fn tokens_are_spaced() {
        assert_eq!(spoken(None), [send(10, "role"), send(10, "a"), send(12, "b"), send(12, "end")]);
    }

    #[test]
    fn a_cut_is_the_last_step() {
        assert_eq!(spoken(Some(0)), [send(10, "role"), cut(10)]);
        assert_eq!(spoken(Some(1)), [send(10, "role"), send(10, "a"), cut(10)]);
        assert_eq!(spoken(Some(2)), [send(10, "role"), send(10, "a"), send(12, "b"), cut(12)]);
        assert_eq!(spoken(Some(9)), spoken(Some(2)));
    }
}
