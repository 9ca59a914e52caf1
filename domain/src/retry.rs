//! When a failed attempt is tried again, and after how long.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How a task is retried. Infrastructure failures are retried by default; a component's own error
/// is not, because Langflow would not and because its side effects may already have happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetryPolicy {
    /// Attempts in all, the first one included.
    pub attempts_max: u32,
    /// Whether an error that the component itself raised is retried too.
    pub component_errors: bool,
    /// Delay before the second attempt; doubles with every further one.
    pub backoff_ms: u64,
    /// Longest delay between two attempts.
    pub backoff_ms_max: u64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { attempts_max: 3, component_errors: false, backoff_ms: 200, backoff_ms_max: 10_000 }
    }
}

impl RetryPolicy {
    /// The delay before the attempt that follows `attempt` (1-based), or `None` when there is none.
    #[must_use]
    pub fn delay_after(&self, attempt: u32, cause: Cause) -> Option<Duration> {
        let retryable = match cause {
            Cause::Infrastructure => true,
            Cause::Component => self.component_errors,
            Cause::Limit => false,
        };
        if !retryable || attempt >= self.attempts_max {
            return None;
        }
        let doublings = attempt.saturating_sub(1).min(20);
        let delay = self.backoff_ms.saturating_mul(1 << doublings).min(self.backoff_ms_max);
        Some(Duration::from_millis(delay))
    }
}

/// Who is to blame for a failed attempt; decides whether trying again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Worker lost, container or image trouble: another attempt may well succeed.
    Infrastructure,
    /// The component raised an error.
    Component,
    /// A limit was exceeded: the next attempt would exceed it again.
    Limit,
}
