//! Keeps a cell's secrets out of everything that leaves it. The runner already does; this is the
//! second wall, and the one that user code cannot reach.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use proto::frame::{CellResult, FailureBody};
use proto::message::Assignment;
use serde_json::{Map, Value};

/// What a secret is replaced with: the mask that Langflow uses.
const MASK: &str = "**********";
/// Shorter values are not masked: `true` or `8080` would turn innocent text into stars.
const SECRET_BYTES_MIN: usize = 8;

/// The secrets of one cell: those among its variables, and those it asks for while it runs.
#[derive(Debug, Default)]
pub(crate) struct Secrets {
    mask: RwLock<Mask>,
}

impl Secrets {
    /// The secrets that come with a task.
    #[must_use]
    pub(crate) fn of(assignment: &Assignment) -> Self {
        let task = &assignment.task;
        let values = |name| [task.variables.get(name), task.request_variables.get(name)];
        Self::new(assignment.secrets.iter().flat_map(values).flatten())
    }

    fn new<'a>(values: impl Iterator<Item = &'a String>) -> Self {
        let mut mask = Mask::default();
        for value in values {
            mask.add(value);
        }
        Self { mask: RwLock::new(mask) }
    }

    /// Another one; whatever leaves the cell from now on is masked for it too.
    pub(crate) fn learn(&self, value: &str) {
        self.mask.write().unwrap_or_else(PoisonError::into_inner).add(value);
    }

    /// The mask as of now.
    #[must_use]
    pub(crate) fn mask(&self) -> Mask {
        self.mask.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Replaces secrets. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Mask {
    /// Longest first, so that a secret that contains another is replaced as a whole.
    secrets: Arc<Vec<String>>,
}

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mask").field("secrets", &self.secrets.len()).finish()
    }
}

impl Mask {
    fn add(&mut self, value: &str) {
        if value.len() < SECRET_BYTES_MIN {
            return;
        }
        let secrets = Arc::make_mut(&mut self.secrets);
        secrets.push(value.to_owned());
        // The same value inside a string that is itself JSON.
        let escaped = Value::from(value).to_string();
        let inner = escaped.trim_matches('"');
        if inner != value && inner.len() >= SECRET_BYTES_MIN {
            secrets.push(inner.to_owned());
        }
        secrets.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        secrets.dedup();
    }

    /// The text without secrets.
    #[must_use]
    pub(crate) fn text(&self, mut text: String) -> String {
        for secret in self.secrets.iter() {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), MASK);
            }
        }
        text
    }

    /// The text without secrets, however upper and lower case were changed: host names are.
    #[must_use]
    pub(crate) fn folded(&self, mut text: String) -> String {
        for secret in self.secrets.iter() {
            // Lower case has the same length in bytes, so positions hold in both.
            let lower = text.to_ascii_lowercase();
            let secret = secret.to_ascii_lowercase();
            let found = lower.match_indices(&secret);
            let ranges: Vec<_> =
                found.map(|(at, part)| at..at.saturating_add(part.len())).collect();
            for range in ranges.into_iter().rev() {
                text.replace_range(range, MASK);
            }
        }
        text
    }

    /// The value without secrets, in keys as well.
    #[must_use]
    pub(crate) fn value(&self, value: Value) -> Value {
        if self.secrets.is_empty() {
            return value;
        }
        match value {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(items) => {
                Value::Array(items.into_iter().map(|item| self.value(item)).collect())
            }
            Value::Object(fields) => Value::Object(
                fields
                    .into_iter()
                    .map(|(key, field)| (self.text(key), self.value(field)))
                    .collect::<Map<_, _>>(),
            ),
            other @ (Value::Null | Value::Bool(_) | Value::Number(_)) => other,
        }
    }

    fn values(&self, values: BTreeMap<String, Value>) -> BTreeMap<String, Value> {
        values.into_iter().map(|(key, value)| (self.text(key), self.value(value))).collect()
    }

    /// A result without secrets.
    #[must_use]
    pub(crate) fn result(&self, mut result: CellResult) -> CellResult {
        for node in result.nodes.values_mut() {
            node.outputs = self.values(std::mem::take(&mut node.outputs));
            node.result = self.value(node.result.take());
        }
        result.operations =
            result.operations.into_iter().map(|operation| self.value(operation)).collect();
        result.context = self.values(result.context);
        for live in &mut result.live {
            live.value_type = self.text(std::mem::take(&mut live.value_type));
            live.output = self.text(std::mem::take(&mut live.output));
            live.node = self.text(std::mem::take(&mut live.node));
        }
        result.nodes =
            result.nodes.into_iter().map(|(node, value)| (self.text(node), value)).collect();
        result.usage = result.usage.map(|usage| self.value(usage));
        if let Some(paused) = &mut result.paused {
            paused.node = self.text(std::mem::take(&mut paused.node));
            paused.request = self.value(paused.request.take());
            let saved = std::mem::take(&mut paused.saved).into_iter();
            paused.saved = saved.map(|(kind, text)| (self.text(kind), self.text(text))).collect();
        }
        result
    }

    /// A failure without secrets.
    #[must_use]
    pub(crate) fn failure(&self, failure: FailureBody) -> FailureBody {
        let mask = |text: Option<String>| text.map(|text| self.text(text));
        FailureBody {
            kind: failure.kind,
            // One of a few names that we know, or ignored.
            limit: failure.limit,
            node: mask(failure.node),
            component: mask(failure.component),
            message: self.text(failure.message),
            exception: mask(failure.exception),
            package: mask(failure.package),
            traceback: mask(failure.traceback),
        }
    }
}

#[cfg(test)]
mod tests {
    use proto::frame::NodeResult;
    use serde_json::json;

    use super::*;

    const CANARY: &str = "sk-canary-\"quoted\"-0123";

    fn mask() -> Mask {
        let variables = [("A", CANARY), ("B", "short"), ("C", "sk-canary"), ("D", "")];
        let secrets = Secrets::new(variables.map(|(_, value)| value.to_owned()).iter());
        secrets.learn("asked-for-later");
        secrets.mask()
    }

    #[test]
    fn secrets_are_replaced_wherever_they_stand() {
        let inner = json!({ "key": CANARY }).to_string();
        let value = json!({
            "plain": format!("x{CANARY}y{CANARY}"),
            "nested": [{ "deep": [CANARY, 1, null] }],
            "as json": inner,
            CANARY: "as key",
            "short": "short stays",
            "part": "sk-canary-other",
            "learned": "asked-for-later",
        });
        let text = mask().value(value).to_string();
        assert!(!text.contains("canary") && !text.contains("for-later"), "{text}");
        assert!(text.contains("short stays") && text.contains("x**********y**********"), "{text}");
    }

    #[test]
    fn a_secret_in_a_host_name_is_found_in_lower_case() {
        let mask = Secrets::new(["Sk-Canary-0123".to_owned()].iter()).mask();
        let text = mask.folded("sk-canary-0123.evil.org and SK-CANARY-0123".into());
        assert_eq!(text, "**********.evil.org and **********");
    }

    #[test]
    fn no_field_of_a_result_or_failure_is_forgotten() {
        let value = || json!({ "v": CANARY });
        let result = CellResult {
            nodes: [(
                CANARY.to_owned(),
                NodeResult {
                    outputs: [(CANARY.to_owned(), value())].into(),
                    result: value(),
                    valid: true,
                },
            )]
            .into(),
            operations: vec![value()],
            context: [(CANARY.to_owned(), value())].into(),
            live: vec![proto::frame::LiveValue {
                node: CANARY.into(),
                output: CANARY.into(),
                value_type: CANARY.into(),
            }],
            usage: Some(value()),
            paused: Some(Box::new(proto::frame::Paused {
                node: CANARY.into(),
                request: value(),
                saved: [(CANARY.to_owned(), CANARY.to_owned())].into(),
            })),
        };
        let text = serde_json::to_string(&mask().result(result)).unwrap();
        assert!(!text.contains("canary"), "{text}");
        let said = || Some(CANARY.to_owned());
        let failure = FailureBody {
            kind: "component".into(),
            limit: None,
            node: said(),
            component: said(),
            message: CANARY.into(),
            exception: said(),
            package: said(),
            traceback: said(),
        };
        let text = serde_json::to_string(&mask().failure(failure)).unwrap();
        assert!(!text.contains("canary"), "{text}");
    }
}
