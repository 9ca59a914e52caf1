//! The component that is measured: what comes in goes out. The same that runners warm up with.

use std::collections::BTreeMap;

use anyhow::Result;
use domain::id::{FlowId, RunId, UserId};
use domain::plan::Driver;
use proto::frame::{FrameLimits, Task};
use serde_json::{Value, json};
use uuid::Uuid;

const SOURCE: &str = "
import time
from lfx.custom import Component
from lfx.io import MessageTextInput, Output
from lfx.schema.message import Message


class Echo(Component):
    display_name = \"Echo\"
    inputs = [MessageTextInput(name=\"input_value\", display_name=\"Input\")]
    outputs = [Output(display_name=\"Output\", name=\"output\", method=\"build_output\")]

    def build_output(self) -> Message:
        time.sleep(float(self.input_value))
        return Message(text=self.input_value)
";

/// A cell that sleeps for so long and answers.
pub(super) fn echo(seconds: f64) -> Result<Task> {
    let run_id = RunId(Uuid::new_v4());
    let field = |name: &str, kind: &str, value: Value| json!({"type": kind, "name": name, "value": value, "show": true});
    let template = json!({
        "_type": "Component",
        "code": field("code", "code", SOURCE.into()),
        "input_value": field("input_value", "str", seconds.to_string().into()),
    });
    let output = json!({
        "name": "output", "display_name": "Output", "types": ["Message"], "method": "build_output"
    });
    let node = json!({
        "display_name": "Echo", "template": template, "outputs": [output],
        "base_classes": ["Message"],
    });
    let data = json!({"id": "Echo-0", "type": "Echo", "node": node});
    Ok(Task {
        run_id,
        flow_id: FlowId(Uuid::new_v4()),
        flow_name: "echo".into(),
        user_id: UserId(Uuid::new_v4()),
        session_id: "bench".into(),
        cell: "Echo-0".into(),
        attempt: 1,
        graph: json!({
            "nodes": [{"id": "Echo-0", "type": "genericNode", "data": data}], "edges": []
        }),
        members: vec!["Echo-0".into()],
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
            log_bytes_max: 1 << 20,
            log_lines_max: Some(1_000),
            output_bytes_max: 1 << 22,
            open_files: Some(4_096),
            cpu_ms: Some(600_000),
        },
    })
}
