//! Everything that can go wrong on the way of a request, and how each family of routes says it.
//!
//! Handlers return an [`Error`]; the edge turns it into Langflow's body on Langflow's routes and
//! into [`ErrorBody`] on ours. Nothing internal leaves: no path, no SQL, no text of a library.

mod convert;
mod flowcell;
mod langflow;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use domain::limits::Setting;
use domain::runtime::Refused;
use proto::http::ErrorBody;
use serde_json::{Value, json};
use uuid::Uuid;

pub(crate) use self::convert::internal;
pub(crate) use self::langflow::{NEEDS_PERSON, exception_body};

/// When a caller whose queue is full may look again.
const QUEUE_FULL_RETRY_S: u64 = 5;

/// Whose manner an answer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// Langflow's: `{"detail": …}`.
    Langflow,
    /// Ours: [`ErrorBody`].
    Flowcell,
}

/// Which kinds of credentials a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepts {
    /// API keys only.
    Keys,
    /// API keys and sessions.
    All,
    /// API keys only, in the words of webhooks.
    Webhook,
}

/// One entry of a 422 in FastAPI's form.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Issue {
    pub(crate) kind: &'static str,
    pub(crate) place: Vec<Value>,
    pub(crate) message: String,
    pub(crate) expected: Option<&'static str>,
}

/// A limit that cannot be set so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LimitProblem {
    /// Where it stands in the body: `limits.pids`.
    pub(crate) field: String,
    /// The value as JSON, cut when it is long.
    pub(crate) value: String,
    /// What is allowed; nothing, when there is no such limit.
    pub(crate) range: Option<(u64, u64)>,
}

/// Why a request is not answered as it wished.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("no credentials")]
    CredentialsMissing(Accepts),
    #[error("the api key is unknown, revoked or expired")]
    KeyInvalid(Accepts),
    #[error("the session is unknown, revoked or expired")]
    SessionInvalid,
    #[error("wrong user name or password")]
    LoginFailed,
    #[error("too many logins")]
    TooManyLogins { retry_after_s: u64 },
    #[error("{queued_max} runs wait already, and no more may")]
    QueueFull { queued_max: u32 },
    #[error("{per_minute} runs a minute are accepted")]
    TooFast { per_minute: u32, after: Duration },
    #[error("not allowed: {0}")]
    Forbidden(&'static str),
    #[error("no such route")]
    RouteNotFound,
    #[error("method not allowed")]
    MethodNotAllowed,
    #[error("flow {name:?} not found")]
    FlowNotFound { name: Option<String> },
    #[error("flow is invalid: {}", problems.join("; "))]
    FlowInvalid { problems: Vec<String> },
    #[error("run not found")]
    RunNotFound,
    #[error("{0} not found")]
    NotFound(&'static str),
    #[error("the request has {} issues", .0.len())]
    Issues(Vec<Issue>),
    #[error("the body is invalid: {0}")]
    BodyInvalid(String),
    #[error("{} cannot be set", .0.iter().map(|p| p.field.as_str()).collect::<Vec<_>>().join(", "))]
    LimitsInvalid(Vec<LimitProblem>),
    #[error("the body cannot be parsed")]
    BodyUnreadable,
    #[error("the body is too large")]
    BodyTooLarge,
    #[error("the file is larger than {bytes_max} bytes")]
    FileTooLarge { bytes_max: u64 },
    #[error("the {what} would be {bytes} bytes large; {bytes_max} are allowed")]
    StorageFull { what: &'static str, bytes: u64, bytes_max: u64 },
    /// Langflow's first file routes answer whatever their storage refuses with 500.
    #[error("{0}")]
    StorageRefused(String),
    #[error("{0}")]
    Refused(String),
    #[error("conflict: {0}")]
    Conflict(String),
    #[error("the {0} is taken")]
    Duplicate(&'static str),
    #[error("a tweak and the input set the same field")]
    TweakConflict(&'static str),
    #[error("refused tweaks of {}", fields.join(", "))]
    TweaksRefused { message: String, fields: Vec<String> },
    #[error("a run of this flow would wait for a person")]
    NeedsPerson,
    /// An answer in Langflow's own words.
    #[error("{detail}")]
    Worded { status: StatusCode, detail: Value },
    #[error("the run failed: {message}")]
    RunFailed { message: String, outdated: Vec<String> },
    #[error("{} of the requirements cannot be taken", .0.len())]
    RequirementsInvalid(Vec<Refused>),
    #[error("flows may not have packages of their own here")]
    RequirementsOff,
    #[error("{0}")]
    PayloadUnreadable(String),
    #[error("the run took too long")]
    RunTimedOut,
    #[error("unavailable: {0}")]
    Unavailable(String),
    #[error("{doing}: {cause}")]
    Internal { doing: &'static str, cause: String },
}

/// Where a response keeps the error that it stands for, until the edge knows the family.
#[derive(Clone, Debug)]
pub(crate) struct Carried(pub(crate) Arc<Error>);

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
        response.extensions_mut().insert(Carried(Arc::new(self)));
        response
    }
}

impl Issue {
    /// An issue at a place in the body.
    pub(crate) fn body(
        kind: &'static str,
        path: impl IntoIterator<Item = impl Into<Value>>,
        message: impl Into<String>,
    ) -> Self {
        let place = std::iter::once("body".into()).chain(path.into_iter().map(Into::into));
        Self { kind, place: place.collect(), message: message.into(), expected: None }
    }

    /// A field that must be there.
    pub(crate) fn missing(field: &str) -> Self {
        Self::body("missing", [field], "Field required")
    }

    pub(super) fn to_value(&self) -> Value {
        let mut value = json!({"type": self.kind, "loc": self.place, "msg": self.message});
        if let (Some(expected), Some(map)) = (self.expected, value.as_object_mut()) {
            map.insert("ctx".to_owned(), json!({"expected": expected}));
        }
        value
    }
}

impl LimitProblem {
    /// One sentence: field, value, what is allowed.
    pub(super) fn message(&self) -> String {
        let Self { field, value, range } = self;
        match range {
            Some((least, most)) => {
                format!("{field} is {value}; whole numbers from {least} to {most} are allowed")
            }
            None => {
                let names: Vec<&str> = Setting::ALL.into_iter().map(Setting::name).collect();
                format!("{field} is no limit; there are {}", names.join(", "))
            }
        }
    }

    pub(super) fn to_value(&self) -> Value {
        let mut value = json!({"field": self.field, "value": self.value});
        if let (Some((least, most)), Some(map)) = (self.range, value.as_object_mut()) {
            map.insert("least".to_owned(), least.into());
            map.insert("most".to_owned(), most.into());
        }
        if let Some(map) = value.as_object_mut() {
            map.insert("message".to_owned(), self.message().into());
        }
        value
    }
}

impl Error {
    /// The answer, in the manner of the family. Logs what the client must not see.
    pub(crate) fn answer(&self, family: Family) -> Response {
        let reference = self.log();
        let status = self.status(family);
        let mut response = match family {
            Family::Langflow => (status, Json(langflow::body(self, reference))).into_response(),
            Family::Flowcell => {
                let error = flowcell::detail(self, reference);
                (status, Json(ErrorBody { error })).into_response()
            }
        };
        let headers = response.headers_mut();
        match self {
            Self::TooManyLogins { retry_after_s } => {
                headers.insert(RETRY_AFTER, HeaderValue::from(*retry_after_s));
            }
            Self::QueueFull { .. } => {
                headers.insert(RETRY_AFTER, HeaderValue::from(QUEUE_FULL_RETRY_S));
            }
            Self::TooFast { after, .. } => {
                headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs().saturating_add(1)));
            }
            Self::Unavailable(_) => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::LoginFailed | Self::SessionInvalid => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response
    }

    /// What is internal is logged here, once, under a reference that the client gets.
    fn log(&self) -> Option<Uuid> {
        match self {
            Self::Internal { doing, cause } => {
                let reference = Uuid::new_v4();
                tracing::error!(error.reference = %reference, doing, cause, "request failed");
                Some(reference)
            }
            Self::Unavailable(cause) => {
                tracing::warn!(cause, "request refused: unavailable");
                None
            }
            _ => None,
        }
    }

    /// An answer that Langflow words itself.
    pub(crate) fn worded(status: StatusCode, detail: impl Into<Value>) -> Self {
        Self::Worded { status, detail: detail.into() }
    }

    fn status(&self, family: Family) -> StatusCode {
        let langflow = family == Family::Langflow;
        match self {
            Self::CredentialsMissing(_) | Self::KeyInvalid(_) | Self::Forbidden(_) => {
                StatusCode::FORBIDDEN
            }
            Self::SessionInvalid | Self::LoginFailed => StatusCode::UNAUTHORIZED,
            Self::TooManyLogins { .. } | Self::QueueFull { .. } | Self::TooFast { .. } => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::RouteNotFound
            | Self::FlowNotFound { .. }
            | Self::RunNotFound
            | Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::FlowInvalid { .. }
            | Self::Issues(_)
            | Self::BodyInvalid(_)
            | Self::LimitsInvalid(_)
            | Self::RequirementsInvalid(_)
            | Self::TweaksRefused { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::BodyUnreadable
            | Self::Refused(_)
            | Self::RequirementsOff
            | Self::TweakConflict(_)
            | Self::NeedsPerson => StatusCode::BAD_REQUEST,
            Self::BodyTooLarge | Self::FileTooLarge { .. } | Self::StorageFull { .. } => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            // Langflow answers a taken name with 400.
            Self::Duplicate(_) if langflow => StatusCode::BAD_REQUEST,
            Self::Conflict(_) | Self::Duplicate(_) => StatusCode::CONFLICT,
            Self::RunFailed { .. }
            | Self::PayloadUnreadable(_)
            | Self::StorageRefused(_)
            | Self::Internal { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            Self::RunTimedOut => StatusCode::GATEWAY_TIMEOUT,
            Self::Worded { status, .. } => *status,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}
