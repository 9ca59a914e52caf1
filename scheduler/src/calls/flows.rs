//! Flows that a component asks for: to offer their names, and to describe itself by one of them.

use domain::id::FlowId;
use proto::frame::ReplyError;
use serde_json::{Map, Value, json};
use store::{Flow, FlowFilter, FlowHeader, Page, RunRecord, Tenant};

use super::{Answer, error, text, told};
use crate::error::Error;

/// The tenant's flows, latest first: all, or with `folder` only those beside the run's own.
pub(super) async fn list(
    tenant: &Tenant,
    record: &RunRecord,
    args: &Value,
) -> Result<Answer, Error> {
    let listed = async {
        let beside = match args.get("folder").and_then(Value::as_bool) {
            Some(true) => Some(tenant.flow(record.flow).await?.header.project),
            Some(false) | None => None,
        };
        let filter = FlowFilter { project: beside };
        let mut flows = tenant.flows(&filter, Page::all()).await?.items;
        flows.retain(|flow| beside.is_none() || flow.id != record.flow);
        flows.sort_by_key(|flow| std::cmp::Reverse(flow.updated));
        Ok(json!({"flows": flows.iter().map(header).collect::<Vec<_>>()}))
    };
    told(listed.await)
}

/// One flow by id or by name, with its graph.
pub(super) async fn get(tenant: &Tenant, args: &Value) -> Result<Answer, Error> {
    Ok(find(tenant, args).await?.map(|flow| {
        let mut answer = header(&flow.header);
        let mut data = flow.data;
        describe(&mut data);
        if let Some(answer) = answer.as_object_mut() {
            answer.insert("data".to_owned(), data);
        }
        answer
    }))
}

/// The flow that the arguments name: by `id` if there is one, otherwise by its whole `name`.
pub(super) async fn find(tenant: &Tenant, args: &Value) -> Result<Result<Flow, ReplyError>, Error> {
    let id = text(args, "id").map(str::parse::<FlowId>);
    let found = match (id, text(args, "name")) {
        (Some(Ok(id)), _) => tenant.flow(id).await,
        (Some(Err(_)), _) => return Ok(Err(error("invalid", "the flow's id is no id"))),
        (None, Some(name)) => tenant.flow_named(name).await,
        (None, None) => return Ok(Err(error("invalid", "the call names no flow"))),
    };
    told(found)
}

fn header(flow: &FlowHeader) -> Value {
    json!({
        "id": flow.id,
        "name": flow.name,
        "description": flow.description,
        "folder_id": flow.project,
        "updated_ms": flow.updated.millis(),
    })
}

/// Leaves what a graph is described by. Code of another flow never runs in this cell, and what its
/// author typed into a password field is none of its business.
fn describe(data: &mut Value) {
    let nodes = data.get_mut("nodes").and_then(Value::as_array_mut);
    for node in nodes.into_iter().flatten() {
        let Some(node) = node.pointer_mut("/data/node") else { continue };
        let template = node.get_mut("template").and_then(Value::as_object_mut);
        for (name, field) in template.into_iter().flatten() {
            if let Some(field) = field.as_object_mut().filter(|field| is_hidden(name, field)) {
                field.insert("value".to_owned(), Value::String(String::new()));
            }
        }
        // A group.
        if let Some(inner) = node.pointer_mut("/flow/data") {
            describe(inner);
        }
    }
}

fn is_hidden(name: &str, field: &Map<String, Value>) -> bool {
    let is = |key: &str| field.get(key) == Some(&Value::Bool(true));
    name == "code" || (is("password") && !is("load_from_db"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_code_nor_typed_secrets_leave_in_a_description() {
        let inner = json!({"nodes": [{"data": {"node": {"template": {
            "code": {"value": "inner code"}, "key": {"password": true, "value": "sk-inner"}}}}}]});
        let mut data = json!({"nodes": [{"data": {"node": {
            "template": {
                "_type": "Component",
                "code": {"value": "outer code"},
                "key": {"password": true, "value": "sk-outer"},
                "named": {"password": true, "load_from_db": true, "value": "OPENAI_API_KEY"},
                "text": {"value": "hello"},
            },
            "flow": {"data": inner},
        }}}]});
        describe(&mut data);
        let text = data.to_string();
        for hidden in ["code\":{\"value\":\"o", "inner code", "sk-"] {
            assert!(!text.contains(hidden), "{text}");
        }
        assert!(text.contains("hello") && text.contains("OPENAI_API_KEY"), "{text}");
    }
}
