//! Reading what Langflow exports: one flow, an object with `flows`, or an array of flows.

use serde_json::{Map, Value};

use super::error::{Error, FLOWS_MAX};

/// One exported flow. Nothing is lost: `data` and `rest` are kept as they came.
#[derive(Clone, Debug, PartialEq)]
pub struct Export {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// A stable name for its URL.
    pub endpoint_name: Option<String>,
    /// The id it had where it was exported; only metadata here.
    pub id: Option<String>,
    /// Whether it is a saved component rather than a flow.
    pub is_component: bool,
    /// The Langflow version that wrote it, which chooses the runtime.
    pub last_tested_version: Option<String>,
    /// Free labels.
    pub tags: Vec<String>,
    /// The graph, verbatim: `{"nodes": […], "edges": […], "viewport": …}`.
    pub data: Value,
    /// Every other property, verbatim: icon, MCP flags, locks…
    pub rest: Map<String, Value>,
}

impl Export {
    /// Reads every flow of one JSON text.
    ///
    /// # Errors
    /// When the text is not JSON, or not flows.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Vec<Self>, Error> {
        Self::parse_named("import", text.as_ref())
    }

    /// Reads every flow of several files, in order: the entries of an unpacked archive.
    ///
    /// # Errors
    /// As [`Export::parse`]; the error names the file.
    pub fn parse_many<N: AsRef<str>, T: AsRef<[u8]>>(
        files: impl IntoIterator<Item = (N, T)>,
    ) -> Result<Vec<Self>, Error> {
        let mut exports = Vec::new();
        for (name, text) in files {
            exports.extend(Self::parse_named(name.as_ref(), text.as_ref())?);
            if exports.len() > FLOWS_MAX {
                return Err(Error::TooManyFlows);
            }
        }
        if exports.is_empty() { Err(Error::NoFlows) } else { Ok(exports) }
    }

    /// Reads every flow of a JSON value.
    ///
    /// # Errors
    /// When the value is not flows.
    pub fn from_value(value: Value) -> Result<Vec<Self>, Error> {
        Self::from_value_named("import", value)
    }

    /// The export as Langflow writes it.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let text = |text: &Option<String>| text.clone().map_or(Value::Null, Value::String);
        let mut map = self.rest.clone();
        map.insert("name".to_owned(), Value::String(self.name.clone()));
        map.insert("description".to_owned(), text(&self.description));
        map.insert("endpoint_name".to_owned(), text(&self.endpoint_name));
        map.insert("id".to_owned(), text(&self.id));
        map.insert("is_component".to_owned(), Value::Bool(self.is_component));
        map.insert("last_tested_version".to_owned(), text(&self.last_tested_version));
        map.insert("tags".to_owned(), self.tags.iter().cloned().collect());
        map.insert("data".to_owned(), self.data.clone());
        Value::Object(map)
    }

    fn parse_named(place: &str, text: &[u8]) -> Result<Vec<Self>, Error> {
        let value = serde_json::from_slice(text)
            .map_err(|source| Error::Json { place: place.to_owned(), source })?;
        Self::from_value_named(place, value)
    }

    fn from_value_named(place: &str, value: Value) -> Result<Vec<Self>, Error> {
        let (prefix, list) = match value {
            Value::Array(list) => (place.to_owned(), list),
            Value::Object(mut map) if map.get("flows").is_some_and(Value::is_array) => {
                match map.swap_remove("flows") {
                    Some(Value::Array(list)) => (format!("{place}: flows"), list),
                    _ => return Err(Error::NoFlows),
                }
            }
            value => return Ok(vec![Self::read(place, value)?]),
        };
        if list.is_empty() {
            return Err(Error::NoFlows);
        }
        if list.len() > FLOWS_MAX {
            return Err(Error::TooManyFlows);
        }
        let read = |(index, value)| Self::read(&format!("{prefix}[{index}]"), value);
        list.into_iter().enumerate().map(read).collect()
    }

    fn read(place: &str, value: Value) -> Result<Self, Error> {
        let found = kind(&value);
        let Value::Object(mut map) = value else {
            return Err(Error::NotAFlow { place: place.to_owned(), found });
        };
        if !map.contains_key("data") {
            let found = "an object without `data`";
            return Err(Error::NotAFlow { place: place.to_owned(), found });
        }
        let field = |field, expected| Error::Field { place: place.to_owned(), field, expected };
        let data = map.shift_remove("data").unwrap_or(Value::Null);
        if !data.is_object() {
            return Err(field("data", "an object with `nodes` and `edges`"));
        }
        let Some(Value::String(name)) = map.shift_remove("name") else {
            return Err(field("name", "a text"));
        };
        if name.trim().is_empty() {
            return Err(field("name", "a text that is not empty"));
        }
        let tags = match map.shift_remove("tags") {
            Some(Value::Array(tags)) => {
                tags.into_iter().filter_map(|tag| tag.as_str().map(str::to_owned)).collect()
            }
            _ => Vec::new(),
        };
        Ok(Self {
            name,
            description: take_text(&mut map, "description"),
            endpoint_name: take_text(&mut map, "endpoint_name").filter(|name| !name.is_empty()),
            id: take_text(&mut map, "id"),
            is_component: map.shift_remove("is_component").is_some_and(|v| v == Value::Bool(true)),
            last_tested_version: take_text(&mut map, "last_tested_version"),
            tags,
            data,
            rest: map,
        })
    }
}

/// Takes a text out of the map; anything else that stands there counts as absent, because a
/// missing description is no reason to refuse a flow.
fn take_text(map: &mut Map<String, Value>, key: &str) -> Option<String> {
    match map.shift_remove(key) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn flow(name: &str) -> Value {
        json!({"name": name, "data": {"nodes": [], "edges": []}, "locked": true, "tags": ["a", 1]})
    }

    #[test]
    fn reads_the_three_shapes() {
        let one = Export::parse(flow("a").to_string()).unwrap();
        let many = Export::from_value(json!({"flows": [flow("a"), flow("b")]})).unwrap();
        let array = Export::from_value(json!([flow("c")])).unwrap();
        let names = |list: &[Export]| list.iter().map(|e| e.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&one), ["a"]);
        assert_eq!(names(&many), ["a", "b"]);
        assert_eq!(names(&array), ["c"]);
        assert_eq!(one[0].tags, ["a"]);
        assert_eq!(one[0].to_value()["locked"], true);
        let files = [("x.json", flow("x").to_string()), ("y.json", flow("y").to_string())];
        assert_eq!(names(&Export::parse_many(files).unwrap()), ["x", "y"]);
    }

    #[test]
    fn names_what_is_wrong() {
        let text = |value: Value| Export::from_value(value).unwrap_err().to_string();
        insta::assert_snapshot!(text(json!(3)), @"import: expected a flow (an object with `name` and `data`), an object with `flows`, or an array of flows, found a number; export the flow from langflow again");
        insta::assert_snapshot!(text(json!({"nodes": []})), @"import: expected a flow (an object with `name` and `data`), an object with `flows`, or an array of flows, found an object without `data`; export the flow from langflow again");
        insta::assert_snapshot!(text(json!([{"data": {}}])), @"import[0]: `name` must be a text");
        insta::assert_snapshot!(text(json!({"flows": [{"name": "a", "data": null}]})), @"import: flows[0]: `data` must be an object with `nodes` and `edges`");
        insta::assert_snapshot!(text(json!([])), @"the import holds no flow");
        insta::assert_snapshot!(Export::parse("{").unwrap_err(), @"import: not json: EOF while parsing an object at line 1 column 1");
    }
}
