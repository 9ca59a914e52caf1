//! The runtimes that an operator has. Each field's comment is its entry in the manual.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Minor, Needs};

/// The runtime that this release was made with.
const OWN: Minor = Minor::new(1, 13);
const OWN_IMAGE: &str = "flowcell/runner:lfx-1.13";

/// Which image a flow version runs in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Runtimes {
    /// The minor version of Langflow whose runtime flows get that name no version, or one without
    /// an image here.
    pub default: Minor,
    /// Runner images by the minor version of Langflow whose exports they run.
    pub images: BTreeMap<Minor, String>,
    /// Whether flows may have packages of their own, which workers then build into images.
    pub build: Build,
}

/// Whether flows may have packages of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Build {
    /// No: a missing package is an error.
    #[default]
    Off,
    /// Those that the flow's owner lists.
    Listed,
    /// Those that the flow's owner lists; where nothing is listed, those that the components name
    /// in their export and the runtime lacks. Whoever writes an export then chooses what is
    /// installed from the index.
    Derived,
}

/// Why the settings are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The default has no image.
    #[error("runtimes.default is {0}, and runtimes.images has none for it")]
    Default(Minor),
    /// An image without a name.
    #[error("runtimes.images names no image for {0}")]
    Unnamed(Minor),
}

/// The runtime of a flow version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runtime<'a> {
    /// The minor version of Langflow whose exports it is for.
    pub langflow: Minor,
    /// Its image.
    pub image: &'a str,
}

impl Default for Runtimes {
    fn default() -> Self {
        Self { default: OWN, images: [(OWN, OWN_IMAGE.to_owned())].into(), build: Build::Off }
    }
}

impl Runtimes {
    /// Only one runtime, whatever a flow asks for.
    #[must_use]
    pub fn only(image: impl Into<String>) -> Self {
        Self { images: [(OWN, image.into())].into(), ..Self::default() }
    }

    /// Checks what types cannot.
    ///
    /// # Errors
    /// The first setting that cannot work.
    pub fn validate(&self) -> Result<(), SettingsError> {
        if !self.images.contains_key(&self.default) {
            return Err(SettingsError::Default(self.default));
        }
        match self.images.iter().find(|(_, image)| image.trim().is_empty()) {
            Some((minor, _)) => Err(SettingsError::Unnamed(*minor)),
            None => Ok(()),
        }
    }

    /// The runtime of a version with these needs.
    #[must_use]
    pub fn choose(&self, needs: &Needs) -> Runtime<'_> {
        let own = needs.langflow.and_then(|minor| Some((minor, self.images.get(&minor)?)));
        let default = || (self.default, self.images.get(&self.default));
        match own.map_or_else(default, |(minor, image)| (minor, Some(image))) {
            (langflow, Some(image)) => Runtime { langflow, image },
            // Refused by `validate`.
            (langflow, None) => Runtime { langflow, image: OWN_IMAGE },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(langflow: Option<Minor>) -> Needs {
        Needs { langflow, ..Needs::default() }
    }

    #[test]
    fn a_flow_gets_the_runtime_of_its_minor_version_where_there_is_one() {
        let old = Minor::new(1, 12);
        let mut runtimes = Runtimes::default();
        runtimes.images.insert(old, "runner:old".to_owned());
        runtimes.validate().unwrap();
        let image = |asked| runtimes.choose(&needs(asked)).image;
        assert_eq!(image(Some(old)), "runner:old");
        for asked in [None, Some(OWN), Some(Minor::new(1, 4)), Some(Minor::new(2, 0))] {
            assert_eq!(image(asked), OWN_IMAGE, "{asked:?}");
        }
        runtimes.default = old;
        assert_eq!(runtimes.choose(&needs(None)), Runtime { langflow: old, image: "runner:old" });
    }

    #[test]
    fn a_default_without_an_image_is_refused() {
        let default = Minor::new(1, 12);
        let wrong = Runtimes { default, ..Runtimes::default() };
        assert_eq!(wrong.validate(), Err(SettingsError::Default(default)));
        let unnamed = Runtimes { images: [(OWN, " ".to_owned())].into(), ..Runtimes::default() };
        assert_eq!(unnamed.validate(), Err(SettingsError::Unnamed(OWN)));
    }

    #[test]
    fn settings_are_read_from_names_of_versions() {
        let text = r#"{"default": "1.12", "images": {"1.12": "a", "1.13": "b"}}"#;
        let read: Runtimes = serde_json::from_str(text).unwrap();
        assert_eq!(read.choose(&needs(Some(OWN))).image, "b");
        let error = serde_json::from_str::<Runtimes>(r#"{"default": "1.13.0"}"#).unwrap_err();
        assert!(error.to_string().contains("1.13.0"), "{error}");
    }
}
