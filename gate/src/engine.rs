//! Docker's own socket.

use std::path::PathBuf;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::HOST;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::refusal::Refusal;

/// An answer that is read here. What the engine says of an image or container has some kilobytes.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Body = BoxBody<Bytes, BoxError>;

/// Why a call has no answer of the engine's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the engine does not answer: {0}")]
    Engine(BoxError),
}

impl Failure {
    pub(crate) fn engine(error: impl Into<BoxError>) -> Self {
        Self::Engine(error.into())
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Engine {
    socket: PathBuf,
}

impl Engine {
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Sends a request on a connection of its own: it ends when the caller goes away.
    pub(crate) async fn send(
        &self,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, Failure> {
        request.headers_mut().insert(HOST, hyper::header::HeaderValue::from_static("docker"));
        let stream = UnixStream::connect(&self.socket).await.map_err(Failure::engine)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(Failure::engine)?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a connection to the engine ended");
            }
        });
        sender.send_request(request).await.map_err(Failure::engine)
    }

    /// What the engine says of something; `None` when it does not exist.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Failure> {
        let request = Request::builder().method(Method::GET).uri(path).body(empty());
        let answer = self.send(request.map_err(Failure::engine)?).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !answer.status().is_success() {
            return Err(Failure::engine(format!("GET {path}: {}", answer.status())));
        }
        let bytes = collect(answer.into_body(), ANSWER_BYTES_MAX).await.map_err(Failure::Engine)?;
        serde_json::from_slice(&bytes).map(Some).map_err(Failure::engine)
    }
}

/// All of a body, when it is not larger than this.
pub(crate) async fn collect(body: Incoming, bytes_max: usize) -> Result<Bytes, BoxError> {
    Ok(Limited::new(body, bytes_max).collect().await?.to_bytes())
}

pub(crate) fn empty() -> Body {
    full(Bytes::new())
}

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}
