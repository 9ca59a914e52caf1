//! A probe as the source of a component, in a flow of one node, in a task.

use std::collections::BTreeMap;

use domain::id::{FlowId, RunId, UserId};
use domain::plan::Driver;
use proto::frame::{FrameLimits, Task};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::backends::{ALONE_WALL_MS, OPEN_FILES_MAX, SHM_BYTES, limits};
use crate::register::folder;

/// The one node; forged results of `frames.py` name it too.
pub(crate) const NODE: &str = "Probe-00001";

/// Another tenant's secret, in two halves: see `Scene.secret`.
pub(crate) const SECRET: (&str, &str) = ("sk-of-an-earlier-", "cell-7731-4711-0815");

/// What forbidden servers answer with.
pub(crate) const CANARY: &str = "forbidden-server-9431";

const SOURCE: &str = r#"
from lfx.custom import Component
from lfx.io import Output
from lfx.schema.message import Message


class Probe(Component):
    display_name = "Probe"
    name = "Probe"
    inputs = []
    outputs = [Output(display_name="Output", name="output", method="build_output")]

    async def build_output(self) -> Message:
        import json
        import sys
        import types

        for name, source in json.loads(SOURCES).items():
            module = sys.modules[name] = types.ModuleType(name)
            exec(compile(source, name, "exec"), module.__dict__)
        import hostile_cell

        return Message(text=hostile_cell.run(json.loads(PLAN)))
"#;

/// What a cell is to do; `hostile_cell.py` reads it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Plan {
    pub(crate) mode: &'static str,
    pub(crate) ids: Vec<String>,
    pub(crate) modules: Vec<String>,
    pub(crate) scene: Scene,
    pub(crate) left: Value,
}

/// `Scene` of `hostile_kit.py`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Scene {
    pub(crate) limits: Value,
    pub(crate) secret: (&'static str, &'static str),
    pub(crate) canary: &'static str,
    pub(crate) allowed: String,
    pub(crate) wall: f64,
    pub(crate) mark: String,
}

impl Scene {
    /// What is true of every cell of the suite.
    pub(crate) fn of_a_cell(mark: &str) -> Self {
        let limits = limits();
        Self {
            limits: json!({
                "pids": limits.pids,
                "files": OPEN_FILES_MAX,
                "tmpfs_bytes": limits.tmpfs_bytes,
                "shm_bytes": SHM_BYTES,
                "memory_bytes": limits.memory_bytes,
                "cpu_millis": limits.cpu_millis,
                "frames": limits.frames_max,
                "output_bytes": limits.output_bytes_max,
                "log_bytes": limits.log_bytes_max,
                "connections": crate::world::CONNECTIONS_MAX,
            }),
            secret: SECRET,
            canary: CANARY,
            allowed: crate::world::allowed(),
            #[allow(clippy::cast_precision_loss, reason = "a few seconds")]
            wall: ALONE_WALL_MS as f64 / 1_000.0,
            mark: mark.into(),
        }
    }
}

impl Plan {
    pub(crate) fn new(mode: &'static str, ids: Vec<String>) -> Self {
        let mut modules: Vec<String> =
            ids.iter().filter_map(|id| id.split('.').next()).map(str::to_owned).collect();
        modules.dedup();
        Self { mode, ids, modules, scene: Scene::of_a_cell("hc-probe"), left: json!({}) }
    }

    /// The task of a cell with this plan, of a tenant of its own.
    pub(crate) fn task(&self) -> Task {
        let limits = limits();
        Task {
            run_id: RunId(Uuid::new_v4()),
            flow_id: FlowId(Uuid::new_v4()),
            flow_name: "Hostile".into(),
            user_id: UserId(Uuid::new_v4()),
            session_id: "s".into(),
            cell: NODE.into(),
            attempt: 1,
            graph: json!({ "nodes": [node(&self.source())], "edges": [] }),
            members: vec![NODE.into()],
            driver: Driver::Order,
            inputs: BTreeMap::new(),
            parameters: BTreeMap::new(),
            variables: BTreeMap::new(),
            request_variables: BTreeMap::new(),
            upstream_usage: None,
            child: false,
            overrides: BTreeMap::new(),
            may_pause: false,
            decisions: BTreeMap::new(),
            saved: BTreeMap::new(),
            context: BTreeMap::new(),
            egress: None,
            limits: FrameLimits {
                log_bytes_max: limits.log_bytes_max,
                output_bytes_max: limits.output_bytes_max,
                log_lines_max: Some(limits.log_lines_max),
                open_files: Some(limits.open_files),
                cpu_ms: Some(limits.cpu_ms),
            },
        }
    }

    fn source(&self) -> String {
        let names = ["hostile_kit", "hostile_cell"].into_iter().map(str::to_owned);
        let sources: serde_json::Map<String, Value> = names
            .chain(self.modules.iter().cloned())
            .map(|name| {
                let path = folder().join(format!("{name}.py"));
                let text = std::fs::read_to_string(path).unwrap();
                (name, Value::String(text))
            })
            .collect();
        // JSON's text literals are Python's too.
        let literal = |value: String| serde_json::to_string(&value).unwrap();
        SOURCE
            .replace("SOURCES", &literal(Value::Object(sources).to_string()))
            .replace("PLAN", &literal(serde_json::to_string(self).unwrap()))
    }
}

fn node(source: &str) -> Value {
    let code = json!({ "type": "code", "name": "code", "value": source, "show": true });
    let output = json!({
        "name": "output", "display_name": "Output", "types": ["Message"], "method": "build_output",
    });
    json!({
        "id": NODE,
        "type": "genericNode",
        "data": { "id": NODE, "type": "Probe", "node": {
            "display_name": "Probe",
            "template": { "_type": "Component", "code": code },
            "outputs": [output],
            "base_classes": ["Message"],
        }},
    })
}

/// Finds the text that begins so, wherever it is in a value.
pub(crate) fn text_in<'a>(value: &'a Value, start: &str) -> Option<&'a str> {
    match value {
        Value::String(text) => text.starts_with(start).then_some(text),
        Value::Array(items) => items.iter().find_map(|item| text_in(item, start)),
        Value::Object(fields) => fields.values().find_map(|field| text_in(field, start)),
        _ => None,
    }
}
