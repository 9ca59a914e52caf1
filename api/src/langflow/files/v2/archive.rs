//! Several files in one archive, under names that every system can unpack.

use std::collections::BTreeSet;
use std::io::{Cursor, Write};

use store::{File, Tenant};
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

use super::super::{names, send};
use crate::error::{Error, internal};

/// Most bytes of a name in an archive.
const NAME_BYTES_MAX: usize = 255;

/// The archive, uncompressed as Langflow's.
pub(super) async fn of(tenant: &Tenant, files: &[File]) -> Result<Vec<u8>, Error> {
    let failed = |error: &dyn std::error::Error| internal("writing an archive", error);
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut used = BTreeSet::new();
    for file in files {
        let bytes = send::content(tenant, file).await?;
        let name = free(file, &mut used);
        writer.start_file(name, options).map_err(|error| failed(&error))?;
        writer.write_all(&bytes).map_err(|error| failed(&error))?;
    }
    let written = writer.finish().map_err(|error| failed(&error))?;
    Ok(written.into_inner())
}

/// A name that no entry has yet, whatever the case of its letters.
fn free(file: &File, used: &mut BTreeSet<String>) -> String {
    let extension = names::suffix(&file.path_name);
    let mut name = portable(&file.name, "", extension);
    let mut duplicate = 0;
    while !used.insert(name.to_lowercase()) {
        duplicate += 1;
        name = portable(&file.name, &format!("_{}_{duplicate}", file.id), extension);
    }
    name
}

fn portable(name: &str, mark: &str, extension: &str) -> String {
    let plain = |text: &str| {
        let plain = |c: char| match c {
            '\\' | '/' | '<' | '>' | ':' | '"' | '|' | '?' | '*' => '_',
            c if c.is_control() => '_',
            c => c,
        };
        text.chars().map(plain).collect::<String>().replace("..", "_")
    };
    let tail = format!("{mark}{}", plain(extension));
    let mut stem = plain(name).trim_matches([' ', '.']).to_owned();
    let room = NAME_BYTES_MAX.saturating_sub(tail.len());
    while stem.len() > room {
        stem.pop();
    }
    let stem = if stem.is_empty() { "file" } else { &stem };
    format!("{stem}{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_portable() {
        assert_eq!(portable("a/b:c", "", ".txt"), "a_b_c.txt");
        assert_eq!(portable("..", "", ".txt"), "_.txt");
        assert_eq!(portable(" . ", "", ".txt"), "file.txt");
        assert_eq!(portable(&"é".repeat(200), "_1", ".txt").len(), 254);
    }
}
