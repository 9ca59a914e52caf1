//! Why a call does not go through.

use hyper::StatusCode;

/// A call that is not let through.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{said} (rule {rule})")]
pub struct Refusal {
    /// Which rule: a short name, for logs and tests.
    pub rule: &'static str,
    /// What was wrong.
    pub said: String,
    pub(crate) status: StatusCode,
}

impl Refusal {
    pub(crate) fn new(rule: &'static str, said: impl Into<String>) -> Self {
        Self { rule, said: said.into(), status: StatusCode::FORBIDDEN }
    }

    /// As if the thing did not exist, which is also what the caller can act on.
    pub(crate) fn missing(rule: &'static str, said: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, ..Self::new(rule, said) }
    }
}

/// Nothing, when the condition holds.
pub(crate) fn must(holds: bool, rule: &'static str, said: &str) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(Refusal::new(rule, said)) }
}
