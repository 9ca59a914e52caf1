//! Which images containers may be made of.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

pub(crate) use domain::runtime::IMAGES as RUNTIMES;
use serde::Deserialize;

use crate::engine::{Engine, Failure};
use crate::refusal::{Refusal, must};

/// Digests that are remembered; there are a few runner images.
const KNOWN_MAX: usize = 1_024;

/// The repositories of runner images, and the digests that were seen under them. An image that was
/// built anew loses its name while cells are still made of it.
#[derive(Debug)]
pub(crate) struct Images {
    repositories: Vec<String>,
    known: Mutex<HashSet<String>>,
}

/// Whose an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The operator's.
    Runner,
    /// Made here, with packages of a flow.
    Runtime,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    config: Option<ImageConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ImageConfig {
    #[serde(default)]
    labels: Option<std::collections::HashMap<String, String>>,
}

impl Images {
    pub(crate) fn new(repositories: Vec<String>) -> Self {
        Self { repositories, known: Mutex::default() }
    }

    /// Of a name with a tag.
    pub(crate) fn named(&self, name: &str) -> Result<Origin, Refusal> {
        let (repository, tag) = name.rsplit_once(':').unwrap_or((name, "latest"));
        must(is_tag(tag), "image", "an image is named by a repository and a tag")?;
        if repository == RUNTIMES {
            return Ok(Origin::Runtime);
        }
        let known = self.repositories.iter().any(|allowed| allowed == repository);
        must(known, "image", "cells are made of runner images only (--image)")?;
        Ok(Origin::Runner)
    }

    /// Of a name or a digest. An unknown digest is answered as if there were none: a worker then
    /// goes back to the name.
    pub(crate) async fn origin(&self, engine: &Engine, image: &str) -> Result<Origin, Failure> {
        if !image.starts_with("sha256:") {
            let origin = self.named(image)?;
            if origin == Origin::Runner {
                self.learn(engine, image).await?;
            }
            return Ok(origin);
        }
        let digits = image.strip_prefix("sha256:").unwrap_or_default();
        let plain = digits.len() == 64 && digits.chars().all(|c| c.is_ascii_hexdigit());
        must(plain, "image", "a digest has 64 digits")?;
        if self.lock().contains(image) {
            return Ok(Origin::Runner);
        }
        self.learn(engine, image).await?;
        if self.lock().contains(image) {
            return Ok(Origin::Runner);
        }
        Err(Refusal::missing("image", "No such image: no runner image has this digest").into())
    }

    /// Remembers the digest of what has a runner image's name now.
    async fn learn(&self, engine: &Engine, image: &str) -> Result<(), Failure> {
        let Some(found) = engine.get::<Inspected>(&format!("/images/{image}/json")).await? else {
            return Ok(());
        };
        let tags = found.repo_tags.unwrap_or_default();
        let is_runner = |tag: &String| matches!(self.named(tag), Ok(Origin::Runner));
        if tags.iter().any(is_runner) {
            let mut known = self.lock();
            if known.len() >= KNOWN_MAX {
                known.clear();
            }
            known.insert(found.id);
        }
        Ok(())
    }

    /// Whether an image with packages is one of this cluster's.
    pub(crate) async fn is_ours(
        engine: &Engine,
        image: &str,
        cluster: &str,
    ) -> Result<bool, Failure> {
        let found = engine.get::<Inspected>(&format!("/images/{image}/json")).await?;
        let labels = found.and_then(|found| found.config).and_then(|config| config.labels);
        let labels = labels.unwrap_or_default();
        Ok(labels.get("flowcell.runtime.cluster").is_some_and(|found| found == cluster))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A tag, as registries allow it.
pub(crate) fn is_tag(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    (1..=128).contains(&text.len()) && !text.starts_with(['.', '-']) && text.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_configured_repositories_are_images() {
        let images = Images::new(vec!["flowcell/runner".into()]);
        assert_eq!(images.named("flowcell/runner:lfx-1.13"), Ok(Origin::Runner));
        assert_eq!(images.named("flowcell/runner"), Ok(Origin::Runner));
        assert_eq!(images.named("flowcell/runtime:0abc"), Ok(Origin::Runtime));
        for other in [
            "debian:bookworm",
            "evil/flowcell/runner:1",
            "flowcell/runner:1@sha256:00",
            "flowcell/runner2:1",
            "FLOWCELL/runner:1",
            "flowcell/runner:../1",
            "",
        ] {
            assert!(images.named(other).is_err(), "{other}");
        }
    }
}
