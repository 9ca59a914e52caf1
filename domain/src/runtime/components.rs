//! The components that a runtime ships, as far as this program knows them: of each its code's
//! SHA-256 and the names of its fields. `scripts/stock-components` writes the list anew.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::Minor;

/// `SHA256 FIELD,FIELD,… TYPE`, sorted. A type may have spaces.
const LIST: &str = include_str!("components-1.13.txt");
/// Of which runtime.
const LISTED: Minor = Minor::new(1, 13);

/// A component of a runtime.
#[derive(Debug)]
pub(super) struct Shipped {
    /// The SHA-256 of its code, in hexadecimal digits.
    pub(super) digest: &'static str,
    /// Its fields, without its code.
    pub(super) fields: Vec<&'static str>,
}

/// The components of a runtime, by type; none when no list of them is known.
pub(super) fn of(minor: Minor) -> Option<&'static BTreeMap<&'static str, Shipped>> {
    static LISTED_ONES: LazyLock<BTreeMap<&'static str, Shipped>> = LazyLock::new(read);
    (minor == LISTED).then(|| &*LISTED_ONES)
}

fn read() -> BTreeMap<&'static str, Shipped> {
    let line = |line: &'static str| {
        let mut words = line.splitn(3, ' ');
        let (digest, fields, kind) = (words.next()?, words.next()?, words.next()?);
        let fields = fields.split(',').filter(|field| !field.is_empty()).collect();
        Some((kind, Shipped { digest, fields }))
    };
    LIST.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_list_is_read() {
        let listed = of(LISTED).unwrap();
        assert_eq!(listed.len(), LIST.lines().count());
        assert!(listed.values().all(|shipped| shipped.digest.len() == 64));
        assert!(listed.get("ChatInput").unwrap().fields.contains(&"input_value"));
        assert!(of(Minor::new(1, 4)).is_none());
    }
}
