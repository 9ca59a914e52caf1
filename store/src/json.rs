//! JSON columns and the hash of JSON content.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::error::Error;

/// The text of a column.
pub(crate) fn to_text<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("our own types and JSON values always serialise")
}

/// The value of a column; `what` names it if it cannot be read.
pub(crate) fn from_text<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|_| Error::Corrupt { what })
}

/// The value of a column that may be empty.
pub(crate) fn from_optional<T: DeserializeOwned>(
    what: &'static str,
    text: Option<&str>,
) -> Result<Option<T>, Error> {
    text.map(|text| from_text(what, text)).transpose()
}

/// A hash of the content, whatever the order of its keys.
pub(crate) fn fingerprint(parts: &[&Value]) -> Vec<u8> {
    let mut digest = Sha256::new();
    for part in parts {
        let text = to_text(&sorted(part));
        // The length keeps two parts from running into each other.
        digest.update(text.len().to_le_bytes());
        digest.update(text);
    }
    digest.finalize().to_vec()
}

/// Nesting is bounded: `serde_json` reads at most 128 levels.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(key, _)| *key);
            Value::Object(members.into_iter().map(|(key, v)| (key.clone(), sorted(v))).collect())
        }
        scalar => scalar.clone(),
    }
}

/// A text column: Postgres cannot store the character NUL.
pub(crate) fn storable(field: &'static str, text: &str) -> Result<(), Error> {
    if text.contains('\0') {
        return Err(Error::Invalid { field, why: "contains a NUL character" });
    }
    Ok(())
}

/// The same for a text that may be missing.
pub(crate) fn storable_optional(field: &'static str, text: Option<&str>) -> Result<(), Error> {
    text.map_or(Ok(()), |text| storable(field, text))
}

/// The hexadecimal form of a hash.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        for nibble in [byte >> 4, byte & 0xf] {
            text.extend(char::from_digit(u32::from(nibble), 16));
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_fingerprint_ignores_the_order_of_keys_and_nothing_else() {
        let value = json!({"a": 1, "b": [{"c": 2, "d": null}]});
        let other: Value = serde_json::from_str(r#"{"b":[{"d":null,"c":2}],"a":1}"#).unwrap();
        assert_eq!(fingerprint(&[&value]), fingerprint(&[&other]));
        let changed = json!({"a": 1, "b": [{"c": 2}]});
        assert_ne!(fingerprint(&[&value]), fingerprint(&[&changed]));
        assert_ne!(fingerprint(&[&json!(1), &json!(2)]), fingerprint(&[&json!(12)]));
    }

    #[test]
    fn hexadecimal() {
        assert_eq!(hex(&[0, 0x1f, 0xff]), "001fff");
    }
}
