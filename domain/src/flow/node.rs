//! Reading one component, and writing it back as Langflow does.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::error::Issue;
use super::handle::normalised;
use super::{Node, Output, json};

/// Component types to which a run's input goes.
const INPUT_KINDS: [&str; 3] = ["ChatInput", "Webhook", "TextInput"];
/// Component types whose result is an answer of the run.
const OUTPUT_KINDS: [&str; 3] = ["ChatOutput", "DataOutput", "TextOutput"];

const EXPORT_AGAIN: &str = "export the flow from langflow again";
const REPLACE: &str = "delete the component and add it anew";

impl Node {
    /// A field of the template.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Map<String, Value>> {
        self.template.get(name)?.as_object()
    }

    /// The Python source that runs.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.field("code")?.get("value")?.as_str()
    }

    /// The SHA-256 of the code that would run, in hexadecimal digits. Computed, because the hash in
    /// the export is whatever its author wrote.
    #[must_use]
    pub fn code_digest(&self) -> Option<String> {
        let digest = Sha256::digest(self.code()?.as_bytes());
        Some(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Its first twelve digits, as Langflow writes them into exports.
    #[must_use]
    pub fn code_hash(&self) -> Option<String> {
        self.code_digest()?.get(..12).map(str::to_owned)
    }

    /// The output of a name.
    #[must_use]
    pub fn output(&self, name: &str) -> Option<&Output> {
        self.outputs.iter().find(|output| output.name == name)
    }

    /// Everything but the fields and position: `data.node` of the export, without its template.
    #[must_use]
    pub fn component(&self) -> Option<&Map<String, Value>> {
        self.frame.pointer("/data/node")?.as_object()
    }

    /// The node as Langflow writes it.
    #[must_use]
    pub fn to_value(&self) -> Value {
        self.to_value_with(self.template.clone())
    }

    pub(crate) fn to_value_with(&self, template: Map<String, Value>) -> Value {
        let mut value = self.frame.clone();
        if let Some(slot) = value.pointer_mut("/data/node/template") {
            *slot = Value::Object(template);
        }
        value
    }

    /// Reads a node; `index` names it when it has no id.
    pub(super) fn read(index: usize, mut frame: Value) -> Result<Self, Issue> {
        let id = json::text(&frame, "id").filter(|id| !id.is_empty()).map(str::to_owned);
        let name = id.clone().unwrap_or_else(|| format!("nodes[{index}]"));
        let wrong = |field: &str, expected: &'static str, advice: &'static str| Issue::Node {
            node: name.clone(),
            field: field.to_owned(),
            expected,
            advice,
        };
        let id = id.ok_or_else(|| wrong("id", "a text that is not empty", EXPORT_AGAIN))?;
        let parent = json::text(&frame, "parent_node_id").map(str::to_owned);
        let kind = frame.pointer("/data/type").and_then(Value::as_str);
        let kind = kind.ok_or_else(|| wrong("data.type", "a component type", EXPORT_AGAIN))?;
        let kind = kind.to_owned();
        let component = frame.pointer_mut("/data/node").and_then(Value::as_object_mut);
        let component = component.ok_or_else(|| wrong("data.node", "an object", EXPORT_AGAIN))?;
        let Some(Value::Object(mut template)) = component.get_mut("template").map(Value::take)
        else {
            return Err(wrong("data.node.template", "an object of fields", REPLACE));
        };
        let base = template.get("_type").and_then(Value::as_str);
        let base = base.ok_or_else(|| wrong("template._type", "a text", REPLACE))?;
        let outputs = match component.get("outputs") {
            None if base == "Component" => {
                return Err(wrong("data.node.outputs", "an array of outputs", REPLACE));
            }
            None => Vec::new(),
            Some(list) => read_outputs(list).map_err(|(field, expected)| {
                wrong(&format!("data.node.outputs{field}"), expected, REPLACE)
            })?,
        };
        join_code(&mut template);
        let code = template.get("code").and_then(|field| field.get("value")?.as_str());
        if code.is_none_or(|code| code.trim().is_empty()) {
            return Err(wrong("template.code.value", "the component's source", REPLACE));
        }
        let flag = |name: &str| component.get(name).is_some_and(json::is_truthy);
        let prefix = id.split('-').next().unwrap_or_default();
        let among = |kinds: [&str; 3]| kinds.contains(&prefix) || kinds.contains(&kind.as_str());
        let meta = |name: &str| {
            component.get("metadata").and_then(|meta| json::text(meta, name)).map(str::to_owned)
        };
        let display_name = component.get("display_name").and_then(Value::as_str);
        Ok(Self {
            display_name: display_name.unwrap_or(prefix).to_owned(),
            is_tool_mode: flag("tool_mode"),
            is_frozen: flag("frozen"),
            is_input: flag("is_input") || among(INPUT_KINDS),
            is_output: flag("is_output") || among(OUTPUT_KINDS),
            module: meta("module"),
            claimed_code_hash: meta("code_hash"),
            id,
            kind,
            parent,
            template,
            outputs,
            frame,
        })
    }
}

/// Some exports keep code as a list of lines; everything downstream expects one text.
fn join_code(template: &mut Map<String, Value>) {
    for field in template.values_mut() {
        if json::text(field, "type") == Some("code")
            && let Some(value) = field.get_mut("value")
            && let Some(lines) = json::texts(value)
        {
            *value = Value::String(lines.join("\n"));
        }
    }
}

fn read_outputs(list: &Value) -> Result<Vec<Output>, (String, &'static str)> {
    let list = list.as_array().ok_or((String::new(), "an array of outputs"))?;
    let mut outputs = Vec::with_capacity(list.len());
    for (index, output) in list.iter().enumerate() {
        let name = json::text(output, "name");
        let types = output.get("types").and_then(json::texts);
        outputs.push(Output {
            name: name.ok_or((format!("[{index}].name"), "a text"))?.to_owned(),
            types: normalised(&types.ok_or((format!("[{index}].types"), "an array of types"))?),
            display_name: json::text(output, "display_name").map(str::to_owned),
            method: json::text(output, "method").map(str::to_owned),
            allows_loop: output.get("allows_loop").is_some_and(json::is_truthy),
        });
    }
    Ok(outputs)
}
