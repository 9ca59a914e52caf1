//! How many runs may be open at once.

use std::collections::BTreeMap;

use crate::id::{FlowId, KeyId, TenantId};

/// What runs are counted by. Every count is of one tenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LimitKey {
    /// All of the tenant's.
    Tenant,
    /// Those of a flow.
    Flow(FlowId),
    /// Those that an API key started.
    ApiKey(KeyId),
    /// Those that were started with this concurrency key.
    Custom(String),
}

/// A limit that a run counts against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunLimit {
    /// What is counted.
    pub key: LimitKey,
    /// Most runs of it that are open at once.
    pub most: u32,
}

/// Runs that are started and have not ended; those that wait for a person are not among them.
#[derive(Clone, Debug, Default)]
pub struct OpenRuns(BTreeMap<(TenantId, LimitKey), u32>);

impl OpenRuns {
    /// Notes so many open runs.
    pub fn note(&mut self, tenant: TenantId, key: LimitKey, runs: u32) {
        let count = self.0.entry((tenant, key)).or_default();
        *count = count.saturating_add(runs);
    }

    /// How many are open.
    #[must_use]
    pub fn count(&self, tenant: TenantId, key: &LimitKey) -> u32 {
        self.0.get(&(tenant, key.clone())).copied().unwrap_or(0)
    }

    /// Whether one more may be opened.
    ///
    /// # Errors
    /// The first limit that is reached.
    pub fn allows<'a>(&self, tenant: TenantId, limits: &'a [RunLimit]) -> Result<(), &'a RunLimit> {
        match limits.iter().find(|limit| self.count(tenant, &limit.key) >= limit.most) {
            Some(reached) => Err(reached),
            None => Ok(()),
        }
    }

    pub(super) fn add(&mut self, tenant: TenantId, limits: &[RunLimit]) {
        for limit in limits {
            self.note(tenant, limit.key.clone(), 1);
        }
    }
}
