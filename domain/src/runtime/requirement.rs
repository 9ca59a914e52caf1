//! Packages that a flow needs besides those of its runtime: names with versions, and nothing that
//! says where to get them from or how. That is the operator's to say.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Most requirements of a flow: what a component imports, not what that needs in turn.
pub const REQUIREMENTS_MAX: usize = 64;
/// Longest line: a name, versions and a few hashes.
const LINE_BYTES_MAX: usize = 500;
const NAME_BYTES_MAX: usize = 100;
const HASH: &str = "--hash=sha256:";
const HASH_DIGITS: usize = 64;
/// Longest first: `<` is the beginning of `<=`.
const OPERATORS: [&str; 7] = ["~=", "==", "!=", "<=", ">=", "<", ">"];

/// The requirements of a flow, each in one way of writing it, in order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Requirements(Vec<String>);

/// A line that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its number, from 1.
    pub line: usize,
    /// What it says, shortened.
    pub text: String,
    /// Why.
    pub reason: Reason,
}

/// Why a line is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// `--index-url …`, `-e …`, `-r …`.
    #[error("options are not taken: where packages come from is the operator's to say")]
    Option,
    /// `name @ https://…`, `git+https://…`.
    #[error("addresses are not taken: name a package of the operator's index")]
    Address,
    /// `./package`, `/tmp/package.whl`.
    #[error("paths are not taken: name a package of the operator's index")]
    Path,
    /// `; python_version < "3"`.
    #[error("conditions are not taken: there is one Python, the runtime's")]
    Marker,
    /// No name, or not one that a package can have.
    #[error("it does not begin with the name of a package")]
    Name,
    /// What follows the name.
    #[error("after the name only versions (`==1.2`, `>=1,<2`), extras and sha256 hashes are taken")]
    Version,
    /// A hash of several versions matches one of them at most.
    #[error("a hash needs one exact version (`==1.2.3`)")]
    HashWithoutVersion,
    /// Named twice.
    #[error("the package is named before")]
    Again,
    /// Longer than any honest line.
    #[error("it is longer than {LINE_BYTES_MAX} bytes")]
    Long,
    /// One too many.
    #[error("there are more than {REQUIREMENTS_MAX} requirements")]
    Many,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, {:?}: {}", self.line, self.text, self.reason)
    }
}

impl Requirements {
    /// Reads a requirements file.
    ///
    /// # Errors
    /// Every line that is refused.
    pub fn read<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Self, Vec<Refused>> {
        let mut named = BTreeMap::new();
        let mut refused = Vec::new();
        for (index, whole) in lines.into_iter().enumerate() {
            let line = without_comment(whole).trim();
            if line.is_empty() {
                continue;
            }
            let mut refuse = |reason| {
                let text = whole.chars().take(80).collect();
                refused.push(Refused { line: index + 1, text, reason });
            };
            match requirement(line) {
                Ok((name, _)) if named.contains_key(&name) => refuse(Reason::Again),
                Ok(_) if named.len() == REQUIREMENTS_MAX => {
                    refuse(Reason::Many);
                    break;
                }
                Ok((name, rest)) => {
                    named.insert(name, rest);
                }
                Err(reason) => refuse(reason),
            }
        }
        if !refused.is_empty() {
            return Err(refused);
        }
        Ok(Self(named.into_iter().map(|(name, rest)| name + &rest).collect()))
    }

    /// The lines.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.0
    }

    /// The lines as texts.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The name of a package as indexes compare it.
#[must_use]
pub fn normalised(name: &str) -> String {
    let parts = name.split(['-', '_', '.']).filter(|part| !part.is_empty());
    parts.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-")
}

/// A comment begins a line or follows a space: a `#` inside a word is part of it.
fn without_comment(line: &str) -> &str {
    match line.find('#') {
        Some(0) => "",
        Some(at) if line.get(..at).is_some_and(|before| before.ends_with([' ', '\t'])) => {
            line.get(..at).unwrap_or(line)
        }
        _ => line,
    }
}

/// The normalised name of a requirement, and what follows it.
fn requirement(line: &str) -> Result<(String, String), Reason> {
    if line.len() > LINE_BYTES_MAX {
        return Err(Reason::Long);
    }
    if line.starts_with('-') {
        return Err(Reason::Option);
    }
    let (what, hashes) = match line.find("--") {
        Some(at) => line.split_at(at),
        None => (line, ""),
    };
    if what.contains('@') || what.contains("://") || what.contains("git+") {
        return Err(Reason::Address);
    }
    if what.contains(['/', '\\']) || what.starts_with('.') || what.ends_with(".whl") {
        return Err(Reason::Path);
    }
    if what.contains(';') {
        return Err(Reason::Marker);
    }
    let end = what.find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)));
    let (name, rest) = what.split_at(end.unwrap_or(what.len()));
    let is_name = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.ends_with(|c: char| c.is_ascii_alphanumeric())
        && name.len() <= NAME_BYTES_MAX;
    if !is_name {
        return Err(Reason::Name);
    }
    let (extras, versions) = extras(rest.trim()).ok_or(Reason::Version)?;
    let versions = self::versions(versions).ok_or(Reason::Version)?;
    let hashes = self::hashes(hashes)?;
    let is_exact = versions.starts_with("==") && !versions.contains([',', '*']);
    if !hashes.is_empty() && !is_exact {
        return Err(Reason::HashWithoutVersion);
    }
    Ok((normalised(name), format!("{extras}{versions}{hashes}")))
}

/// `[a, B]` in one way of writing it, and what follows.
fn extras(text: &str) -> Option<(String, &str)> {
    let Some(inner) = text.strip_prefix('[') else { return Some((String::new(), text)) };
    let (inside, rest) = inner.split_once(']')?;
    let is_word = |word: &str| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    let mut words: Vec<String> = Vec::new();
    for word in inside.split(',').map(str::trim) {
        words.push(is_word(word).then(|| normalised(word))?);
    }
    words.sort();
    Some((format!("[{}]", words.join(",")), rest.trim()))
}

/// `>= 1, <2` in one way of writing it.
fn versions(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some(String::new());
    }
    let mut parts = Vec::new();
    for part in text.split(',').map(str::trim) {
        let operator = OPERATORS.iter().find(|operator| part.starts_with(**operator))?;
        let version = part.strip_prefix(operator)?.trim();
        let is_version = version.starts_with(|c: char| c.is_ascii_alphanumeric())
            && version.chars().all(|c| c.is_ascii_alphanumeric() || ".*+!-_".contains(c));
        parts.push(is_version.then(|| format!("{operator}{version}"))?);
    }
    parts.sort();
    Some(parts.join(","))
}

/// ` --hash=sha256:…` as often as it is there.
fn hashes(text: &str) -> Result<String, Reason> {
    let mut found = Vec::new();
    for word in text.split_whitespace() {
        let digits = word.strip_prefix(HASH).ok_or(Reason::Option)?;
        if digits.len() != HASH_DIGITS || !digits.chars().all(|c| c.is_ascii_hexdigit()) {
            return Err(Reason::Version);
        }
        found.push(format!(" {HASH}{}", digits.to_ascii_lowercase()));
    }
    found.sort();
    Ok(found.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<String>, Vec<Refused>> {
        Requirements::read(text.lines()).map(|found| found.0)
    }

    #[test]
    fn a_list_has_one_way_of_writing_it() {
        let text = "# what the parser needs\n\nHumanize >= 4 , <5  # people\nzope.interface[Test, docs]==6.0\n";
        assert_eq!(read(text).unwrap(), ["humanize<5,>=4", "zope-interface[docs,test]==6.0"]);
        let hash = "A".repeat(64);
        let one = read(&format!("six==1.17.0 --hash=sha256:{hash}")).unwrap();
        assert_eq!(one, [format!("six==1.17.0 --hash=sha256:{}", hash.to_lowercase())]);
        assert_eq!(read("").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn nothing_says_where_packages_come_from() {
        let hash = "--hash=sha256:".to_owned() + &"0".repeat(64);
        for (line, reason) in [
            ("--index-url https://evil.example/simple", Reason::Option),
            ("-i https://evil.example/simple", Reason::Option),
            ("-e .", Reason::Option),
            ("-r other.txt", Reason::Option),
            ("six --index-url https://evil.example", Reason::Option),
            ("six==1 --config-settings=x", Reason::Option),
            ("six @ https://evil.example/six.whl", Reason::Address),
            ("https://evil.example/six.whl", Reason::Address),
            ("git+ssh://evil.example/six", Reason::Address),
            ("file:///etc/passwd", Reason::Address),
            ("./six", Reason::Path),
            ("/tmp/six", Reason::Path),
            ("six.whl", Reason::Path),
            ("..\\six", Reason::Path),
            ("six ; python_version < '3'", Reason::Marker),
            ("!six", Reason::Name),
            ("six-", Reason::Name),
            ("six 1.0", Reason::Version),
            ("six === 1.0", Reason::Version),
            ("six==1.0 evil", Reason::Version),
            ("six[a", Reason::Version),
            ("six[]", Reason::Version),
            ("six==", Reason::Version),
            ("six==$(id)", Reason::Version),
            ("six==1.0\\", Reason::Path),
            ("six==1 --hash=sha256:12", Reason::Version),
            (&format!("six>=1 {hash}"), Reason::HashWithoutVersion),
            (&format!("six==1.* {hash}"), Reason::HashWithoutVersion),
            (&"x".repeat(600), Reason::Long),
        ] {
            let refused = read(line).unwrap_err();
            assert_eq!(refused.iter().map(|r| r.reason).collect::<Vec<_>>(), [reason], "{line}");
        }
    }

    #[test]
    fn every_refused_line_is_named() {
        let refused = read("six\n\n-e x\nSIX==1\n").unwrap_err();
        let texts: Vec<String> = refused.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), 2);
        assert!(texts[0].starts_with("line 3, \"-e x\": options"), "{texts:?}");
        assert_eq!(texts[1], "line 4, \"SIX==1\": the package is named before");
        let many: Vec<String> = (0..=REQUIREMENTS_MAX).map(|n| format!("p{n}")).collect();
        assert_eq!(read(&many.join("\n")).unwrap_err()[0].reason, Reason::Many);
    }
}
