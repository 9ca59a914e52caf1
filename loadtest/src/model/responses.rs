//! `POST /v1/responses`, the smallest part of it that clients need: texts and function calls in
//! and out, whole or streamed. The script's rules are those of chat completions.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::Response;
use serde_json::{Value, json};

use super::chat::settle;
use super::chunks::CREATED_UNIX_S;
use super::error::ApiError;
use super::plan::{Answer, Plan, Timing};
use super::server::{Shared, readable};
use super::speech::{self, Speaker, Step, event_frame};
use super::wire::{ResponsesRequest, read};
use crate::deterministic::hash;

pub(crate) const PATH: &str = "/v1/responses";

pub(crate) async fn respond(
    State(shared): State<Arc<Shared>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let body = readable(body)?;
    let (recorded, request) = read::<ResponsesRequest>(&body)?;
    let request = request.into_chat();
    let plan = Plan::for_request(&shared.script, shared.timing, &request);
    shared.recorder.record(PATH, plan.rule.clone(), recorded, body.len());
    let answer = settle(&plan).await?;
    let head = Head { id: format!("{:016x}", hash(&body)), model: request.model.clone() };
    if request.stream.unwrap_or(false) {
        return Ok(speech::streamed(head.steps(answer, plan.timing)));
    }
    tokio::time::sleep(answer.spoken_for(plan.timing)).await;
    let output = head.output(answer);
    let whole = head.response("completed", output, usage(answer));
    Ok(speech::whole(&whole, answer.cut_after_tokens.is_some()))
}

/// What all events of one answer have in common.
#[derive(Debug)]
struct Head {
    id: String,
    model: String,
}

/// Numbers the events, as clients expect.
#[derive(Debug)]
struct Events {
    speaker: Speaker,
    sequence: u64,
}

impl Head {
    fn steps(&self, answer: &Answer, timing: Timing) -> Vec<Step> {
        let mut events =
            Events { speaker: Speaker::new(timing, answer.cut_after_tokens), sequence: 0 };
        let opened = self.response("in_progress", Vec::new(), Value::Null);
        events.frame("response.created", json!({"response": opened}));
        events.frame("response.in_progress", json!({"response": opened}));
        let output = self.output(answer);
        let first_call = usize::from(answer.text.is_some());
        for (index, item) in output.iter().enumerate() {
            match index.checked_sub(first_call).and_then(|place| answer.tool_calls.get(place)) {
                Some(call) => events.call(index, item, &call.fragments(), &call.arguments),
                None => events.message(index, item, answer),
            }
        }
        events.speaker.end_of_tokens();
        let done = self.response("completed", output, usage(answer));
        events.frame("response.completed", json!({"response": done}));
        events.speaker.into_steps()
    }

    /// The items of the answer: the message first, then the calls.
    fn output(&self, answer: &Answer) -> Vec<Value> {
        let message = answer.text.as_ref().map(|text| {
            json!({
                "id": format!("msg_{}", self.id), "type": "message", "status": "completed",
                "role": "assistant", "content": [text_part(text)],
            })
        });
        let calls = answer.tool_calls.iter().map(|call| {
            json!({
                "id": format!("fc_{}", call.id), "type": "function_call", "status": "completed",
                "call_id": call.id, "name": call.name, "arguments": call.arguments,
            })
        });
        message.into_iter().chain(calls).collect()
    }

    fn response(&self, status: &str, output: Vec<Value>, usage: Value) -> Value {
        json!({
            "id": format!("resp_{}", self.id), "object": "response", "created_at": CREATED_UNIX_S,
            "status": status, "error": null, "incomplete_details": null, "instructions": null,
            "max_output_tokens": null, "model": self.model, "output": output,
            "parallel_tool_calls": true, "previous_response_id": null, "temperature": 1.0,
            "tool_choice": "auto", "tools": [], "top_p": 1.0, "truncation": "disabled",
            "text": {"format": {"type": "text"}}, "usage": usage, "metadata": {},
        })
    }
}

impl Events {
    fn frame(&mut self, name: &str, fields: Value) {
        let text = self.numbered(name, fields);
        self.speaker.frame(text);
    }

    fn token(&mut self, name: &str, fields: Value) {
        let text = self.numbered(name, fields);
        self.speaker.token(text);
    }

    fn numbered(&mut self, name: &str, mut fields: Value) -> String {
        if let Some(fields) = fields.as_object_mut() {
            fields.insert("type".to_owned(), json!(name));
            fields.insert("sequence_number".to_owned(), json!(self.sequence));
        }
        self.sequence += 1;
        event_frame(name, &fields)
    }

    fn message(&mut self, index: usize, item: &Value, answer: &Answer) {
        let id = item.get("id");
        let text = answer.text.as_deref().unwrap_or_default();
        let opened = with(item, &[("status", json!("in_progress")), ("content", json!([]))]);
        self.frame("response.output_item.added", json!({"output_index": index, "item": opened}));
        let place = json!({"item_id": id, "output_index": index, "content_index": 0});
        self.frame("response.content_part.added", with(&place, &[("part", text_part(""))]));
        for token in answer.text_tokens() {
            let delta = with(&place, &[("delta", json!(token)), ("logprobs", json!([]))]);
            self.token("response.output_text.delta", delta);
        }
        let done = with(&place, &[("text", json!(text)), ("logprobs", json!([]))]);
        self.frame("response.output_text.done", done);
        self.frame("response.content_part.done", with(&place, &[("part", text_part(text))]));
        self.frame("response.output_item.done", json!({"output_index": index, "item": item}));
    }

    fn call(&mut self, index: usize, item: &Value, fragments: &[String], arguments: &str) {
        let opened = with(item, &[("status", json!("in_progress")), ("arguments", json!(""))]);
        self.frame("response.output_item.added", json!({"output_index": index, "item": opened}));
        let place = json!({"item_id": item.get("id"), "output_index": index});
        for fragment in fragments {
            let delta = with(&place, &[("delta", json!(fragment))]);
            self.token("response.function_call_arguments.delta", delta);
        }
        let done =
            with(&place, &[("arguments", json!(arguments)), ("name", json!(item.get("name")))]);
        self.frame("response.function_call_arguments.done", done);
        self.frame("response.output_item.done", json!({"output_index": index, "item": item}));
    }
}

fn text_part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

/// A copy of an object with some fields set.
fn with(object: &Value, fields: &[(&str, Value)]) -> Value {
    let mut copy = object.clone();
    if let Some(map) = copy.as_object_mut() {
        map.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    }
    copy
}

fn usage(answer: &Answer) -> Value {
    let usage = answer.usage;
    json!({
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt_tokens.saturating_add(usage.completion_tokens),
    })
}
