//! Configuration is read once, from a TOML file and then from the environment, into one typed
//! struct; unknown keys are refused so that a typing error cannot silently mean a default.

use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Env, Format, Toml};
use serde::de::DeserializeOwned;

/// Environment variables that begin so belong to the configuration; `__` separates levels:
/// `FLOWCELL_CONFIG__WORKER__SLOTS=4` sets `worker.slots`.
pub const ENV_PREFIX: &str = "FLOWCELL_CONFIG__";

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file that was named does not exist.
    #[error("configuration file {0} does not exist")]
    Missing(PathBuf),
    /// A value is wrong or a key unknown; the text names key and place.
    #[error("configuration is invalid: {0}")]
    Invalid(Box<figment::Error>),
}

/// Reads `file` (if one is given, it must exist) and then the environment into `T`.
///
/// # Errors
/// [`Error`] names the file, or the key and where its value came from.
pub fn load<T: DeserializeOwned>(file: Option<&Path>) -> Result<T, Error> {
    let mut figment = Figment::new();
    if let Some(file) = file {
        if !file.is_file() {
            return Err(Error::Missing(file.to_owned()));
        }
        figment = figment.merge(Toml::file_exact(file));
    }
    figment
        .merge(Env::prefixed(ENV_PREFIX).split("__"))
        .extract()
        .map_err(|error| Error::Invalid(Box::new(error)))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Settings {
        slots: u32,
    }

    impl Default for Settings {
        fn default() -> Self {
            Self { slots: 2 }
        }
    }

    fn from(text: &str) -> Result<Settings, Error> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("flowcell.toml");
        std::fs::write(&file, text).unwrap();
        load(Some(&file))
    }

    #[test]
    fn defaults_hold_where_nothing_is_said() {
        assert_eq!(from("").unwrap().slots, 2);
        assert_eq!(from("slots = 5").unwrap().slots, 5);
    }

    #[test]
    fn a_wrong_key_is_named() {
        let error = from("slotz = 5").unwrap_err().to_string();
        assert!(error.contains("slotz"), "{error}");
    }

    #[test]
    fn a_missing_file_is_an_error() {
        let error = load::<Settings>(Some(Path::new("/nowhere.toml"))).unwrap_err();
        assert!(matches!(error, Error::Missing(_)));
    }
}
