//! `POST /v1/chat/completions`.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::Response;

use super::chunks::{self, Envelope};
use super::error::ApiError;
use super::plan::{Act, Answer, Plan};
use super::server::{Shared, readable};
use super::speech;
use super::wire::{ChatRequest, read};
use crate::deterministic::hash;

pub(crate) const PATH: &str = "/v1/chat/completions";

pub(crate) async fn complete(
    State(shared): State<Arc<Shared>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let body = readable(body)?;
    let (recorded, request) = read::<ChatRequest>(&body)?;
    if request.messages.is_empty() {
        return Err(ApiError::invalid("[] is too short - 'messages'".to_owned()));
    }
    let plan = Plan::for_request(&shared.script, shared.timing, &request);
    shared.recorder.record(PATH, plan.rule.clone(), recorded, body.len());
    let answer = settle(&plan).await?;
    let envelope = Envelope {
        id: format!("chatcmpl-{:016x}", hash(&body)),
        include_usage: request.include_usage(),
        model: request.model,
    };
    if request.stream.unwrap_or(false) {
        return Ok(speech::streamed(chunks::steps(&envelope, answer, plan.timing)));
    }
    tokio::time::sleep(answer.spoken_for(plan.timing)).await;
    Ok(speech::whole(&chunks::completion(&envelope, answer), answer.cut_after_tokens.is_some()))
}

/// The plan's answer, or its failure after the wait that the first token would have had.
pub(crate) async fn settle(plan: &Plan) -> Result<&Answer, ApiError> {
    match &plan.act {
        Act::Answer(answer) => Ok(answer),
        Act::Fail(fail) => {
            tokio::time::sleep(plan.timing.first_token).await;
            Err(ApiError::scripted(fail))
        }
    }
}
