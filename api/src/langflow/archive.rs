//! Unpacking an uploaded archive, with the amount decided before the first byte: what an archive
//! says about its own sizes is not believed.

use std::io::{Cursor, Read};

use zip::ZipArchive;

use crate::error::Error;

/// How much an archive may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes of all entries together, unpacked.
    pub(super) bytes_max: usize,
    /// Entries.
    pub(super) entries_max: usize,
}

/// Whether the bytes begin as a ZIP archive does.
pub(super) fn is_archive(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06")
}

/// The JSON files of an archive with their names, in its order.
pub(super) fn unpack(bytes: &[u8], limits: &Limits) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let broken = |_| Error::Refused("the archive cannot be read".to_owned());
    // The list of entries is inside the bytes that were uploaded, so it is bounded by them.
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
    if archive.len() > limits.entries_max {
        return Err(Error::BodyTooLarge);
    }
    let mut left = limits.bytes_max;
    let mut files = Vec::new();
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(broken)?;
        let name = entry.name().map_err(broken)?.into_owned();
        let is_hidden = name.starts_with("__MACOSX/") || name.contains("/.");
        if entry.is_dir() || is_hidden || !name.to_lowercase().ends_with(".json") {
            continue;
        }
        // One byte more than allowed tells that there is more.
        let mut text = Vec::new();
        let most = u64::try_from(left).unwrap_or(u64::MAX).saturating_add(1);
        let unreadable = |_| Error::Refused("the archive cannot be read".to_owned());
        entry.take(most).read_to_end(&mut text).map_err(unreadable)?;
        left = left.checked_sub(text.len()).ok_or(Error::BodyTooLarge)?;
        files.push((name, text));
    }
    if files.is_empty() {
        return Err(Error::Refused("No valid flow JSON files found in the ZIP".to_owned()));
    }
    Ok(files)
}
