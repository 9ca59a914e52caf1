//! Knowledge bases of the run's user, as their components use them.

use domain::id::{KnowledgeId, UserId};
use proto::frame::ReplyError;
use proto::message::AttemptRef;
use serde_json::{Value, json};
use store::{KnowledgeBase, NewSegment, RunRecord, Tenant};

use super::{Answer, error, text, told};
use crate::engine::Engine;
use crate::error::Error;

/// Most bytes of chunks in one answer. A message on the bus holds them, as JSON within JSON.
const ANSWER_BYTES_MAX: u64 = 700 * 1024;
/// What is known of a base's content; anything else that a cell says of it is not kept.
const FIGURES: [&str; 7] =
    ["chunks", "words", "characters", "size", "source_types", "status", "failure_reason"];
/// Most bytes of one of them.
const FIGURE_BYTES_MAX: usize = 4 * 1024;

/// `{"name"}` → the base, without what is in it.
pub(super) async fn get(
    tenant: &Tenant,
    record: &RunRecord,
    args: &Value,
) -> Result<Answer, Error> {
    let user = match user_of(record) {
        Ok(user) => user,
        Err(refused) => return Ok(Err(refused)),
    };
    let Some(name) = text(args, "name") else {
        return Ok(Err(error("invalid", "the call names no knowledge base")));
    };
    Ok(told(tenant.knowledge_base(user, name).await)?.map(|base| shown(&base)))
}

/// `{"id", "after"}` → `{"segments": [[chunk, …], …], "last", "more"}`.
pub(super) async fn read(
    tenant: &Tenant,
    record: &RunRecord,
    reader: AttemptRef,
    args: &Value,
) -> Result<Answer, Error> {
    let (user, id) = match base_of(record, args) {
        Ok(found) => found,
        Err(refused) => return Ok(Err(refused)),
    };
    let after = args.get("after").and_then(Value::as_i64).unwrap_or(-1);
    let found = tenant.read_knowledge(user, id, reader, (after, ANSWER_BYTES_MAX)).await;
    let segments = match told(found)? {
        Ok(segments) => segments,
        Err(refused) => return Ok(Err(refused)),
    };
    let chunks: Result<Vec<Value>, _> =
        segments.chunks.iter().map(|text| serde_json::from_str(text)).collect();
    let chunks = chunks?;
    Ok(Ok(json!({"segments": chunks, "last": segments.last, "more": segments.more})))
}

/// `{"id", "nth", "chunks": […]}`: the same number of the same attempt is added once.
pub(super) async fn add(
    engine: &Engine,
    tenant: &Tenant,
    record: &RunRecord,
    (attempt, args): (AttemptRef, &Value),
) -> Result<Answer, Error> {
    let (user, id) = match base_of(record, args) {
        Ok(found) => found,
        Err(refused) => return Ok(Err(refused)),
    };
    let (Some(nth), Some(chunks @ Value::Array(_))) =
        (args.get("nth").and_then(Value::as_u64), args.get("chunks"))
    else {
        return Ok(Err(error("invalid", "the call has no number or no list of chunks")));
    };
    let new = NewSegment { attempt, nth, chunks: chunks.to_string() };
    let added = tenant.add_knowledge(user, id, new, engine.files.tenant_bytes_max).await;
    Ok(told(added)?.map(|()| json!({})))
}

/// `{"id", "figures": {…}}`: what is in the base by now.
pub(super) async fn note(
    tenant: &Tenant,
    record: &RunRecord,
    args: &Value,
) -> Result<Answer, Error> {
    let (user, id) = match base_of(record, args) {
        Ok(found) => found,
        Err(refused) => return Ok(Err(refused)),
    };
    let Some(Value::Object(said)) = args.get("figures") else {
        return Ok(Err(error("invalid", "the call has no figures")));
    };
    let figures = said.iter().filter(|(name, figure)| {
        FIGURES.contains(&name.as_str()) && figure.to_string().len() <= FIGURE_BYTES_MAX
    });
    let figures = figures.map(|(name, figure)| (name.clone(), figure.clone())).collect();
    Ok(told(tenant.note_knowledge(user, id, &figures).await)?.map(|base| shown(&base)))
}

fn user_of(record: &RunRecord) -> Result<UserId, ReplyError> {
    record.user.ok_or_else(|| error("refused", "this run is nobody's, and so is its knowledge"))
}

fn base_of(record: &RunRecord, args: &Value) -> Result<(UserId, KnowledgeId), ReplyError> {
    let id = text(args, "id").and_then(|id| id.parse().ok());
    let id = id.ok_or_else(|| error("invalid", "the call has no id of a knowledge base"))?;
    Ok((user_of(record)?, id))
}

fn shown(base: &KnowledgeBase) -> Value {
    json!({
        "id": base.id,
        "name": base.name,
        "configuration": base.configuration,
        "figures": base.figures,
    })
}
