//! The archive of installed packages, read entry by entry and written anew.
//!
//! What comes out of the installing container is a stranger's word. Only ordinary files come
//! through, under one folder, owned by root, without any special right; anything else refuses the
//! whole archive.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use tar::{Archive, Builder, EntryType, Header};

/// Where the packages are in the image: what the runner image's `flowcell-packages.pth` names.
const FOLDER: &str = "opt/packages";
/// Longest path below it.
const PATH_BYTES_MAX: usize = 1_000;
/// Most files: a large machine-learning stack has fifty thousand.
const FILES_MAX: usize = 200_000;

/// Why an archive is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It cannot be read, or the copy not written.
    #[error("the archive of the packages cannot be read: {0}")]
    Io(#[from] io::Error),
    /// A link, a device, or a name that leads elsewhere.
    #[error("the packages hold something else than files: {0}")]
    Entry(String),
    /// Too much of it.
    #[error("the packages are larger than {0} bytes (worker.runtimes.disk_bytes)")]
    Large(u64),
    /// Too many of them.
    #[error("the packages have more than {FILES_MAX} files")]
    Many,
}

/// Copies an archive. Returns the bytes of its files.
pub(crate) fn rewrite(from: impl Read, to: impl Write, bytes_max: u64) -> Result<u64, Error> {
    let (mut archive, mut out) = (Archive::new(from), Builder::new(to));
    let mut folders = BTreeSet::new();
    // There even when nothing is: a runtime without packages of its own is one, too.
    folder(&mut out, &mut folders, Path::new(FOLDER))?;
    let (mut bytes, mut files) = (0_u64, 0_usize);
    for entry in archive.entries()? {
        let entry = entry?;
        let path = place(&entry.path()?)?;
        if entry.header().entry_type() != EntryType::Regular {
            return Err(Error::Entry(shown(&path)));
        }
        let size = entry.size();
        bytes = bytes.saturating_add(size);
        files += 1;
        if bytes > bytes_max {
            return Err(Error::Large(bytes_max));
        }
        if files > FILES_MAX {
            return Err(Error::Many);
        }
        if let Some(parent) = path.parent() {
            folder(&mut out, &mut folders, parent)?;
        }
        let mut header = plain(EntryType::Regular, 0o644);
        header.set_size(size);
        out.append_data(&mut header, &path, entry)?;
    }
    out.into_inner()?.flush()?;
    Ok(bytes)
}

/// The path in the image.
fn place(path: &Path) -> Result<PathBuf, Error> {
    let is_inside = path.components().all(|part| matches!(part, Component::Normal(_)))
        && path.components().next().is_some()
        && path.as_os_str().len() <= PATH_BYTES_MAX;
    if !is_inside {
        return Err(Error::Entry(shown(path)));
    }
    Ok(Path::new(FOLDER).join(path))
}

/// Entries for a folder and those that it is in, once each.
fn folder<W: Write>(
    out: &mut Builder<W>,
    known: &mut BTreeSet<PathBuf>,
    path: &Path,
) -> Result<(), Error> {
    let mut missing: Vec<&Path> =
        path.ancestors().take_while(|path| !known.contains(*path)).collect();
    // The last ones are the root, and `opt`, which the image has.
    missing.retain(|path| path.starts_with(FOLDER));
    for path in missing.into_iter().rev() {
        let mut header = plain(EntryType::Directory, 0o755);
        header.set_size(0);
        out.append_data(&mut header, path, io::empty())?;
        known.insert(path.to_owned());
    }
    Ok(())
}

fn plain(kind: EntryType, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    // The same packages give the same layer.
    header.set_mtime(0);
    header
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: &[(EntryType, &str, &[u8])]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (kind, path, content) in entries {
            let mut header = plain(*kind, 0o6777);
            header.set_size(content.len() as u64);
            // `append_data` refuses what an attacker would write.
            let name = &mut header.as_old_mut().name;
            name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_cksum();
            builder.append(&header, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn listed(bytes: &[u8]) -> Vec<(String, u32, u64)> {
        let mut archive = Archive::new(bytes);
        let entry = |entry: io::Result<tar::Entry<'_, &[u8]>>| {
            let entry = entry.unwrap();
            let header = entry.header();
            let path = entry.path().unwrap().display().to_string();
            (path, header.mode().unwrap(), header.uid().unwrap())
        };
        archive.entries().unwrap().map(entry).collect()
    }

    #[test]
    fn files_come_through_as_plain_files_of_root() {
        let deep = format!("pkg/{}.py", "x".repeat(90));
        let from = archive(&[
            (EntryType::Regular, "pkg/__init__.py", b"x = 1\n"),
            (EntryType::Regular, &deep, b""),
        ]);
        let mut to = Vec::new();
        assert_eq!(rewrite(&*from, &mut to, 100).unwrap(), 6);
        let found = listed(&to);
        let names: Vec<&str> = found.iter().map(|(name, ..)| name.as_str()).collect();
        let deep = format!("opt/packages/{deep}");
        let wanted =
            ["opt/packages", "opt/packages/pkg", "opt/packages/pkg/__init__.py", deep.as_str()];
        assert_eq!(names.iter().map(|name| name.trim_end_matches('/')).collect::<Vec<_>>(), wanted);
        assert!(found.iter().all(|(_, mode, uid)| mode & 0o7022 == 0 && *uid == 0), "{found:?}");
    }

    #[test]
    fn whatever_is_no_file_in_its_place_refuses_all() {
        for (kind, path) in [
            (EntryType::Regular, "../etc/passwd"),
            (EntryType::Regular, "/etc/passwd"),
            (EntryType::Regular, "pkg/../../x"),
            (EntryType::Symlink, "pkg/link"),
            (EntryType::Link, "pkg/link"),
            (EntryType::Char, "pkg/null"),
            (EntryType::Directory, "pkg"),
            (EntryType::Fifo, "pkg/pipe"),
        ] {
            let from = archive(&[(kind, path, b"")]);
            let refused = rewrite(&*from, io::sink(), 100);
            assert!(matches!(refused, Err(Error::Entry(_))), "{path}: {refused:?}");
        }
    }

    #[test]
    fn its_size_is_bounded_and_its_end_is_seen() {
        let from =
            archive(&[(EntryType::Regular, "a", &[0; 60]), (EntryType::Regular, "b", &[0; 60])]);
        assert!(matches!(rewrite(&*from, io::sink(), 100), Err(Error::Large(100))));
        assert!(matches!(rewrite(&from[..530], io::sink(), 100), Err(Error::Io(_))));
        assert_eq!(rewrite(io::empty(), io::sink(), 100).unwrap(), 0);
    }
}
