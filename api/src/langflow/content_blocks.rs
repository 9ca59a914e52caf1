//! Content blocks as Langflow's first API shows them.
//!
//! A stored message holds them as components work with them: groups and leaves, each with an id.
//! The first API knows only titled groups of leaves. Results and events were rendered by the
//! runner; messages read from the store are rendered here.

use serde_json::{Map, Value, json};

/// The title under which an agent's steps are shown.
const STEPS: &str = "Agent Steps";

/// The blocks in the older form; anything but a list is returned as it is.
pub(super) fn render(blocks: &Value) -> Value {
    let Some(blocks) = blocks.as_array() else { return blocks.clone() };
    let (groups, leaves): (Vec<_>, Vec<_>) =
        blocks.iter().filter_map(Value::as_object).partition(|block| is_group(block));
    let is = |leaf: &&&Map<String, Value>, kind: &str| text(leaf, "type") == Some(kind);
    // Steps that were never grouped become a group; other loose leaves were never shown.
    if groups.is_empty() && leaves.iter().any(|leaf| is(&leaf, "tool_use")) {
        let contents: Vec<Value> = leaves.into_iter().map(leaf_without_id).collect();
        return json!([group(&json!(STEPS), contents, &Value::Null, &Value::Null)]);
    }
    let mut answer: String = leaves
        .iter()
        .filter(|leaf| is(leaf, "text"))
        .filter_map(|leaf| text(leaf, "text"))
        .collect();
    let rendered = groups.into_iter().map(|block| {
        let contents = block.get("contents").and_then(Value::as_array).into_iter().flatten();
        let mut contents: Vec<Value> =
            contents.filter_map(Value::as_object).map(leaf_without_id).collect();
        // An agent's answer stands at the end of its steps, once.
        if !answer.is_empty() && text(block, "title") == Some(STEPS) {
            contents.push(json!({
                "type": "text", "duration": null,
                "header": {"title": "Output", "icon": "MessageSquare"},
                "text": std::mem::take(&mut answer),
            }));
        }
        let part = |key: &str| block.get(key).cloned().unwrap_or_default();
        group(&part("title"), contents, &part("allow_markdown"), &part("media_url"))
    });
    Value::Array(rendered.collect())
}

/// Groups written by older versions carry no type.
fn is_group(block: &Map<String, Value>) -> bool {
    match block.get("type") {
        Some(kind) => kind == "group",
        None => block.contains_key("title") && block.contains_key("contents"),
    }
}

fn group(title: &Value, contents: Vec<Value>, allow_markdown: &Value, media_url: &Value) -> Value {
    let allow_markdown = if allow_markdown.is_null() { &Value::Bool(true) } else { allow_markdown };
    json!({
        "title": title, "contents": contents,
        "allow_markdown": allow_markdown, "media_url": media_url,
    })
}

fn leaf_without_id(leaf: &Map<String, Value>) -> Value {
    let shown = leaf.iter().filter(|(key, _)| *key != "id" && *key != "contents");
    Value::Object(shown.map(|(key, value)| (key.clone(), value.clone())).collect())
}

fn text<'a>(block: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    block.get(key).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loose_text_is_not_shown() {
        let blocks = json!([{"type": "text", "id": "1", "text": "hi", "contents": []}]);
        assert_eq!(render(&blocks), json!([]));
        assert_eq!(render(&Value::Null), Value::Null);
    }

    #[test]
    fn an_agents_answer_ends_its_steps() {
        let blocks = json!([
            {"type": "group", "id": "g", "title": "Agent Steps",
             "contents": [{"type": "tool_use", "id": "t", "name": "x", "contents": []}]},
            {"type": "text", "text": "42", "contents": []}
        ]);
        assert_eq!(
            render(&blocks),
            json!([{"title": "Agent Steps", "contents": [
                {"type": "tool_use", "name": "x"},
                {"type": "text", "duration": null,
                 "header": {"title": "Output", "icon": "MessageSquare"}, "text": "42"}],
                "allow_markdown": true, "media_url": null}])
        );
    }

    #[test]
    fn ungrouped_steps_become_a_group_and_errors_keep_theirs() {
        let steps = json!([{"type": "text", "text": "a"}, {"type": "tool_use", "name": "x"}]);
        assert_eq!(render(&steps)[0]["contents"].as_array().unwrap().len(), 2);
        let error = json!([{"title": "Error", "contents": [{"type": "error", "reason": "no"}],
                            "allow_markdown": true, "media_url": null}]);
        assert_eq!(render(&error), error);
    }
}
