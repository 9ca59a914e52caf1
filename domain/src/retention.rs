//! How long what a run leaves behind is kept.

use std::time::Duration;

use serde::Deserialize;

use crate::time::Timestamp;

/// What holds for a tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Days from the end of a run until it is removed; 0 keeps runs for ever.
    pub runs_days: u32,
    /// Whether the chat messages of a run go with it.
    pub messages: bool,
}

/// What is set for a tenant; what is `None` is as for the installation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// See [`Retention::runs_days`].
    pub runs_days: Option<u32>,
    /// See [`Retention::messages`].
    pub messages: Option<bool>,
}

/// `[retention]` of the settings.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Days from the end of a run until it is removed with its tasks, attempts, results,
    /// connections and event log, for tenants that have no number of their own; 0 keeps runs for
    /// ever.
    pub runs_days: u32,
    /// Whether the chat messages of a run go with it. Chat history outlives runs otherwise, as in
    /// Langflow.
    pub messages: bool,
    /// How often a scheduler looks for runs to remove, in milliseconds.
    pub every_ms: u64,
    /// Most runs that are removed in a second. It is also never more than a fifth of one database
    /// connection's time.
    pub runs_per_s_max: u32,
}

/// The longest retention that can be set: a hundred years, so that no sum of times overflows.
pub const RUNS_DAYS_MAX: u32 = 36_500;

/// What is wrong with the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Longer than can be set.
    #[error("retention.runs_days is {0}; set 0 (for ever) to {RUNS_DAYS_MAX}")]
    RunsDays(u32),
    /// No run would ever be removed.
    #[error("retention.runs_per_s_max is 0; to keep runs for ever, set retention.runs_days = 0")]
    RunsPerS,
    /// A scheduler would look all the time.
    #[error("retention.every_ms is 0; set at least 1")]
    Every,
}

const DAY: Duration = Duration::from_secs(86_400);

impl Default for Settings {
    fn default() -> Self {
        Self { runs_days: 0, messages: false, every_ms: 300_000, runs_per_s_max: 200 }
    }
}

impl Settings {
    /// Whether the values can work.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn validate(&self) -> Result<(), SettingsError> {
        if self.runs_days > RUNS_DAYS_MAX {
            return Err(SettingsError::RunsDays(self.runs_days));
        }
        if self.runs_per_s_max == 0 {
            return Err(SettingsError::RunsPerS);
        }
        if self.every_ms == 0 {
            return Err(SettingsError::Every);
        }
        Ok(())
    }

    /// What holds for a tenant with this set for it.
    #[must_use]
    pub fn of(&self, set: Overrides) -> Retention {
        Retention {
            runs_days: set.runs_days.unwrap_or(self.runs_days).min(RUNS_DAYS_MAX),
            messages: set.messages.unwrap_or(self.messages),
        }
    }
}

impl Retention {
    /// Runs that ended before this are to be removed; `None` when runs are kept for ever.
    #[must_use]
    pub fn ended_before(&self, now: Timestamp) -> Option<Timestamp> {
        (self.runs_days > 0).then(|| now - DAY * self.runs_days)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    #[test]
    fn runs_are_kept_for_ever_unless_a_number_of_days_is_set() {
        let settings = Settings::default();
        assert_eq!(settings.of(Overrides::default()).ended_before(NOW), None);
        let own = Overrides { runs_days: Some(2), messages: None };
        let two_days_ago = Timestamp(NOW.millis() - 2 * 86_400_000);
        assert_eq!(settings.of(own).ended_before(NOW), Some(two_days_ago));
    }

    #[test]
    fn a_tenant_s_own_values_hold_one_by_one() {
        let settings = Settings { runs_days: 30, messages: true, ..Settings::default() };
        let days = Overrides { runs_days: Some(0), messages: None };
        assert_eq!(settings.of(days), Retention { runs_days: 0, messages: true });
        let messages = Overrides { runs_days: None, messages: Some(false) };
        assert_eq!(settings.of(messages), Retention { runs_days: 30, messages: false });
    }

    #[test]
    fn values_that_cannot_work_are_refused() {
        let days = Settings { runs_days: RUNS_DAYS_MAX + 1, ..Settings::default() };
        assert_eq!(days.validate(), Err(SettingsError::RunsDays(36_501)));
        let rate = Settings { runs_per_s_max: 0, ..Settings::default() };
        assert_eq!(rate.validate(), Err(SettingsError::RunsPerS));
        let every = Settings { every_ms: 0, ..Settings::default() };
        assert_eq!(every.validate(), Err(SettingsError::Every));
        assert_eq!(Settings::default().validate(), Ok(()));
    }
}
