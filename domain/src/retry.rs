//! When a failed attempt is tried again, and after how long.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::failure::{FailureCode, FailureKind};
use crate::id::RunId;

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
    /// Further kinds of failure that are retried.
    // Left out when empty: a scheduler that does not know it yet goes on reading its runs.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub errors: BTreeSet<FailureCode>,
}

/// What is set of a policy; the rest is as it is further away.
///
/// Unknown keys and codes are passed over: a newer program may have written them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RetrySettings {
    /// See [`RetryPolicy::attempts_max`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts_max: Option<u32>,
    /// See [`RetryPolicy::component_errors`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component_errors: Option<bool>,
    /// See [`RetryPolicy::backoff_ms`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff_ms: Option<u64>,
    /// See [`RetryPolicy::backoff_ms_max`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff_ms_max: Option<u64>,
    /// See [`RetryPolicy::errors`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<BTreeSet<String>>,
}

/// A failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Its run.
    pub run: RunId,
    /// Its task.
    pub task: u32,
    /// How many attempts of the task have failed, this one included.
    pub tries: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts_max: 3,
            component_errors: false,
            backoff_ms: 200,
            backoff_ms_max: 10_000,
            errors: BTreeSet::new(),
        }
    }
}

impl RetryPolicy {
    /// The delay before the attempt that follows this one, or `None` when there is none. From half
    /// of what the settings say to all of it, so that what failed together does not come back
    /// together; the same for the same attempt whenever it is asked.
    #[must_use]
    pub fn delay_after(&self, tried: Tried, failure: &FailureKind) -> Option<Duration> {
        if !self.retries(failure) || tried.tries >= self.attempts_max {
            return None;
        }
        let doublings = tried.tries.saturating_sub(1).min(20);
        let most = self.backoff_ms.saturating_mul(1 << doublings).min(self.backoff_ms_max);
        let least = most / 2;
        Some(Duration::from_millis(least + tried.spread() % (most - least + 1)))
    }

    fn retries(&self, failure: &FailureKind) -> bool {
        let by_cause = match failure.cause() {
            Cause::Infrastructure => true,
            Cause::Component => self.component_errors,
            Cause::Limit => false,
        };
        by_cause || self.errors.iter().any(|code| code.name() == failure.code())
    }

    /// The policy with what is set over it.
    #[must_use]
    pub fn with(&self, set: &RetrySettings) -> Self {
        let known = |names: &BTreeSet<String>| {
            names.iter().filter_map(|name| FailureCode::try_from(name.clone()).ok()).collect()
        };
        Self {
            attempts_max: set.attempts_max.unwrap_or(self.attempts_max),
            component_errors: set.component_errors.unwrap_or(self.component_errors),
            backoff_ms: set.backoff_ms.unwrap_or(self.backoff_ms),
            backoff_ms_max: set.backoff_ms_max.unwrap_or(self.backoff_ms_max),
            errors: set.errors.as_ref().map_or_else(|| self.errors.clone(), known),
        }
    }

    /// What both allow: a retry repeats everything that the cell does, so every node of it has to
    /// agree.
    #[must_use]
    pub fn strictest(&self, other: &Self) -> Self {
        Self {
            attempts_max: self.attempts_max.min(other.attempts_max),
            component_errors: self.component_errors && other.component_errors,
            backoff_ms: self.backoff_ms.max(other.backoff_ms),
            backoff_ms_max: self.backoff_ms_max.max(other.backoff_ms_max),
            errors: self.errors.intersection(&other.errors).copied().collect(),
        }
    }
}

impl RetrySettings {
    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Tried {
    /// A number that looks random: the last step of SplitMix64.
    fn spread(self) -> u64 {
        let (high, low) = self.run.uuid().as_u64_pair();
        let which = (u64::from(self.task) << 32) | u64::from(self.tries);
        let mut mixed = high ^ low.rotate_left(32) ^ which.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
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

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn tried(run: u128, tries: u32) -> Tried {
        Tried { run: RunId(Uuid::from_u128(run)), task: 1, tries }
    }

    #[test]
    fn delays_double_up_to_the_longest_and_are_spread() {
        let policy = RetryPolicy { attempts_max: 20, ..RetryPolicy::default() };
        for (tries, most) in [(1, 200), (2, 400), (3, 800), (12, 10_000)] {
            let delays: BTreeSet<u128> = (0..200)
                .filter_map(|run| policy.delay_after(tried(run, tries), &FailureKind::WorkerLost))
                .map(|delay| delay.as_millis())
                .collect();
            assert!(delays.len() > 50, "{tries}: only {} delays", delays.len());
            assert!(delays.iter().all(|delay| (most / 2..=most).contains(delay)), "{delays:?}");
        }
        let once = policy.delay_after(tried(7, 1), &FailureKind::Internal);
        assert_eq!(policy.delay_after(tried(7, 1), &FailureKind::Internal), once);
        let none = RetryPolicy { backoff_ms: 0, ..policy };
        assert_eq!(none.delay_after(tried(7, 1), &FailureKind::Internal), Some(Duration::ZERO));
    }

    #[test]
    fn only_what_is_named_is_retried_beside_the_usual() {
        let component = FailureKind::Component { exception: "ValueError".into() };
        let slow = FailureKind::TimedOut { limit_ms: 1 };
        let usual = RetryPolicy::default();
        assert!(usual.retries(&FailureKind::StartFailed));
        assert!(!usual.retries(&component) && !usual.retries(&slow));
        let errors = ["timed_out".to_owned(), "of_a_newer_program".to_owned()];
        let set = RetrySettings { errors: Some(errors.into()), ..RetrySettings::default() };
        let named = usual.with(&set);
        assert!(named.retries(&slow) && !named.retries(&component));
        assert_eq!(named.delay_after(tried(1, 3), &slow), None, "attempts are used up");
        assert!(!named.strictest(&usual).retries(&slow));
    }

    #[test]
    fn an_empty_list_is_not_written() {
        let text = serde_json::to_string(&RetryPolicy::default()).unwrap();
        assert!(!text.contains("\"errors\""), "{text}");
        assert_eq!(serde_json::from_str::<RetryPolicy>(&text).unwrap(), RetryPolicy::default());
        let unknown = serde_json::from_str::<RetryPolicy>(r#"{"errors":["slow"]}"#).unwrap_err();
        assert!(unknown.to_string().contains("there is no failure \"slow\""), "{unknown}");
    }
}
