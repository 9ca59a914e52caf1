//! How a new run takes its turn: what it asks for, what is set for its flow and tenant, and how
//! many of the tenant's runs wait already.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use domain::admission::TenantSettings;
use domain::id::TenantId;
use store::{Tenant, Turn};

use crate::app::App;
use crate::auth::Principal;
use crate::error::Error;

/// How old a count of waiting runs may be. Runs that this process accepts meanwhile are added.
const COUNT_AGE_MAX: Duration = Duration::from_secs(1);

/// Tenants whose count is kept; beyond it all are counted anew.
const COUNTS_MAX: usize = 10_000;

/// How many runs of each tenant wait, as far as this process knows.
#[derive(Debug, Default)]
pub(crate) struct Backlogs(Mutex<HashMap<TenantId, Count>>);

#[derive(Clone, Copy, Debug)]
struct Count {
    at: Instant,
    runs: u32,
}

/// The turn of a new run. Whether it is one too many is only said here: a repetition of an earlier
/// request is answered all the same.
pub(crate) async fn take(
    app: &App,
    principal: &Principal,
    of_tenant: &TenantSettings,
    asked: Turn,
) -> Result<Turn, Error> {
    let tenant = app.tenant(principal);
    let TenantSettings { queued_max, runs_per_minute, .. } = *of_tenant;
    let most = queued_max.unwrap_or(app.config.queued_runs_max).min(app.config.queued_runs_max);
    let waiting = app.backlogs.add_one(&tenant, most).await?;
    Ok(Turn {
        full_at: (waiting > most).then_some(most),
        api_key: principal.key,
        per_minute: runs_per_minute,
        ..asked
    })
}

impl Backlogs {
    /// How many wait with one more. When a count is too old, whoever notices it first counts anew,
    /// and the others go on with the old one: in a flood they would all count at once.
    async fn add_one(&self, tenant: &Tenant, most: u32) -> Result<u32, Error> {
        let is_known = match self.counts().get_mut(&tenant.id()) {
            Some(count) if count.is_fresh() => {
                count.runs = count.runs.saturating_add(1);
                return Ok(count.runs);
            }
            Some(count) => {
                count.at = Instant::now();
                true
            }
            None => false,
        };
        let count = Count { at: Instant::now(), runs: tenant.queued_runs(most).await? };
        let mut counts = self.counts();
        if counts.len() >= COUNTS_MAX {
            counts.clear();
        }
        let kept = counts.entry(tenant.id()).or_insert(count);
        if is_known {
            *kept = count;
        }
        kept.runs = kept.runs.saturating_add(1);
        Ok(kept.runs)
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, HashMap<TenantId, Count>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Count {
    fn is_fresh(&self) -> bool {
        self.at.elapsed() < COUNT_AGE_MAX
    }
}
