//! Questions of a component: its chat messages, its files, its knowledge, the variables it may read,
//! and the flows that it runs.
//!
//! The answer depends on the attempt that asks, never on ids in the question: a component reaches
//! its own tenant and nothing else, and of messages and files only its flow's and its user's.

mod children;
mod files;
mod flows;
mod knowledge;
mod messages;
mod variables;

use proto::frame::ReplyError;
use proto::message::AttemptRef;
use serde_json::Value;
use store::RunRecord;

use crate::engine::Engine;
use crate::error::Error;

type Answer = Result<Value, ReplyError>;

/// Answers one call: an operation, and how many messages the attempt has stored where that counts.
pub(crate) async fn answer(
    engine: &Engine,
    record: &RunRecord,
    attempt: AttemptRef,
    (op, nth): (&str, Option<u64>),
    args: Value,
) -> Result<Answer, Error> {
    let tenant = engine.store.tenant(record.tenant);
    let task = attempt.task;
    match op {
        "message.store" => messages::store(&tenant, record, (task, nth), args).await,
        "message.update" => messages::update(&tenant, record, args).await,
        "messages.get" => messages::get(&tenant, record, (task, nth), &args).await,
        "messages.delete" => messages::delete(&tenant, record, &args).await,
        "variable.get" => variables::get(engine, &tenant, record, task, &args).await,
        "file.get" => files::get(&tenant, record, &args).await,
        "file.list" => files::list(&tenant, record, &args).await,
        "flow.list" => flows::list(&tenant, record, &args).await,
        "flow.get" => flows::get(&tenant, &args).await,
        "flow.run" => children::run(engine, &tenant, record, task, args).await,
        "flow.wait" => children::wait(engine, &tenant, record, &args).await,
        "file.put" => files::put(engine, &tenant, record, args).await,
        "knowledge.get" => knowledge::get(&tenant, record, &args).await,
        "knowledge.read" => knowledge::read(&tenant, record, attempt, &args).await,
        "knowledge.add" => knowledge::add(engine, &tenant, record, (attempt, &args)).await,
        "knowledge.note" => knowledge::note(&tenant, record, &args).await,
        _ => Ok(Err(error("invalid", format!("unknown call {op}")))),
    }
}

fn error(kind: &str, message: impl Into<String>) -> ReplyError {
    ReplyError { kind: kind.to_owned(), message: message.into() }
}

/// A store's refusal is an answer; its trouble is not.
fn told<T>(outcome: Result<T, store::Error>) -> Result<Result<T, ReplyError>, Error> {
    match outcome {
        Ok(value) => Ok(Ok(value)),
        Err(failed @ store::Error::NotFound { .. }) => {
            Ok(Err(error("not_found", failed.to_string())))
        }
        Err(
            failed @ (store::Error::Duplicate { .. }
            | store::Error::Invalid { .. }
            | store::Error::TooLarge { .. }),
        ) => Ok(Err(error("invalid", failed.to_string()))),
        Err(failed) => Err(failed.into()),
    }
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}
