//! An edge's ends: read from `edge.data`, or from the old text form when that is missing.

use serde_json::{Map, Value};

use super::json;
use super::types::normalise;

/// Where an edge begins.
pub(super) struct Source {
    /// The output; absent only in the oldest exports.
    pub(super) output: Option<String>,
    /// Types, as written.
    pub(super) types: Vec<String>,
    /// The oldest exports list classes instead of types and are checked by other rules.
    pub(super) is_legacy: bool,
}

/// Where an edge ends.
pub(super) struct Target {
    /// The field, or the output of a loop.
    pub(super) field: String,
    /// Types that the field takes, as written.
    pub(super) input_types: Vec<String>,
    /// The field's own type.
    pub(super) kind: Option<String>,
    /// Whether it leads back into an output of a loop.
    pub(super) is_feedback: bool,
}

/// Fills `data.sourceHandle` and `data.targetHandle` from the text handles where they are missing.
pub(super) fn complete(edge: &mut Value) {
    let Some(edge) = edge.as_object_mut() else {
        return;
    };
    for name in ["sourceHandle", "targetHandle"] {
        let present = edge.get("data").and_then(|data| data.get(name));
        if present.is_some_and(Value::is_object) {
            continue;
        }
        let text = present.and_then(Value::as_str).or_else(|| edge.get(name)?.as_str());
        let Some(handle) = text.and_then(parse) else {
            continue;
        };
        let data = edge.entry("data").or_insert_with(|| Value::Object(Map::new()));
        if !data.is_object() {
            *data = Value::Object(Map::new());
        }
        if let Some(data) = data.as_object_mut() {
            data.insert(name.to_owned(), handle);
        }
    }
}

/// `œ` stands for a quotation mark, so that the editor can keep the handle in an attribute.
fn parse(text: &str) -> Option<Value> {
    serde_json::from_str(&text.replace('œ', "\"")).ok().filter(Value::is_object)
}

impl Source {
    /// Reads the handle; the error is the property and what it must be.
    pub(super) fn read(edge: &Value) -> Result<Self, (&'static str, &'static str)> {
        let handle = edge
            .pointer("/data/sourceHandle")
            .filter(|handle| handle.is_object())
            .ok_or(("data.sourceHandle", "an object"))?;
        let data_type = json::text(handle, "dataType")
            .ok_or(("data.sourceHandle.dataType", "the type of the component"))?;
        let list = |key: &str| match handle.get(key) {
            None => Some(Vec::new()),
            Some(types) => json::texts(types),
        };
        let classes =
            list("baseClasses").ok_or(("data.sourceHandle.baseClasses", "an array of types"))?;
        let types =
            list("output_types").ok_or(("data.sourceHandle.output_types", "an array of types"))?;
        let mut output = json::text(handle, "name").map(str::to_owned);
        if data_type == "GroupNode" {
            // The handle of a group whose outputs have no proxies reads `<node id>_<output>`.
            let name = output.as_deref().and_then(|name| name.split_once('_'));
            let name = name.ok_or(("data.sourceHandle.name", "`<node>_<output>` for a group"))?;
            output = Some(name.1.to_owned());
        }
        let is_legacy = !classes.is_empty();
        Ok(Self { output, types: if is_legacy { classes } else { types }, is_legacy })
    }
}

impl Target {
    /// Reads the handle; the error is the property and what it must be.
    pub(super) fn read(edge: &Value) -> Result<Self, (&'static str, &'static str)> {
        let handle = edge
            .pointer("/data/targetHandle")
            .filter(|handle| handle.is_object())
            .ok_or(("data.targetHandle", "an object"))?;
        if handle.get("name").is_some() {
            // The far end of a loop's body has the shape of an output, because it ends at one.
            let types = handle.get("output_types").and_then(json::texts);
            return Ok(Self {
                field: json::text(handle, "name")
                    .ok_or(("data.targetHandle.name", "the name of an output"))?
                    .to_owned(),
                input_types: types
                    .ok_or(("data.targetHandle.output_types", "an array of types"))?,
                kind: None,
                is_feedback: true,
            });
        }
        let field = json::text(handle, "fieldName")
            .ok_or(("data.targetHandle.fieldName", "the name of a field"))?;
        let input_types = match handle.get("inputTypes") {
            None => Vec::new(),
            Some(types) => {
                json::texts(types).ok_or(("data.targetHandle.inputTypes", "an array of types"))?
            }
        };
        let kind = match handle.get("type") {
            None => None,
            Some(Value::String(kind)) => Some(kind.clone()),
            Some(_) => return Err(("data.targetHandle.type", "a type name")),
        };
        Ok(Self { field: field.to_owned(), input_types, kind, is_feedback: false })
    }
}

/// Types under today's names, without repetition.
pub(super) fn normalised(types: &[String]) -> Vec<String> {
    let mut list: Vec<String> = Vec::new();
    for name in types.iter().map(|name| normalise(name)) {
        if !list.iter().any(|known| known == name) {
            list.push(name.to_owned());
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_the_text_form() {
        let mut edge = json!({
            "source": "A", "target": "B",
            "sourceHandle": "{œdataTypeœ: œAœ, œidœ: œAœ, œnameœ: œoutœ, œoutput_typesœ: [œDataœ]}",
            "targetHandle": "{œfieldNameœ: œinœ, œidœ: œBœ, œinputTypesœ: [œJSONœ], œtypeœ: œotherœ}",
        });
        complete(&mut edge);
        let (source, target) = (Source::read(&edge).unwrap(), Target::read(&edge).unwrap());
        assert_eq!(source.output.as_deref(), Some("out"));
        assert_eq!(source.types, ["Data"]);
        assert_eq!(target.field, "in");
        assert_eq!(target.input_types, ["JSON"]);
        assert!(!target.is_feedback);
    }

    #[test]
    fn a_handle_that_is_not_json_stays_missing() {
        let mut edge = json!({"sourceHandle": "a|b|c", "targetHandle": 3, "data": 5});
        complete(&mut edge);
        assert!(Source::read(&edge).is_err());
        assert!(Target::read(&edge).is_err());
    }
}
