//! From the errors of other crates to ours.

use axum::extract::rejection::BytesRejection;

use super::{Error, Issue};

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match &error {
            store::Error::NotFound { what } => match *what {
                "flow" => Self::FlowNotFound { name: None },
                "run" => Self::RunNotFound,
                what => Self::NotFound(what),
            },
            store::Error::Conflict { what } => Self::Conflict((*what).to_owned()),
            store::Error::VersionConflict => Self::Conflict(error.to_string()),
            store::Error::Duplicate { field } => Self::Duplicate(field),
            store::Error::Invalid { .. } => Self::BodyInvalid(error.to_string()),
            store::Error::TooLarge { what: "file", bytes_max, .. } => {
                Self::FileTooLarge { bytes_max: *bytes_max }
            }
            store::Error::TooLarge { what, bytes, bytes_max } => {
                Self::StorageFull { what, bytes: *bytes, bytes_max: *bytes_max }
            }
            store::Error::QueueFull { queued_max } => Self::QueueFull { queued_max: *queued_max },
            store::Error::TooFast { per_minute, after } => {
                Self::TooFast { per_minute: *per_minute, after: *after }
            }
            // The name is the tenant's own; what to do about it is the operator's.
            store::Error::Undecryptable { .. } => internal("opening a variable", &error),
            store::Error::PayloadUnreadable { run, .. } => {
                tracing::error!(run.id = %run, error = %error, "a payload cannot be read");
                Self::PayloadUnreadable(error.to_string())
            }
            _ if error.is_transient() => Self::Unavailable(chain(&error)),
            _ => internal("using the store", &error),
        }
    }
}

impl From<bus::Error> for Error {
    fn from(error: bus::Error) -> Self {
        if error.is_transient() || matches!(error, bus::Error::Closed) {
            return Self::Unavailable(chain(&error));
        }
        internal("using the bus", &error)
    }
}

impl From<domain::flow::Error> for Error {
    fn from(error: domain::flow::Error) -> Self {
        let problems = match &error {
            domain::flow::Error::Invalid(issues) => {
                let omitted = issues.omitted();
                let more = (omitted > 0).then(|| format!("and {omitted} more"));
                issues.list().iter().map(ToString::to_string).chain(more).collect()
            }
            other => vec![other.to_string()],
        };
        Self::FlowInvalid { problems }
    }
}

impl From<domain::plan::Error> for Error {
    fn from(error: domain::plan::Error) -> Self {
        Self::FlowInvalid { problems: vec![error.to_string()] }
    }
}

impl From<domain::tweaks::Error> for Error {
    fn from(error: domain::tweaks::Error) -> Self {
        match error {
            domain::tweaks::Error::Refused { fields, message } => {
                Self::TweaksRefused { message, fields }
            }
            domain::tweaks::Error::InputConflict { input, .. } => {
                Self::TweakConflict(input.detail())
            }
        }
    }
}

impl From<BytesRejection> for Error {
    fn from(rejection: BytesRejection) -> Self {
        // The only other reason is a connection that broke, and then nobody reads the answer.
        if rejection.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE {
            return Self::BodyTooLarge;
        }
        Self::BodyUnreadable
    }
}

impl From<Issue> for Error {
    fn from(issue: Issue) -> Self {
        Self::Issues(vec![issue])
    }
}

pub(crate) fn internal(doing: &'static str, error: &dyn std::error::Error) -> Error {
    Error::Internal { doing, cause: chain(error) }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(next) = source {
        text.push_str(": ");
        text.push_str(&next.to_string());
        source = next.source();
    }
    text
}
