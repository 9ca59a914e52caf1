//! Which of several values of a limit holds.
//!
//! ```text
//! value    platform ◀ tenant ◀ flow          the nearest to the flow that sets it
//! ceiling  platform's maximum, tenant's maximum: the lower one; the value is lowered to it
//! ```
//! A worker lowers what comes out once more, to what its machine gives.

use super::{CellLimits, Overrides, Setting};

/// What is set for a tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantLimits {
    /// What its flows get when they set nothing themselves.
    pub limits: Overrides,
    /// The most that its flows may have.
    pub maximum: Overrides,
}

/// Everything that is set for the cells of a flow.
#[derive(Clone, Copy, Debug)]
pub struct Layers<'a> {
    /// What holds where nobody sets anything.
    pub platform: &'a CellLimits,
    /// The most that anybody may have.
    pub platform_max: &'a CellLimits,
    /// What is set for the tenant.
    pub tenant: &'a TenantLimits,
    /// What is set for the flow; empty when it is about the tenant alone.
    pub flow: &'a Overrides,
}

/// Who set a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody: the platform's default.
    Platform,
    /// The tenant's settings.
    Tenant,
    /// The flow's settings.
    Flow,
}

/// The most that a limit may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ceiling {
    /// The value.
    pub value: u64,
    /// Whose it is: the platform's or the tenant's.
    pub source: Source,
}

/// What holds for one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effective {
    /// The value.
    pub value: u64,
    /// Who set it.
    pub source: Source,
    /// Whether it was set higher and is lowered to the ceiling.
    pub is_lowered: bool,
    /// The ceiling.
    pub ceiling: Ceiling,
}

impl Source {
    /// Its name in answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::Tenant => "tenant",
            Self::Flow => "flow",
        }
    }
}

impl Layers<'_> {
    /// What holds for a limit.
    #[must_use]
    pub fn effective(&self, setting: Setting) -> Effective {
        let (asked, source) = match (self.flow.get(setting), self.tenant.limits.get(setting)) {
            (Some(value), _) => (value, Source::Flow),
            (None, Some(value)) => (value, Source::Tenant),
            (None, None) => (setting.of(self.platform), Source::Platform),
        };
        let ceiling = self.ceiling(setting);
        let value = asked.min(ceiling.value);
        Effective { value, source, is_lowered: value < asked, ceiling }
    }

    /// All limits, as a run gets them.
    #[must_use]
    pub fn limits(&self) -> CellLimits {
        let mut limits = self.platform.clone();
        for setting in Setting::ALL {
            setting.put(&mut limits, self.effective(setting).value);
        }
        limits
    }

    /// The most that a limit of the tenant's flows may be.
    #[must_use]
    pub fn ceiling(&self, setting: Setting) -> Ceiling {
        let platform = setting.of(self.platform_max);
        match self.tenant.maximum.get(setting).filter(|value| *value < platform) {
            Some(value) => Ceiling { value, source: Source::Tenant },
            None => Ceiling { value: platform, source: Source::Platform },
        }
    }

    /// The most that a user of the tenant may set for a flow: the tenant's maximum, or what the
    /// tenant's flows get anyhow when it has none. Only an operator's word raises a limit.
    #[must_use]
    pub fn users_ceiling(&self, setting: Setting) -> u64 {
        let ceiling = self.ceiling(setting).value;
        if self.tenant.maximum.get(setting).is_some() {
            return ceiling;
        }
        let tenants = self.tenant.limits.get(setting);
        tenants.unwrap_or_else(|| setting.of(self.platform)).min(ceiling)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(values: &[(Setting, u64)]) -> Overrides {
        values.iter().copied().collect()
    }

    #[test]
    fn the_nearest_value_holds_below_the_lowest_ceiling() {
        let (platform, platform_max) = (CellLimits::default(), CellLimits::most());
        let tenant = TenantLimits {
            limits: set(&[(Setting::Pids, 50), (Setting::WallMs, 5_000), (Setting::CpuMs, 900)]),
            maximum: set(&[(Setting::Pids, 60), (Setting::CpuMs, 700), (Setting::FramesMax, 20)]),
        };
        let flow = set(&[(Setting::Pids, 70), (Setting::TokensMax, u64::MAX)]);
        let (tenant, flow) = (&tenant, &flow);
        let layers = Layers { platform: &platform, platform_max: &platform_max, tenant, flow };
        let found = |setting| {
            let found = layers.effective(setting);
            let ceiling = found.ceiling;
            (found.value, found.source, found.is_lowered, ceiling.value, ceiling.source)
        };
        let day = 24 * 60 * 60 * 1_000;
        assert_eq!(found(Setting::Pids), (60, Source::Flow, true, 60, Source::Tenant));
        assert_eq!(found(Setting::WallMs), (5_000, Source::Tenant, false, day, Source::Platform));
        assert_eq!(found(Setting::CpuMs), (700, Source::Tenant, true, 700, Source::Tenant));
        assert_eq!(found(Setting::FramesMax), (20, Source::Platform, true, 20, Source::Tenant));
        let tokens = (10_000_000, Source::Flow, true, 10_000_000, Source::Platform);
        assert_eq!(found(Setting::TokensMax), tokens);
        let expected = CellLimits {
            pids: 60,
            wall_ms: 5_000,
            cpu_ms: 700,
            frames_max: 20,
            tokens_max: 10_000_000,
            ..CellLimits::default()
        };
        assert_eq!(layers.limits(), expected);
    }

    #[test]
    fn a_user_goes_as_high_as_the_tenant_and_no_higher() {
        let (platform, platform_max) = (CellLimits::default(), CellLimits::most());
        let tenant = TenantLimits {
            limits: set(&[(Setting::Pids, 50), (Setting::FramesMax, 30)]),
            maximum: set(&[(Setting::FramesMax, 40)]),
        };
        let flow = Overrides::default();
        let (tenant, flow) = (&tenant, &flow);
        let layers = Layers { platform: &platform, platform_max: &platform_max, tenant, flow };
        assert_eq!(layers.users_ceiling(Setting::Pids), 50);
        assert_eq!(layers.users_ceiling(Setting::FramesMax), 40);
        assert_eq!(layers.users_ceiling(Setting::CpuMillis), 2_000);
    }
}
