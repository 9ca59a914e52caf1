//! A collector of spans: OTLP over HTTP, as an OpenTelemetry collector takes it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// A collector that keeps what it gets; it ends when it is dropped.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    kept: Arc<Kept>,
    serving: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Kept {
    spans: Mutex<Vec<Span>>,
    news: Notify,
}

impl Collector {
    /// Starts one on a free port.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, kept) = (listener.local_addr()?, Arc::new(Kept::default()));
        let router = Router::new().route("/v1/traces", post(take)).with_state(kept.clone());
        let serving = tokio::spawn(async move {
            // It ends with the test.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, kept, serving })
    }

    /// Its address, for `telemetry.otlp`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until the spans that have come give something.
    pub async fn until<T>(&self, find: impl Fn(&[Span]) -> Option<T>) -> T {
        loop {
            let news = self.kept.news.notified();
            let found = {
                let spans = self.kept.spans.lock().unwrap_or_else(PoisonError::into_inner);
                find(&spans)
            };
            match found {
                Some(found) => return found,
                None => news.await,
            }
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn take(State(kept): State<Arc<Kept>>, body: Bytes) -> StatusCode {
    let Ok(request) = ExportTraceServiceRequest::decode(body) else {
        return StatusCode::BAD_REQUEST;
    };
    let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    let spans = scopes.flat_map(|scope| scope.spans);
    kept.spans.lock().unwrap_or_else(PoisonError::into_inner).extend(spans);
    kept.news.notify_waiters();
    StatusCode::OK
}
