//! A component's chat messages.

use domain::history::unheard;
use domain::id::{FlowId, MessageId, RunId};
use proto::frame::ReplyError;
use serde_json::{Map, Value, json};
use store::{Message, MessageFilter, MessagePatch, NewMessage, RunRecord, Tenant, Unheard, now};
use uuid::Uuid;

use super::{Answer, error, text, told};
use crate::error::Error;

/// Most messages in one answer.
const MESSAGES_MAX: u64 = 10_000;
/// An attempt that has said more than this finds what a lost one has said after that.
const OWN_MAX: u64 = 1_000;

fn message_of(args: Value) -> Result<Map<String, Value>, ReplyError> {
    match args {
        Value::Object(mut args) => match args.remove("message") {
            Some(Value::Object(message)) => Ok(message),
            _ => Err(error("invalid", "the call has no message")),
        },
        _ => Err(error("invalid", "the call has no arguments")),
    }
}

fn id_of(message: &Map<String, Value>) -> Option<MessageId> {
    message.get("id").and_then(Value::as_str).and_then(|id| id.parse().ok())
}

/// The worker says which message of its attempt it is: then the id follows from run, task and
/// number, and the same message is stored once however often it is sent.
pub(super) async fn store(
    tenant: &Tenant,
    record: &RunRecord,
    (task, nth): (u32, Option<u64>),
    args: Value,
) -> Result<Answer, Error> {
    let message = match message_of(args) {
        Ok(message) => message,
        Err(refused) => return Ok(Err(refused)),
    };
    let data = Value::Object(message.clone());
    let new = NewMessage {
        id: id_of(&message).or(nth.map(|nth| id_for(record.run.id, task, nth))),
        flow: record.flow,
        session_id: text(&data, "session_id").unwrap_or(&record.session_id).to_owned(),
        run: Some(record.run.id),
        task: Some(task),
        sender: text(&data, "sender").unwrap_or_default().to_owned(),
        sender_name: text(&data, "sender_name").unwrap_or_default().to_owned(),
        timestamp: now(),
        data,
    };
    let stored = match nth {
        Some(_) => tenant.put_message(new).await,
        None => tenant.store_message(new).await,
    };
    Ok(told(stored)?.map(dump))
}

fn id_for(run: RunId, task: u32, nth: u64) -> MessageId {
    MessageId(Uuid::new_v5(&run.uuid(), format!("message:{task}:{nth}").as_bytes()))
}

pub(super) async fn update(
    tenant: &Tenant,
    record: &RunRecord,
    args: Value,
) -> Result<Answer, Error> {
    let message = match message_of(args) {
        Ok(message) => message,
        Err(refused) => return Ok(Err(refused)),
    };
    let Some(id) = id_of(&message) else {
        return Ok(Err(error("invalid", "the message has no id")));
    };
    let only = MessageFilter { flow: Some(record.flow), ids: Some(vec![id]), ..Default::default() };
    if tenant.messages(&only).await?.is_empty() {
        let anywhere = MessageFilter { flow: None, ..only };
        // A flow that another one ran has said it: Langflow leaves that message alone, and lets
        // the caller's flow say it anew.
        let kind =
            if tenant.messages(&anywhere).await?.is_empty() { "not_found" } else { "other_flow" };
        return Ok(Err(error(kind, format!("message {id} not found"))));
    }
    let field = |key: &str| message.get(key).and_then(Value::as_str).map(str::to_owned);
    let patch = MessagePatch {
        session_id: field("session_id"),
        sender: field("sender"),
        sender_name: field("sender_name"),
        data: message,
    };
    Ok(told(tenant.update_message(id, patch).await)?.map(dump))
}

pub(super) async fn get(
    tenant: &Tenant,
    record: &RunRecord,
    (task, said): (u32, Option<u64>),
    args: &Value,
) -> Result<Answer, Error> {
    let run = record.run.id;
    let own = said.filter(|said| *said <= OWN_MAX);
    let own = own.map(|said| (task, (0..said).map(|nth| id_for(run, task, nth)).collect()));
    let unheard = Unheard { run, tasks: unheard(&record.run.tasks, task), own };
    let owned = |key: &str| text(args, key).filter(|text| !text.is_empty()).map(str::to_owned);
    // Another flow's history is readable inside a tenant, as in Langflow.
    let flow = text(args, "flow_id").and_then(|id| id.parse::<FlowId>().ok());
    let session_id = owned("session_id");
    let filter = MessageFilter {
        flow: if session_id.is_some() { flow } else { flow.or(Some(record.flow)) },
        session_id,
        sender: owned("sender"),
        sender_name: owned("sender_name"),
        unheard: Some(unheard),
        newest_first: text(args, "order").is_some_and(|order| order.eq_ignore_ascii_case("desc")),
        limit: args.get("limit").and_then(Value::as_u64).or(Some(MESSAGES_MAX)),
        ..MessageFilter::default()
    };
    let context = owned("context_id");
    let wanted = |message: &Message| {
        context.as_deref().is_none_or(|wanted| text(&message.data, "context_id") == Some(wanted))
    };
    Ok(told(tenant.messages(&filter).await)?.map(|messages| {
        let messages: Vec<Value> = messages.into_iter().filter(wanted).map(dump).collect();
        json!({ "messages": messages })
    }))
}

pub(super) async fn delete(
    tenant: &Tenant,
    record: &RunRecord,
    args: &Value,
) -> Result<Answer, Error> {
    let session_id = text(args, "session_id").map(str::to_owned);
    let id = text(args, "id").and_then(|id| id.parse::<MessageId>().ok());
    if session_id.is_none() && id.is_none() {
        return Ok(Err(error("invalid", "name a session or a message to delete")));
    }
    let filter = MessageFilter {
        flow: Some(record.flow),
        session_id,
        ids: id.map(|id| vec![id]),
        ..MessageFilter::default()
    };
    let deleted = told(tenant.delete_messages(&filter).await)?;
    Ok(deleted.map(|deleted| json!({ "deleted": deleted })))
}

/// A stored message as Langflow dumps it, with the id and the flow that the store knows.
fn dump(message: Message) -> Value {
    let mut data = message.data;
    if let Some(fields) = data.as_object_mut() {
        fields.insert("id".to_owned(), Value::String(message.id.to_string()));
        fields.insert("flow_id".to_owned(), Value::String(message.flow.to_string()));
    }
    data
}
