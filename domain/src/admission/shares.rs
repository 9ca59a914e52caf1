//! Virtual times: what each tenant has had of a queue's slots.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Held, WEIGHT};
use crate::id::TenantId;
use crate::time::Timestamp;

/// Time between two rounds that is charged at most. After a longer one, nobody looked, and what is
/// held now says nothing about it.
const GAP_MAX: Duration = Duration::from_secs(10);

/// Virtual times in microseconds of one slot at the usual weight.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    /// When the last round was.
    pub at: Timestamp,
    /// The present: the smallest virtual time of those who took part in the last round.
    pub present: u64,
    /// Those who took part in the last round, and others who are still ahead of the present.
    pub known: BTreeMap<TenantId, u64>,
}

impl Shares {
    /// A tenant's virtual time.
    #[must_use]
    pub fn of(&self, tenant: TenantId) -> u64 {
        self.known.get(&tenant).copied().unwrap_or(self.present)
    }

    /// Charges everybody for the slots that they had since the last round, moves the present to the one
    /// who had least of it, and lets in who is new: from now on, whatever was before.
    pub(super) fn advance(
        &mut self,
        now: Timestamp,
        held: &BTreeMap<TenantId, Held>,
        active: &BTreeSet<TenantId>,
        weight: impl Fn(TenantId) -> u32,
    ) {
        if active.is_empty() {
            // Nobody had to wait for what the others took.
            self.present = self.known.values().copied().fold(self.present, u64::max);
            self.known.clear();
            return;
        }
        let gap = now.since(self.at).min(GAP_MAX);
        let gap_ms = u32::try_from(gap.as_millis()).unwrap_or(u32::MAX);
        self.at = self.at.max(now);
        for (tenant, held) in held {
            if self.known.contains_key(tenant) {
                self.charge(*tenant, gap_ms.saturating_mul(held.in_slots), weight(*tenant));
            }
        }
        let took_part = self.known.iter().filter(|(tenant, _)| active.contains(tenant));
        if let Some(least) = took_part.map(|(_, virtual_time)| *virtual_time).min() {
            self.present = self.present.max(least);
        }
        let present = self.present;
        self.known.retain(|tenant, time| active.contains(tenant) || *time > present);
        for tenant in active {
            self.known.entry(*tenant).or_insert(present);
        }
    }

    /// Charges a tenant for time in a slot.
    pub(super) fn charge(&mut self, tenant: TenantId, slot_ms: u32, weight: u32) {
        let usual = u64::from(WEIGHT) * 1_000;
        let cost = u64::from(slot_ms).saturating_mul(usual) / u64::from(weight.max(1));
        let charged = self.of(tenant).saturating_add(cost);
        self.known.insert(tenant, charged);
    }
}
