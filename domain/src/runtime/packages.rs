//! A runtime with a flow's own packages: an image that workers build where they lack it.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Needs, Requirements, Runtimes};
use crate::id::TenantId;

/// Where such images are named. Their cells never share a process with another tenant's.
pub const IMAGES: &str = "flowcell/runtime";
/// Digits of a name: 128 bits.
const NAME_DIGITS: usize = 32;

/// The runtime of a flow version with packages of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packaged<'a> {
    /// The image's name: the same for the same tenant, runner image and requirements.
    pub image: String,
    /// The runner image that the packages are added to.
    pub base: &'a str,
    /// What is added.
    pub requirements: &'a Requirements,
}

/// What became of such an image, in the whole cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BuildState {
    /// A run waits for it, and no worker has begun.
    Queued,
    /// A worker builds it.
    Building,
    /// At least one worker has it.
    Ready,
    /// It could not be built.
    Failed,
}

impl BuildState {
    /// Its name, as in its serialised form.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Building => "building",
            Self::Ready => "ready",
            Self::Failed => "failed",
        }
    }

    /// The state of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Queued, Self::Building, Self::Ready, Self::Failed]
            .into_iter()
            .find(|state| state.name() == name)
    }
}

impl Runtimes {
    /// The image with the packages that a version lists; nothing when it lists none.
    #[must_use]
    pub fn packaged<'a>(&'a self, tenant: TenantId, needs: &'a Needs) -> Option<Packaged<'a>> {
        let requirements = &needs.requirements;
        if requirements.is_empty() {
            return None;
        }
        let base = self.choose(needs).image;
        let mut digest = Sha256::new();
        // Each part ends where no part can go on.
        for part in [tenant.to_string().as_str(), base].into_iter().chain(requirements.texts()) {
            digest.update(part);
            digest.update([0]);
        }
        let digits = digest.finalize();
        let digits: String = digits.iter().map(|byte| format!("{byte:02x}")).collect();
        let name = digits.get(..NAME_DIGITS).unwrap_or(&digits);
        Some(Packaged { image: format!("{IMAGES}:{name}"), base, requirements })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn needs(lines: &[&str]) -> Needs {
        let requirements = Requirements::read(lines.iter().copied()).unwrap();
        Needs { requirements, ..Needs::default() }
    }

    #[test]
    fn an_image_is_named_by_all_that_decides_over_it() {
        let (a, b) = (TenantId(Uuid::from_u128(1)), TenantId(Uuid::from_u128(2)));
        let runtimes = Runtimes::default();
        let image = |runtimes: &Runtimes, tenant, lines: &[&str]| {
            runtimes.packaged(tenant, &needs(lines)).unwrap().image
        };
        let one = image(&runtimes, a, &["six", "humanize==4.0"]);
        assert_eq!(one, image(&runtimes, a, &["Humanize == 4.0", "# people", "six"]));
        assert!(one.starts_with("flowcell/runtime:") && one.len() == IMAGES.len() + 33, "{one}");
        for other in [
            image(&runtimes, b, &["six", "humanize==4.0"]),
            image(&runtimes, a, &["six"]),
            image(&Runtimes::only("another"), a, &["six", "humanize==4.0"]),
        ] {
            assert_ne!(one, other);
        }
        assert_eq!(runtimes.packaged(a, &Needs::default()), None);
    }

    #[test]
    fn states_have_one_name() {
        for state in ["queued", "building", "ready", "failed"] {
            let named = BuildState::named(state).unwrap();
            assert_eq!(serde_json::to_value(named).unwrap(), state);
        }
        assert_eq!(BuildState::named("lost"), None);
    }
}
