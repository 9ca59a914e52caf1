//! `flowcell explain`: the plan of a flow, drawn.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use domain::flow::{Export, Graph};
use domain::plan::{Isolation, Plan};
use serde_json::Value;

use crate::args::ExplainArguments;
use crate::client::{Client, Refusal, percent_encode};
use crate::exit::Exit;
use crate::output;

pub(crate) async fn execute(arguments: ExplainArguments) -> Result<Exit> {
    if let Some(run) = &arguments.run {
        return explain_run(&arguments, run).await;
    }
    let file = Path::new(&arguments.flow);
    let plans = if file.is_file() {
        local(file, arguments.isolation.unwrap_or_default())?
    } else {
        let client = Client::new(&arguments.client)?;
        let name = percent_encode(&arguments.flow);
        let query = arguments.isolation.map(|isolation| format!("?isolation={isolation}"));
        let path = format!("/api/flowcell/v1/flows/{name}/plan{}", query.unwrap_or_default());
        vec![(arguments.flow, client.get(&path).await?)]
    };
    for (name, plan) in plans {
        if arguments.json {
            output::line(serde_json::to_string_pretty(&plan)?)?;
        } else {
            output::piece(draw(&name, &plan))?;
        }
    }
    Ok(Exit::Done)
}

/// What a run waits for.
async fn explain_run(arguments: &ExplainArguments, run: &str) -> Result<Exit> {
    if arguments.flow != "run" {
        let text = format!("there is nothing to explain about {run:?}\n  flowcell explain run RUN");
        return Err(Refusal::Failed(text).into());
    }
    let client = Client::new(&arguments.client)?;
    let path = format!("/api/flowcell/v1/runs/{}/explain", percent_encode(run));
    let answer: Value = client.get(&path).await?;
    if arguments.json {
        output::line(serde_json::to_string_pretty(&answer)?)?;
    } else {
        output::piece(draw_run(&answer))?;
    }
    Ok(Exit::Done)
}

fn draw_run(answer: &Value) -> String {
    let mut text = format!("{}: {}\n", word(answer, "state"), word(answer, "text"));
    for task in list(answer, "tasks") {
        let (cell, state) = (word(task, "cell"), word(task, "state"));
        let _ = writeln!(text, "  {cell:<32} {state:<10} {}", word(task, "text"));
    }
    text
}

fn local(file: &Path, isolation: Isolation) -> Result<Vec<(String, Value)>> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let exports = Export::parse(&bytes).context("not a Langflow export")?;
    exports
        .into_iter()
        .map(|export| {
            let graph = Graph::read(&export.data).context("the flow cannot run")?;
            let plan = Plan::isolated(&graph, isolation, &BTreeSet::new())
                .context("the flow cannot be planned")?;
            Ok((export.name, serde_json::to_value(plan.explain(&graph))?))
        })
        .collect()
}

fn draw(name: &str, plan: &Value) -> String {
    let mut text = String::new();
    let cells = list(plan, "cells");
    let _ = writeln!(text, "{name}: {} cells, each in a container of its own", cells.len());
    for cell in cells {
        let needs: Vec<String> = list(cell, "depends_on")
            .iter()
            .filter_map(Value::as_u64)
            .map(|index| format!("[{index}]"))
            .collect();
        let after = if needs.is_empty() {
            "at once".to_owned()
        } else {
            format!("after {}", needs.join(" "))
        };
        let index = cell.get("index").and_then(Value::as_u64).unwrap_or_default();
        let _ = writeln!(text, "  [{index}] {:<32} {after}", word(cell, "id"));
        for member in list(cell, "members") {
            let copied = word(member, "role") == "copy";
            if list(cell, "members").len() > 1 || copied {
                let note = if copied { "  (copy)" } else { "" };
                let (node, shown) = (word(member, "node"), word(member, "display_name"));
                let _ = writeln!(text, "        · {node} {shown:?}{note}");
            }
        }
        for why in list(cell, "why").iter().filter_map(Value::as_str) {
            let _ = writeln!(text, "        because {why}");
        }
        if let Some(terms) = list(plan, "terms").iter().find(|t| t.get("cell") == cell.get("index"))
        {
            let _ = writeln!(text, "        {}", draw_terms(terms));
        }
    }
    let edges = list(plan, "edges");
    if !edges.is_empty() {
        let _ = writeln!(text, "  connections");
    }
    for edge in edges {
        let _ = writeln!(
            text,
            "    {} → {}  {}",
            word(edge, "from"),
            word(edge, "to"),
            word(edge, "carries")
        );
    }
    for skipped in list(plan, "skipped") {
        let _ = writeln!(text, "  never built: {} (no component uses it)", word(skipped, "node"));
    }
    text
}

/// Whose workers run a cell, and how it is retried.
fn draw_terms(terms: &Value) -> String {
    if let Some(problem) = terms.get("problem").and_then(Value::as_str) {
        return format!("cannot run: {problem}");
    }
    let pool = match word(terms, "pool") {
        "" => "the default pool".to_owned(),
        pool => format!("pool {pool}"),
    };
    let retry = |name: &str| terms.pointer(&format!("/retry/{name}"));
    let number = |name: &str| retry(name).and_then(Value::as_u64).unwrap_or_default();
    let attempts = match number("attempts_max") {
        1 => return format!("{pool}, never retried"),
        attempts => attempts,
    };
    let errors = retry("errors").and_then(Value::as_array).into_iter().flatten();
    let component = (retry("component_errors") == Some(&Value::Bool(true))).then_some("component");
    let also: Vec<&str> = component.into_iter().chain(errors.filter_map(Value::as_str)).collect();
    let also = match also.is_empty() {
        true => String::new(),
        false => format!(", also after {}", also.join(", ")),
    };
    let (first, longest) = (number("backoff_ms"), number("backoff_ms_max"));
    format!("{pool}, up to {attempts} attempts, {first} to {longest} ms apart{also}")
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn word<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_run_is_explained() {
        let task = json!({"cell": "A-1", "state": "ready", "text": "no worker is alive"});
        let answer = json!({"state": "running", "text": "it is under way", "tasks": [task]});
        let drawn = draw_run(&answer);
        assert!(drawn.starts_with("running: it is under way\n  A-1 "), "{drawn}");
        assert!(drawn.ends_with(" ready      no worker is alive\n"), "{drawn}");
    }

    #[test]
    fn a_plan_is_drawn() {
        let plan = json!({
            "cells": [
                {"index": 0, "id": "A-1", "depends_on": [], "why": [],
                 "members": [{"node": "A-1", "display_name": "A", "role": "primary"}]},
                {"index": 1, "id": "B-1", "depends_on": [0], "why": ["it takes a model"],
                 "members": [{"node": "M-1", "display_name": "M", "role": "copy"},
                             {"node": "B-1", "display_name": "B", "role": "primary"}]}],
            "edges": [{"from": "A-1.x", "to": "B-1.y", "carries": "data: Message"}],
            "terms": [{"cell": 0, "pool": null, "retry": {"attempts_max": 1}},
                {"cell": 1, "pool": "gpu", "retry": {"attempts_max": 5, "backoff_ms": 200,
                    "backoff_ms_max": 900, "component_errors": true, "errors": ["timed_out"]}}],
            "skipped": [{"node": "T-1", "because": "orphan_tool"}]
        });
        let text = draw("flow", &plan);
        let terms =
            "pool gpu, up to 5 attempts, 200 to 900 ms apart, also after component, timed_out";
        for part in [
            "2 cells",
            "[0] A-1",
            "after [0]",
            "(copy)",
            "because it takes",
            "T-1",
            "the default pool, never retried",
            terms,
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }
}
