//! What Langflow's workflow routes say of a run.

use domain::flow::{Graph, Node};
use domain::id::{FlowId, RunId};
use domain::time::Timestamp;
use serde_json::{Map, Value, json};
use store::{RunHeader, RunView, Tenant};

use crate::app::App;
use crate::clock;
use crate::error::Error;
use crate::result;

/// Ends of a flow that were not built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unbuilt {
    /// Langflow's answer to a run that was waited for lists them, without content.
    Listed,
    LeftOut,
}

/// `WorkflowJobResponse`.
pub(super) fn job(flow: FlowId, run: RunId, status: &str, created: Timestamp) -> Value {
    json!({
        "job_id": run,
        "flow_id": flow,
        "object": "job",
        "created_timestamp": moment(created),
        "status": status,
        "links": {
            "status": format!("/api/v2/workflows?job_id={run}"),
            "events": format!("/api/v2/workflows/{run}/events"),
            "stop": "/api/v2/workflows/stop",
        },
        "errors": [],
        "globals": {},
    })
}

/// `WorkflowExecutionResponse` of a completed run.
pub(super) async fn completed(
    app: &App,
    tenant: &Tenant,
    view: &RunView,
    selected: &[String],
    unbuilt: Unbuilt,
) -> Result<Value, Error> {
    let outputs = outputs(app, tenant, view, unbuilt).await?;
    let output = primary(&outputs, selected);
    Ok(response(&view.header, "completed", Some(&view.header.session_id), output, outputs))
}

/// The same of one that failed.
pub(super) fn failed(header: &RunHeader, message: &str) -> Value {
    let output = json!({"reason": "failed", "text": null, "source": null});
    let mut body = response(header, "failed", None, output, Map::new());
    if let Some(body) = body.as_object_mut() {
        let details = json!({"flow_id": header.flow, "error_type": "ValueError"});
        let error = json!({"error": message, "code": "EXECUTION_ERROR", "details": details});
        body.insert("errors".to_owned(), json!([error]));
        body.insert("has_errors".to_owned(), Value::Bool(true));
    }
    body
}

fn response(
    header: &RunHeader,
    status: &str,
    session: Option<&str>,
    output: Value,
    outputs: Map<String, Value>,
) -> Value {
    json!({
        "flow_id": header.flow,
        "session_id": session,
        "job_id": header.id,
        "object": "response",
        "created_timestamp": moment(header.ended.unwrap_or(header.created)),
        "status": status,
        "output": output,
        "errors": [],
        "warnings": [],
        "inputs": {},
        "globals": {},
        "outputs": outputs,
        "human_request": null,
        "has_errors": false,
    })
}

/// What the ends of the flow gave: its nodes behind which there is nothing.
async fn outputs(
    app: &App,
    tenant: &Tenant,
    view: &RunView,
    unbuilt: Unbuilt,
) -> Result<Map<String, Value>, Error> {
    let version = app.versions.get(tenant, view.header.version).await?;
    let plan = result::plan_of(&version, view.plan.as_ref(), &view.header.isolation)?;
    let ends = ends(&version.graph);
    let mut cells: Vec<String> = Vec::new();
    for cell in ends.iter().filter_map(|node| plan.cell_of(&node.id)) {
        if !cells.contains(&cell.id) {
            cells.push(cell.id.clone());
        }
    }
    let results = tenant.results(view.header.id, &cells).await?;
    let mut outputs = Map::new();
    for node in ends {
        let result = plan
            .cell_of(&node.id)
            .and_then(|cell| results.get(&cell.id)?.nodes.get(&node.id))
            .map(|node| &node.result);
        if result.is_some() || unbuilt == Unbuilt::Listed {
            outputs.insert(node.id.clone(), component(node, result));
        }
    }
    Ok(outputs)
}

fn ends(graph: &Graph) -> Vec<&Node> {
    let is_end = |position: &usize| graph.outgoing(*position).next().is_none();
    let positions = (0..graph.nodes().len()).filter(is_end);
    positions.filter_map(|position| graph.nodes().get(position)).collect()
}

/// lfx's `build_component_output`.
fn component(node: &Node, result: Option<&Value>) -> Value {
    let kind = declared(node).unwrap_or(&node.kind).to_lowercase();
    let content = result.map(raw_content).filter(|raw| !raw.is_null());
    let is_data = ["data", "dataframe"].contains(&kind.as_str());
    let mut metadata = Map::new();
    metadata.insert("component_type".to_owned(), node.kind.clone().into());
    if let Some(raw) = content.filter(|_| !node.is_output && kind == "message") {
        if let Some(model) = at(raw, &["model_output", "message", "model_name"]) {
            let name = json!({"id": node.id, "display_name": node.display_name, "source": model});
            metadata.insert("source".to_owned(), name);
        }
        let file = at(raw, &["message", "message"]).filter(|file| file.is_string());
        if let Some(file) = file.filter(|_| node.kind == "SaveToFile") {
            metadata.insert("file_path".to_owned(), file.clone());
        }
    }
    let shown = content.filter(|_| node.is_output || is_data).map(|raw| simple(raw, &kind));
    json!({
        "type": kind,
        "status": if kind == "error" { "failed" } else { "completed" },
        "display_name": node.display_name,
        "content": shown,
        "metadata": metadata,
    })
}

/// The type of the first output, as the export spells it.
fn declared(node: &Node) -> Option<&str> {
    let first = node.component()?.get("outputs")?.get(0)?.get("types")?.get(0)?.as_str()?;
    (!first.is_empty()).then_some(first)
}

/// lfx's `_get_raw_content`.
fn raw_content(result: &Value) -> &Value {
    let first = result.get("outputs").filter(|outputs| !outputs.is_null());
    first.or_else(|| result.get("results")).unwrap_or(result)
}

/// lfx's `_simplify_output_content`.
fn simple(content: &Value, kind: &str) -> Value {
    const TEXTS: [&[&str]; 6] = [
        &["message", "message"],
        &["text", "message"],
        &["message", "text"],
        &["message"],
        &["text", "text"],
        &["text"],
    ];
    const DATA: [&[&str]; 2] = [&["result", "message"], &["results", "message"]];
    const TABLES: [&[&str]; 3] =
        [&["results", "message"], &["result", "message"], &["run_sql_query", "message"]];
    let found = match kind {
        "message" | "text" => {
            TEXTS.iter().filter_map(|path| at(content, path)).find(|text| text.is_string())
        }
        "data" => DATA.iter().find_map(|path| at(content, path)),
        "dataframe" => TABLES.iter().find_map(|path| at(content, path)),
        _ => None,
    };
    found.unwrap_or(content).clone()
}

fn at<'v>(value: &'v Value, path: &[&str]) -> Option<&'v Value> {
    let found = path.iter().try_fold(value, |value, key| value.get(key))?;
    (!found.is_null()).then_some(found)
}

/// lfx's `_resolve_output`: the text that is the answer, or why there is none.
fn primary(outputs: &Map<String, Value>, selected: &[String]) -> Value {
    let is_text = |output: &Value| {
        let kind = output.get("type").and_then(Value::as_str);
        kind.is_some_and(|kind| kind == "message" || kind == "text")
    };
    let considered = outputs
        .iter()
        .filter(|(id, output)| (selected.is_empty() || selected.contains(id)) && is_text(output));
    let considered: Vec<_> = considered.collect();
    let mut texts = considered.iter().filter_map(|(id, output)| {
        let text = output.get("content").filter(|content| content.is_string())?;
        Some((id, text))
    });
    match (texts.next(), texts.next()) {
        (Some((id, text)), None) => json!({"reason": "single", "text": text, "source": id}),
        (Some(_), Some(_)) => json!({"reason": "multiple", "text": null, "source": null}),
        (None, _) => {
            let reason = if considered.is_empty() { "none" } else { "non_string" };
            json!({"reason": reason, "text": null, "source": null})
        }
    }
}

/// `2026-11-21T23:04:39.061000+00:00`.
fn moment(at: Timestamp) -> String {
    format!("{}+00:00", without_zone(at))
}

/// `2026-11-21T23:04:39.061000`.
pub(super) fn without_zone(at: Timestamp) -> String {
    clock::micros(at).trim_end_matches('Z').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(kind: &str, content: Value) -> Value {
        json!({"type": kind, "content": content})
    }

    #[test]
    fn the_answer_is_the_only_text() {
        let of = |outputs: Value, selected: &[&str]| {
            let selected: Vec<String> = selected.iter().map(ToString::to_string).collect();
            primary(outputs.as_object().unwrap(), &selected)
        };
        let (a, b) = (output("message", "hi".into()), output("message", "ho".into()));
        assert_eq!(of(json!({"A": a}), &[])["text"], "hi");
        assert_eq!(of(json!({"A": a, "B": b}), &[])["reason"], "multiple");
        assert_eq!(of(json!({"A": a, "B": b}), &["B"])["source"], "B");
        assert_eq!(of(json!({"A": output("message", json!(7))}), &[])["reason"], "non_string");
        assert_eq!(of(json!({"A": output("data", json!({}))}), &[])["reason"], "none");
        assert_eq!(of(json!({}), &[])["reason"], "none");
    }

    #[test]
    fn texts_are_found_where_lfx_finds_them() {
        for (content, text) in [
            (json!({"message": {"message": "a", "type": "text"}}), json!("a")),
            (json!({"text": {"message": "b"}}), json!("b")),
            (json!({"message": {"text": "c"}}), json!("c")),
            (json!({"text": "d"}), json!("d")),
            (json!({"other": 1}), json!({"other": 1})),
        ] {
            assert_eq!(simple(&content, "message"), text);
        }
        assert_eq!(simple(&json!({"results": {"message": [1]}}), "dataframe"), json!([1]));
    }
}
