//! What surrounds every route: request id, one log line, caught panics, security headers, errors
//! in the right family's form. Authentication is inside, so a refusal is logged like any answer.

use std::any::Any;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{ALLOW, CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;
use uuid::Uuid;

use crate::app::App;
use crate::auth;
use crate::error::{Carried, Error, Family};
use crate::metrics;
use crate::trace::{self, Answered};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_BYTES_MAX: usize = 64;

/// The routes with everything around them.
pub(crate) fn around(routes: Router<App>, app: &App) -> Router {
    routes
        .layer(from_fn_with_state(app.clone(), auth::layer))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(app.clone(), edge))
        .with_state(app.clone())
}

/// Whose manner a path has.
pub(crate) fn family(path: &str) -> Family {
    if path.starts_with("/api/flowcell/") { Family::Flowcell } else { Family::Langflow }
}

async fn edge(State(app): State<App>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let in_flight = app.metrics.asked();
    let tracing = trace::Request::of(&app.config.tracer, request.headers());
    let request = request.map(|body| app.metrics.count_received(body));
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let family = family(request.uri().path());
    let id = request_id(&request);
    // The span carries the route's template: paths and queries may hold names and keys.
    let template = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    let span = tracing::info_span!("request", http.request.id = %id);
    let mut response = tracing.clone().scope(next.run(request)).instrument(span).await;
    if let Some(Carried(error)) = response.extensions_mut().remove::<Carried>() {
        let allow = response.headers_mut().remove(ALLOW);
        response = error.answer(family);
        if let Some(allow) = allow {
            response.headers_mut().insert(ALLOW, allow);
        }
    }
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    drop(in_flight);
    let status = response.status().as_u16();
    tracing.answered(Answered { method: metrics::name(&method), route: template, status });
    app.metrics.answered(&method, template, response.status(), began.elapsed());
    tracing::info!(
        http.request.id = %id,
        http.method = %method,
        http.route = template,
        http.status = response.status().as_u16(),
        duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        "answered"
    );
    response.map(|body| app.metrics.count_sent(body))
}

/// The caller's id for the request, where it is harmless in a log line; otherwise a new one.
fn request_id(request: &Request) -> String {
    let is_plain = |id: &&str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(plain)
    };
    let given = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(is_plain);
    given.map_or_else(|| Uuid::new_v4().to_string(), str::to_owned)
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    let cause = text.unwrap_or_else(|| "no message".to_owned());
    Error::Internal { doing: "a handler panicked", cause }.into_response()
}
