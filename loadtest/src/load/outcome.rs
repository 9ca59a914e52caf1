//! How one run ended. Every way to fail is a variant.

use std::fmt;
use std::time::Duration;

/// One run, measured.
#[derive(Debug)]
pub(crate) struct Sample {
    /// From when it was due (open loop) or sent (closed loop) to its whole answer.
    pub(crate) latency: Duration,
    /// The same, to the first token of a stream.
    pub(crate) first_token: Option<Duration>,
    /// How late this program was itself: from due to sent.
    pub(crate) send_lag: Duration,
    pub(crate) result: Result<(), Failure>,
}

#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) class: FailureClass,
    /// What it looked like, shortened.
    pub(crate) example: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FailureClass {
    /// No connection, or no answer on it.
    Unreachable,
    /// An HTTP status other than success.
    Status(u16),
    /// The run took longer than its timeout.
    TimedOut,
    /// The answer broke off.
    Broken,
    /// The answer is not in the endpoint's form.
    Unreadable,
    /// The answer is larger than is read.
    TooLarge,
    /// The stream carried an `error` event.
    ErrorEvent,
    /// The stream ended, properly, without an `end` event.
    NoEnd,
    /// The answer's text does not contain the expected one.
    Wrong,
    /// It was due, but too many earlier runs were unanswered until the time was over.
    Unsent,
}

const EXAMPLE_CHARS_MAX: usize = 300;

impl Failure {
    pub(crate) fn new(class: FailureClass, example: &str) -> Self {
        let mut characters = example.chars();
        let mut example: String = characters.by_ref().take(EXAMPLE_CHARS_MAX).collect();
        if characters.next().is_some() {
            example.push('…');
        }
        Self { class, example }
    }

    /// An error with all its sources: reqwest's own message does not say what went wrong.
    pub(crate) fn of_error(class: FailureClass, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        Self::new(class, &text)
    }
}

impl fmt::Display for FailureClass {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => formatter.write_str("unreachable"),
            Self::Status(status) => write!(formatter, "http {status}"),
            Self::TimedOut => formatter.write_str("timed out"),
            Self::Broken => formatter.write_str("broken off"),
            Self::Unreadable => formatter.write_str("unreadable"),
            Self::TooLarge => formatter.write_str("too large"),
            Self::ErrorEvent => formatter.write_str("error event"),
            Self::NoEnd => formatter.write_str("no end event"),
            Self::Wrong => formatter.write_str("wrong answer"),
            Self::Unsent => formatter.write_str("unsent"),
        }
    }
}
