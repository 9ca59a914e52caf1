//! Which files the values of a cell name.
//!
//! A flow names an uploaded file as `<owner>/<name>`, or, in values that other cells made, by the
//! path that it has in a container. Only a text that is such a name as a whole counts: a component
//! that builds a name from parts asks for what nobody gave it.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde_json::Value;
use uuid::Uuid;

/// Where files are in a container: what lfx takes for its storage.
pub const FOLDER: &str = "/tmp/.lfx";

/// Longest name of a file, in bytes: what file systems take.
pub const NAME_BYTES_MAX: usize = 255;

/// A file by owner and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilePath {
    /// The user or flow.
    pub owner: Uuid,
    /// One segment of a path, never empty.
    pub name: String,
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

/// A text that is no path of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no path of a file: <owner>/<name>")]
pub struct NotAPath;

impl FromStr for FilePath {
    type Err = NotAPath;

    fn from_str(text: &str) -> Result<Self, NotAPath> {
        let (owner, name) = text.split_once('/').ok_or(NotAPath)?;
        let owner = owner.parse().map_err(|_| NotAPath)?;
        let is_segment = !name.is_empty()
            && name.len() <= NAME_BYTES_MAX
            && name != "."
            && !name.contains("..")
            && !name.contains(['/', '\\', '\0']);
        if is_segment { Ok(Self { owner, name: name.to_owned() }) } else { Err(NotAPath) }
    }
}

/// What values name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    files: BTreeSet<FilePath>,
    /// Owners all of whose files are named, by the path of their folder.
    folders: BTreeSet<Uuid>,
}

impl Named {
    /// Whether this file is named, itself or with its folder.
    #[must_use]
    pub fn has(&self, path: &FilePath) -> bool {
        self.files.contains(path) || self.has_folder(path.owner)
    }

    /// Whether all files of this owner are named.
    #[must_use]
    pub fn has_folder(&self, owner: Uuid) -> bool {
        self.folders.contains(&owner)
    }

    /// Adds a file.
    pub fn add(&mut self, path: FilePath) {
        self.files.insert(path);
    }

    /// Adds what the texts in a value name.
    pub fn learn(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.learn_text(text),
            Value::Array(items) => items.iter().for_each(|item| self.learn(item)),
            Value::Object(members) => members.values().for_each(|member| self.learn(member)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Adds what a text names.
    pub fn learn_text(&mut self, text: &str) {
        let inside = text.strip_prefix(FOLDER).and_then(|rest| rest.strip_prefix('/'));
        if let Ok(path) = inside.unwrap_or(text).parse() {
            self.files.insert(path);
        } else if let Some(folder) = inside
            && let Ok(owner) = folder.trim_end_matches('/').parse()
        {
            self.folders.insert(owner);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const OWNER: &str = "4b5ea31d-0a44-431e-b734-40fc64dee354";

    fn named(value: &Value) -> Vec<String> {
        let mut named = Named::default();
        named.learn(value);
        let files = named.files.iter().map(ToString::to_string);
        files.chain(named.folders.iter().map(|folder| format!("{folder}/*"))).collect()
    }

    #[test]
    fn texts_that_are_paths_name_files() {
        let value = json!({
            "path": [format!("{OWNER}/a.txt"), {"deep": format!("/tmp/.lfx/{OWNER}/ü b.png")}],
            "other": ["plain", 7, null, OWNER, format!("see {OWNER}/c.txt")],
        });
        assert_eq!(named(&value), [format!("{OWNER}/a.txt"), format!("{OWNER}/ü b.png")]);
    }

    #[test]
    fn a_folder_is_named_by_its_full_path_only() {
        for text in [format!("/tmp/.lfx/{OWNER}"), format!("/tmp/.lfx/{OWNER}/")] {
            assert_eq!(named(&json!(text)), [format!("{OWNER}/*")]);
        }
        for text in ["/tmp/.lfx", "/tmp/.lfx/", "/tmp/.lfx/x"] {
            assert!(named(&json!(text)).is_empty(), "{text}");
        }
        let mut all = Named::default();
        all.learn_text(&format!("/tmp/.lfx/{OWNER}"));
        assert!(all.has(&format!("{OWNER}/any").parse().unwrap()));
        assert!(!all.has(&format!("{}/any", Uuid::nil()).parse().unwrap()));
    }

    #[test]
    fn what_leads_elsewhere_is_no_path() {
        let long = "x".repeat(256);
        for name in ["", ".", "..", "../x", "a/../b", "a/b", "a\\b", "a\0b", &long] {
            assert_eq!(format!("{OWNER}/{name}").parse::<FilePath>(), Err(NotAPath), "{name:?}");
        }
        for text in ["a.txt", "x/a.txt", "/a.txt", "../a"] {
            assert_eq!(text.parse::<FilePath>(), Err(NotAPath), "{text:?}");
        }
    }
}
