//! The folder in which everything of a drill is.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// Paths of Unix sockets are short, and the cells' lie below this folder.
const PATH_BYTES_MAX: usize = 48;

#[derive(Debug)]
pub(crate) struct Home {
    path: PathBuf,
    /// Goes with its value.
    temporary: Option<TempDir>,
}

impl Home {
    /// The folder that was asked for, which must be new or empty, or a temporary one.
    pub(crate) fn new(asked: Option<&Path>) -> Result<Self> {
        let home = match asked {
            Some(path) => Self::at(path)?,
            None => {
                let temporary = tempfile::Builder::new().prefix("fcdrill-").tempdir_in("/tmp")?;
                Self { path: temporary.path().to_owned(), temporary: Some(temporary) }
            }
        };
        // Postgres' own user has to find its folder below; secrets are in private ones.
        fs::set_permissions(&home.path, fs::Permissions::from_mode(0o711))?;
        fs::create_dir_all(home.logs())?;
        Ok(home)
    }

    fn at(path: &Path) -> Result<Self> {
        let path = std::path::absolute(path)?;
        ensure!(
            path.as_os_str().len() <= PATH_BYTES_MAX,
            "{} is too long: sockets lie below it, so at most {PATH_BYTES_MAX} bytes",
            path.display()
        );
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        ensure!(
            fs::read_dir(&path)?.next().is_none(),
            "{} is not empty: name a folder that is new or empty",
            path.display()
        );
        Ok(Self { path, temporary: None })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    /// Leaves a temporary folder behind, for somebody to look at.
    pub(crate) fn keep(self) -> PathBuf {
        if let Some(temporary) = self.temporary {
            return temporary.keep();
        }
        self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_something_in_it_is_refused() {
        let dir = tempfile::Builder::new().prefix("d").tempdir_in("/tmp").unwrap();
        drop(Home::new(Some(&dir.path().join("new"))).unwrap());
        let error = Home::new(Some(dir.path())).unwrap_err().to_string();
        assert!(error.contains("is not empty"), "{error}");
        let long = dir.path().join("x".repeat(PATH_BYTES_MAX));
        let error = Home::new(Some(&long)).unwrap_err().to_string();
        assert!(error.contains("too long"), "{error}");
    }
}
