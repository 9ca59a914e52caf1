//! How client commands on the same machine find the embedded server: a file that only its owner
//! can read.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// URL and API key of a local server.
#[derive(Clone)]
pub(crate) struct Credentials {
    /// Base URL.
    pub(crate) url: String,
    /// API key.
    pub(crate) api_key: String,
}

impl Credentials {
    /// The file inside a server's data folder.
    pub(crate) fn file(data_dir: &Path) -> PathBuf {
        data_dir.join("client.env")
    }

    /// What the file says, if there is one.
    pub(crate) fn read(data_dir: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(Self::file(data_dir)).ok()?;
        let value = |name: &str| {
            text.lines()
                .find_map(|line| {
                    line.strip_prefix("export ")?.strip_prefix(name)?.strip_prefix('=')
                })
                .map(|value| value.trim_matches('\'').to_owned())
        };
        Some(Self { url: value("FLOWCELL_URL")?, api_key: value("FLOWCELL_API_KEY")? })
    }

    /// Writes the file anew, mode 0600, in one step.
    pub(crate) fn write(&self, data_dir: &Path) -> Result<()> {
        write_private(&Self::file(data_dir), &self.exports())
    }

    /// Shell exports.
    pub(crate) fn exports(&self) -> String {
        format!("export FLOWCELL_URL='{}'\nexport FLOWCELL_API_KEY='{}'\n", self.url, self.api_key)
    }
}

/// Writes a file that only its owner can read, in one step.
pub(crate) fn write_private(file: &Path, text: &str) -> Result<()> {
    let draft = file.with_extension("new");
    // What an interrupted call left behind; there is usually nothing.
    let _ = std::fs::remove_file(&draft);
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut open| open.write_all(text.as_bytes()))
        .and_then(|()| std::fs::rename(&draft, file))
        .with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_file_round_trips_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Credentials::read(dir.path()).is_none());
        let written = Credentials { url: "http://127.0.0.1:1".into(), api_key: "sk-x".into() };
        written.write(dir.path()).unwrap();
        written.write(dir.path()).unwrap();
        let read = Credentials::read(dir.path()).unwrap();
        assert_eq!((read.url.as_str(), read.api_key.as_str()), ("http://127.0.0.1:1", "sk-x"));
        let mode = std::fs::metadata(Credentials::file(dir.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
