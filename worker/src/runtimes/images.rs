//! The images themselves, as the engine has them. Only those with our labels are looked at.

use std::collections::HashMap;
use std::fs::File;
use std::io::Seek;
use std::time::Instant;

use bollard::Docker;
use bollard::query_parameters::{ListImagesOptions, RemoveImageOptions};
use domain::runtime::IMAGES;
use proto::message::RuntimeOrder;

use super::build::{self, Error};
use super::{Tools, layer};
use crate::sandbox;
use crate::sandbox::containers::{Containers, unnamed};

/// Says that it is one of these, in the place where a runner image says that it is a runner.
const LABEL_IMAGE: &str = "flowcell.image";
const RUNTIME: &str = "runtime";
/// What an image of ours was built from.
const LABEL_INPUTS: &str = "flowcell.inputs";
/// Whose it is: two clusters may share an engine.
const LABEL_CLUSTER: &str = "flowcell.runtime.cluster";
/// The runner image it was made of, by its digest.
const LABEL_BASE: &str = "flowcell.runtime.base";

#[derive(Debug)]
pub(super) struct Images {
    sandbox: Containers,
    cluster: String,
    images_max: usize,
    disk_bytes: u64,
}

impl Images {
    pub(super) fn of(tools: &Tools) -> Self {
        let config = &tools.config.runtimes;
        Self {
            sandbox: tools.sandbox.clone(),
            cluster: tools.config.cluster.clone(),
            images_max: usize::try_from(config.images_max).unwrap_or(usize::MAX),
            disk_bytes: config.disk_bytes,
        }
    }

    /// Whether the image is there, made of the runner image that now has the base's name.
    pub(super) async fn has(&self, order: &RuntimeOrder) -> Result<bool, Error> {
        let base = self.digest(&order.base).await?;
        let Ok(found) = self.docker().inspect_image(&order.image).await else { return Ok(false) };
        let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
        Ok(labels.get(LABEL_BASE) == Some(&base))
    }

    /// Whether the image with the installer is of the same build as the one that it installs for:
    /// its Python and its packages decide what fits.
    pub(super) async fn check_builder(&self, order: &RuntimeOrder) -> Result<(), Error> {
        let (base, builder) = (order.base.clone(), build::builder(&order.base));
        let (ours, its) = (self.inputs(&base).await?, self.inputs(&builder).await?);
        if ours == its { Ok(()) } else { Err(Error::OtherBuilder { base, builder }) }
    }

    async fn inputs(&self, image: &str) -> Result<Option<String>, Error> {
        let missing = |_| sandbox::Error::ImageMissing { image: image.to_owned() };
        let found = self.docker().inspect_image(image).await.map_err(missing)?;
        let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
        Ok(labels.get(LABEL_INPUTS).cloned())
    }

    /// Makes the image of an archive of packages.
    pub(super) async fn make(&self, order: &RuntimeOrder, archive: File) -> Result<(), Error> {
        let base = self.digest(&order.base).await?;
        let bytes_max = self.disk_bytes;
        let rewritten = tokio::task::spawn_blocking(move || {
            let mut layer = unnamed().map_err(layer::Error::Io)?;
            let from = std::io::BufReader::new(archive);
            let to = std::io::BufWriter::new(layer.try_clone().map_err(layer::Error::Io)?);
            layer::rewrite(from, to, bytes_max)?;
            layer.rewind().map_err(layer::Error::Io)?;
            Ok::<File, layer::Error>(layer)
        });
        let layer = rewritten
            .await
            .unwrap_or_else(|error| Err(layer::Error::Io(std::io::Error::other(error))))?;
        let labels = [
            (LABEL_IMAGE, RUNTIME),
            (LABEL_CLUSTER, self.cluster.as_str()),
            (LABEL_BASE, base.as_str()),
        ];
        let (repository, tag) = order.image.split_once(':').unwrap_or((IMAGES, "none"));
        // By its digest: the name may stand for another image by now.
        Ok(self.sandbox.layer(&base, layer, (repository, tag), &labels).await?)
    }

    /// Removes what is over the number that is kept, those last that were used last. The engine
    /// keeps what a container uses. Returns the names that are gone.
    pub(super) async fn remove_least_used(&self, used: &HashMap<String, Instant>) -> Vec<String> {
        let labels =
            [format!("{LABEL_IMAGE}={RUNTIME}"), format!("{LABEL_CLUSTER}={}", self.cluster)];
        let options = ListImagesOptions {
            filters: Some(HashMap::from([("label".to_owned(), labels.to_vec())])),
            ..ListImagesOptions::default()
        };
        let Ok(listed) = self.docker().list_images(Some(options)).await else { return Vec::new() };
        let named = listed
            .into_iter()
            .flat_map(|image| image.repo_tags.into_iter().map(move |name| (name, image.created)));
        let mut gone = Vec::new();
        for name in surplus(named.collect(), used, self.images_max) {
            let options = RemoveImageOptions { force: false, ..RemoveImageOptions::default() };
            match self.docker().remove_image(&name, Some(options), None).await {
                Ok(_) => gone.push(name),
                Err(error) => tracing::debug!(image = %name, %error, "a runtime stays"),
            }
        }
        gone
    }

    async fn digest(&self, image: &str) -> Result<String, Error> {
        let missing = || sandbox::Error::ImageMissing { image: image.to_owned() };
        let found = self.docker().inspect_image(image).await.map_err(|_| missing())?;
        Ok(found.id.ok_or_else(missing)?)
    }

    fn docker(&self) -> &Docker {
        self.sandbox.docker()
    }
}

/// The names over the number: first those that this process never used, by age.
fn surplus(
    mut images: Vec<(String, i64)>,
    used: &HashMap<String, Instant>,
    images_max: usize,
) -> Vec<String> {
    images.sort_by_key(|(name, created)| (used.get(name).copied(), *created));
    let surplus = images.len().saturating_sub(images_max);
    images.into_iter().take(surplus).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_used_last_is_kept_longest() {
        let now = Instant::now();
        let used =
            HashMap::from([("a".to_owned(), now), ("b".to_owned(), now + Duration::from_secs(1))]);
        let images = ["b", "a", "old", "older"].map(str::to_owned);
        let images: Vec<_> = images.into_iter().zip([4, 3, 2, 1]).collect();
        assert_eq!(surplus(images.clone(), &used, 3), ["older"]);
        assert_eq!(surplus(images.clone(), &used, 1), ["older", "old", "a"]);
        assert!(surplus(images, &used, 4).is_empty());
    }
}
