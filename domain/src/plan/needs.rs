//! What a cell needs from outside: variables, model providers, packages.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Cell;
use crate::flow::{Graph, Node, json};

/// Model providers of lfx 1.13 and the variables that it looks up for each, by name and without
/// any field that says so. Required ones first.
const PROVIDERS: [(&str, &[&str]); 9] = [
    ("OpenAI", &["OPENAI_API_KEY", "OPENAI_BASE_URL"]),
    ("Anthropic", &["ANTHROPIC_API_KEY"]),
    ("Google Generative AI", &["GOOGLE_API_KEY"]),
    ("Ollama", &["OLLAMA_BASE_URL"]),
    ("Groq", &["GROQ_API_KEY"]),
    ("Azure OpenAI", &["AZURE_OPENAI_API_KEY"]),
    (
        "Azure AI Foundry",
        &["AZURE_AI_FOUNDRY_API_KEY", "AZURE_AI_FOUNDRY_ENDPOINT", "AZURE_AI_FOUNDRY_API_VERSION"],
    ),
    ("IBM WatsonX", &["WATSONX_APIKEY", "WATSONX_PROJECT_ID", "WATSONX_URL"]),
    ("OpenRouter", &["OPENROUTER_API_KEY", "OPENROUTER_SITE_URL", "OPENROUTER_APP_NAME"]),
];

/// The field by which a node names a knowledge base.
pub const KNOWLEDGE_FIELD: &str = "knowledge_base";

/// What a cell needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    /// Names of variables that fields refer to, sorted.
    pub variables: Vec<String>,
    /// Providers of the models that fields name, sorted.
    pub providers: Vec<ProviderNeed>,
    /// Model fields without a value: the run must set them by tweak, or lfx falls back to a
    /// default of the server.
    pub models_unset: Vec<FieldRef>,
    /// Python packages that the components say they import, sorted.
    pub packages: Vec<Package>,
    /// Names of knowledge bases that fields name, sorted. What one is embedded with is a provider
    /// that the flow need not name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub knowledge: Vec<String>,
}

/// A model provider and the variables that lfx looks up for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProviderNeed {
    /// The provider's name as lfx spells it.
    pub provider: String,
    /// The variables, required ones first. For a provider that is not built in, the name that lfx
    /// derives.
    pub variables: Vec<String>,
}

/// A field of a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FieldRef {
    /// The node.
    pub node: String,
    /// The field.
    pub field: String,
}

/// A Python package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// The version with which the flow was written.
    pub version: Option<String>,
}

/// What a cell needs for everything that it builds. Read it after tweaks were applied: they may
/// name another model or replace a variable by a value.
#[must_use]
pub fn needs(graph: &Graph, cell: &Cell) -> Needs {
    needs_of(graph, cell.built())
}

impl Needs {
    /// Whether a secret may be among them, now or when a run chooses a model.
    pub(super) fn any_secret(&self) -> bool {
        !self.variables.is_empty()
            || !self.providers.is_empty()
            || !self.models_unset.is_empty()
            || !self.knowledge.is_empty()
    }
}

/// What these nodes need.
pub(super) fn needs_of<'n>(graph: &Graph, nodes: impl IntoIterator<Item = &'n str>) -> Needs {
    let mut found = Found::default();
    for position in nodes.into_iter().filter_map(|id| graph.position(id)) {
        let Some(node) = graph.nodes().get(position) else {
            continue;
        };
        found.packages.extend(packages(node));
        for (name, field) in &node.template {
            let Some(field) = field.as_object() else {
                continue;
            };
            if !graph.is_fed(position, name) {
                found.field(node, name, field);
            }
        }
    }
    Needs {
        variables: found.variables.into_iter().collect(),
        providers: found.providers.iter().map(|name| provider(name)).collect(),
        models_unset: found.models_unset,
        packages: found.packages.into_iter().collect(),
        knowledge: found.knowledge.into_iter().collect(),
    }
}

#[derive(Default)]
struct Found {
    variables: BTreeSet<String>,
    providers: BTreeSet<String>,
    models_unset: Vec<FieldRef>,
    packages: BTreeSet<Package>,
    knowledge: BTreeSet<String>,
}

impl Found {
    fn field(&mut self, node: &Node, name: &str, field: &Map<String, Value>) {
        let value = field.get("value").unwrap_or(&Value::Null);
        let kind = field.get("type").and_then(Value::as_str).unwrap_or_default();
        if field.get("load_from_db").is_some_and(json::is_truthy)
            && let Some(variable) = value.as_str().filter(|variable| !variable.is_empty())
        {
            self.variables.insert(variable.to_owned());
        }
        if name == KNOWLEDGE_FIELD
            && let Some(base) = value.as_str().filter(|base| !base.is_empty())
        {
            self.knowledge.insert(base.to_owned());
        }
        if kind == "table" {
            self.table(field, value);
        }
        if kind == "model" {
            self.model(node, name, value);
        }
    }

    /// Cells of a table may name variables, where the column says so.
    fn table(&mut self, field: &Map<String, Value>, value: &Value) {
        let schema = field.get("table_schema");
        let columns = schema.and_then(|schema| schema.get("columns").or(Some(schema)));
        let columns: Vec<&str> = columns
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter(|column| column.get("load_from_db").is_some_and(json::is_truthy))
            .filter_map(|column| json::text(column, "name"))
            .collect();
        for row in value.as_array().into_iter().flatten() {
            let cells = columns.iter().filter_map(|column| json::text(row, column));
            self.variables.extend(cells.filter(|name| !name.is_empty()).map(str::to_owned));
        }
    }

    /// A model field holds a list of choices; older exports hold one, or its JSON as text.
    fn model(&mut self, node: &Node, name: &str, value: &Value) {
        let parsed = value.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
        let value = parsed.as_ref().unwrap_or(value);
        let choices = match value {
            Value::Array(list) => list.as_slice(),
            one => std::slice::from_ref(one),
        };
        let named = choices.iter().filter_map(|choice| json::text(choice, "provider"));
        let named: Vec<String> = named.filter(|name| !name.is_empty()).map(str::to_owned).collect();
        if named.is_empty() && !json::is_truthy(value) {
            let (node, field) = (node.id.clone(), name.to_owned());
            self.models_unset.push(FieldRef { node, field });
        }
        self.providers.extend(named);
    }
}

/// What lfx looks up for a model provider.
#[must_use]
pub fn provider(name: &str) -> ProviderNeed {
    // An alias that lfx knows.
    let name = if name == "IBM watsonx.ai" { "IBM WatsonX" } else { name };
    let known = PROVIDERS.iter().find(|(provider, _)| *provider == name);
    let variables = match known {
        Some((_, variables)) => variables.iter().map(|name| (*name).to_owned()).collect(),
        None => vec![format!("{}_API_KEY", name.to_uppercase().replace(' ', "_"))],
    };
    ProviderNeed { provider: name.to_owned(), variables }
}

fn packages(node: &Node) -> Vec<Package> {
    let list = node
        .component()
        .and_then(|component| component.get("metadata")?.get("dependencies"))
        .map(|dependencies| dependencies.get("dependencies").unwrap_or(dependencies));
    let list = list.and_then(Value::as_array).into_iter().flatten();
    let package = |item: &Value| {
        let name = json::text(item, "name").or_else(|| item.as_str())?.to_owned();
        Some(Package { name, version: json::text(item, "version").map(str::to_owned) })
    };
    list.filter_map(package).collect()
}
