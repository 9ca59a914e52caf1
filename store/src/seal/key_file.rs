//! The file of the key-encryption key.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use uuid::Uuid;
use zeroize::Zeroizing;

use super::KeyEncryptionKey;

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// Others may read the file.
    #[error("the key file {path} has mode {mode:04o}: only its owner may access it (0600)")]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file holds something else than 32 bytes.
    #[error("the key file {path} does not hold exactly 32 bytes")]
    WrongLength {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("could not read the key file {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The file cannot be made.
    #[error("could not create the key file {path}")]
    Create {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
}

impl KeyEncryptionKey {
    /// Reads the key from a file of 32 bytes that only its owner may access.
    ///
    /// # Errors
    /// [`KeyFileError`] when the file is missing, too open or of another length.
    pub fn load(path: &Path) -> Result<Self, KeyFileError> {
        let at = || path.to_path_buf();
        let mut file =
            File::open(path).map_err(|source| KeyFileError::Read { path: at(), source })?;
        let mode =
            file.metadata().map_err(|source| KeyFileError::Read { path: at(), source })?.mode()
                & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeyFileError::TooOpen { path: at(), mode });
        }
        // One byte more than the key: a longer file must not pass for its beginning.
        let mut bytes = Zeroizing::new([0; 33]);
        let length = read_fully(&mut file, bytes.as_mut_slice())
            .map_err(|source| KeyFileError::Read { path: at(), source })?;
        match bytes.split_first_chunk::<32>() {
            Some((key, _)) if length == 32 => Ok(Self::from_bytes(*key)),
            _ => Err(KeyFileError::WrongLength { path: at() }),
        }
    }

    /// Reads the key, or makes a random one when there is no file yet. Several processes may do
    /// this at once: one file is made, and none of them sees a part of it.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn load_or_create(path: &Path) -> Result<Self, KeyFileError> {
        match Self::load(path) {
            Err(KeyFileError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => {
                create(path)
                    .map_err(|source| KeyFileError::Create { path: path.to_path_buf(), source })?;
                Self::load(path)
            }
            loaded => loaded,
        }
    }
}

/// Writes a new key beside the path, makes it durable, and links it to the path unless somebody
/// was faster. A key that encrypted something must never be lost to a power cut.
fn create(path: &Path) -> std::io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let draft = directory.join(format!(".key-{}", Uuid::new_v4().simple()));
    let written = write(&draft, &KeyEncryptionKey::generate()).and_then(|()| {
        match std::fs::hard_link(&draft, path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        }
    });
    let removed = match std::fs::remove_file(&draft) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    };
    written?;
    removed?;
    File::open(directory)?.sync_all()
}

fn write(path: &Path, key: &KeyEncryptionKey) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(key.0.as_slice())?;
    file.sync_all()
}

fn read_fully(file: &mut File, bytes: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    while let Some(rest) = bytes.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read(rest)? {
            0 => break,
            read => length += read,
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_first_start_makes_a_private_file_and_later_ones_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kek");
        let made = KeyEncryptionKey::load_or_create(&path).unwrap();
        let read = KeyEncryptionKey::load_or_create(&path).unwrap();
        assert_eq!(made.0, read.0);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn starts_at_the_same_time_agree_on_one_key() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kek");
        let keys: Vec<_> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| KeyEncryptionKey::load_or_create(&path).unwrap()))
                .collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| key.0 == keys[0].0));
    }

    #[test]
    fn an_open_file_and_a_wrong_length_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kek");
        KeyEncryptionKey::load_or_create(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let refused = KeyEncryptionKey::load_or_create(&path).unwrap_err();
        assert!(matches!(refused, KeyFileError::TooOpen { mode: 0o640, .. }), "{refused}");
        for length in [0, 31, 33] {
            let path = directory.path().join(format!("kek-{length}"));
            std::fs::write(&path, vec![1; length]).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            let refused = KeyEncryptionKey::load_or_create(&path).unwrap_err();
            assert!(matches!(refused, KeyFileError::WrongLength { .. }), "{refused}");
        }
    }
}
