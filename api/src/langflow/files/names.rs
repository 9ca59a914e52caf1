//! Which names files may have, and which they get.

use std::ops::RangeInclusive;

use domain::files::NAME_BYTES_MAX;

use crate::error::Error;

/// Marks that are not seen but change what is read: Unicode's categories Cf, Zl and Zp.
const UNSEEN: [RangeInclusive<char>; 20] = [
    '\u{ad}'..='\u{ad}',
    '\u{600}'..='\u{605}',
    '\u{61c}'..='\u{61c}',
    '\u{6dd}'..='\u{6dd}',
    '\u{70f}'..='\u{70f}',
    '\u{890}'..='\u{891}',
    '\u{8e2}'..='\u{8e2}',
    '\u{180e}'..='\u{180e}',
    '\u{200b}'..='\u{200f}',
    '\u{2028}'..='\u{202e}',
    '\u{2060}'..='\u{2064}',
    '\u{2066}'..='\u{206f}',
    '\u{feff}'..='\u{feff}',
    '\u{fff9}'..='\u{fffb}',
    '\u{110bd}'..='\u{110bd}',
    '\u{110cd}'..='\u{110cd}',
    '\u{13430}'..='\u{1343f}',
    '\u{1bca0}'..='\u{1bca3}',
    '\u{1d173}'..='\u{1d17a}',
    '\u{e0001}'..='\u{e007f}',
];

const DEVICES: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];

/// Refuses what is no plain name, in Langflow's words.
pub(super) fn check(name: &str) -> Result<(), Error> {
    let refused = |text: &str| Err(Error::Refused(text.to_owned()));
    let is_bad = |c: char| {
        matches!(c, '/' | '\\' | '\0' | '\n' | '\r')
            || UNSEEN.iter().any(|range| range.contains(&c))
    };
    if name.is_empty() || name.contains("..") || name.chars().any(is_bad) {
        return refused(
            "Invalid file name: paths, '..', NUL, CR/LF, and unsafe Unicode formatting are \
             forbidden.",
        );
    }
    if name.len() > NAME_BYTES_MAX {
        return refused("File name is too long. Maximum 255 bytes allowed.");
    }
    if name == "." {
        return refused("Invalid file name after sanitization");
    }
    if is_device(name) {
        let text = format!("Invalid file name. '{name}' is a reserved system name.");
        return Err(Error::Refused(text));
    }
    Ok(())
}

/// A name of Langflow's first routes, which is only kept from being a path.
pub(super) fn check_segment(name: &str) -> Result<(), Error> {
    if name.contains("..") || name.contains(['/', '\\']) {
        let text = "Invalid file name. Use a simple file name without directory paths or '..'.";
        return Err(Error::Refused(text.to_owned()));
    }
    Ok(())
}

/// What Windows takes for a device, whatever follows.
fn is_device(name: &str) -> bool {
    let word = name.split([' ', '.']).next().unwrap_or_default().to_uppercase();
    let is_numbered = ["COM", "LPT"].iter().any(|prefix| {
        let mut rest = word.strip_prefix(prefix).unwrap_or_default().chars();
        rest.next().is_some_and(|c| c.is_ascii_digit() || "¹²³".contains(c))
            && rest.next().is_none()
    });
    DEVICES.contains(&word.as_str()) || is_numbered
}

/// The part before the last dot and the part after it.
pub(super) fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('.').unwrap_or((name, ""))
}

/// The last dot and what follows, where Python sees an extension: not at either end.
pub(super) fn suffix(name: &str) -> &str {
    match name.rfind('.') {
        Some(dot) if dot > 0 && dot + 1 < name.len() => name.get(dot..).unwrap_or_default(),
        _ => "",
    }
}

/// A root that no other file has: Langflow counts all files whose names begin alike.
pub(super) fn free_root<'a>(root: &str, taken: impl Iterator<Item = &'a str>) -> String {
    let begins = root.to_lowercase();
    let alike: Vec<&str> = taken.filter(|name| name.to_lowercase().starts_with(&begins)).collect();
    if alike.is_empty() {
        return root.to_owned();
    }
    let highest = alike.into_iter().filter_map(number).max().unwrap_or(0);
    format!("{root} ({})", highest.saturating_add(1))
}

/// The number in brackets at the end of a name.
fn number(name: &str) -> Option<u64> {
    let inside = name.strip_suffix(')')?.rsplit_once('(')?.1;
    inside.bytes().all(|byte| byte.is_ascii_digit()).then(|| inside.parse().ok())?
}

/// The name of a file with this root.
pub(super) fn joined(root: &str, extension: &str) -> String {
    if extension.is_empty() { root.to_owned() } else { format!("{root}.{extension}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_are_taken_and_others_refused() {
        for name in ["a.txt", "Zoë 🦀.csv", ".hidden", "a", "console.txt", "com.txt", "COM10"] {
            assert!(check(name).is_ok(), "{name}");
        }
        let long = "x".repeat(256);
        let refused =
            ["", "..", "a/b", "a\\b", "a\0", "a\nb", "a\u{202e}b", "CON", "nul.txt", "lpt¹", &long];
        for name in refused {
            assert!(check(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_taken_name_gets_the_next_number() {
        let free = |root, taken: &[&str]| free_root(root, taken.iter().copied());
        assert_eq!(free("a", &[]), "a");
        assert_eq!(free("a", &["b"]), "a");
        assert_eq!(free("a", &["a"]), "a (1)");
        assert_eq!(free("a", &["a", "a (4)"]), "a (5)");
        assert_eq!(free("a", &["abc"]), "a (1)");
    }

    #[test]
    fn extensions_are_pythons() {
        let all = ["a.txt", "a.b.c", ".a", "a.", "a"].map(suffix);
        assert_eq!(all, [".txt", ".c", "", "", ""]);
    }
}
