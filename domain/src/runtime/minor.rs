//! A minor version of Langflow, which is one of lfx: `lfx` X.Y runs what Langflow X.Y exported.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Two numbers, ordered as versions are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Minor {
    major: u16,
    minor: u16,
}

/// A text that names no minor version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no version of Langflow: write it as \"1.13\"")]
pub struct NotAMinor(String);

impl Minor {
    /// The version `major.minor`.
    #[must_use]
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }

    /// The minor version of a version as exports write it (`1.10.1`, `1.13.0.dev3`).
    #[must_use]
    pub fn of(version: &str) -> Option<Self> {
        let mut parts = version.trim().trim_start_matches('v').split('.');
        let major = parts.next()?.parse().ok()?;
        let minor = parts.next()?;
        let digits = minor.len() - minor.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        Some(Self { major, minor: minor.get(..digits)?.parse().ok()? })
    }
}

impl fmt::Display for Minor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for Minor {
    type Err = NotAMinor;

    fn from_str(text: &str) -> Result<Self, NotAMinor> {
        // Exactly as it is shown: `1.13.0` beside `1.13` would be two names of one runtime.
        Self::of(text).filter(|found| found.to_string() == text).ok_or(NotAMinor(text.to_owned()))
    }
}

impl TryFrom<String> for Minor {
    type Error = NotAMinor;

    fn try_from(text: String) -> Result<Self, NotAMinor> {
        text.parse()
    }
}

impl From<Minor> for String {
    fn from(minor: Minor) -> Self {
        minor.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_exports_say_is_read() {
        for (text, minor) in [
            ("1.10.1", Some(Minor::new(1, 10))),
            ("1.13", Some(Minor::new(1, 13))),
            ("1.13.0.dev3", Some(Minor::new(1, 13))),
            ("1.2rc1", Some(Minor::new(1, 2))),
            ("v1.4.2", Some(Minor::new(1, 4))),
            ("1", None),
            ("", None),
            ("latest", None),
            ("1.99999999", None),
        ] {
            assert_eq!(Minor::of(text), minor, "{text}");
        }
    }

    #[test]
    fn versions_are_ordered_by_number_and_have_one_name() {
        assert!(Minor::new(1, 9) < Minor::new(1, 13));
        assert_eq!("1.13".parse(), Ok(Minor::new(1, 13)));
        assert!("1.13.0".parse::<Minor>().is_err() && "01.13".parse::<Minor>().is_err());
    }
}
