//! Chat completions as OpenAI spells them: the whole answer, and the chunks of a streamed one.

use serde_json::{Value, json};

use super::plan::{Answer, Timing, ToolCall, Usage};
use super::speech::{Speaker, Step, data_frame};

/// The moment every answer claims to be made at: the same request gets the same bytes.
pub(crate) const CREATED_UNIX_S: u64 = 1_700_000_000;
const FINGERPRINT: &str = "fp_flowcell";

/// What all chunks of one answer have in common.
#[derive(Debug)]
pub(crate) struct Envelope {
    pub(crate) id: String,
    pub(crate) model: String,
    pub(crate) include_usage: bool,
}

/// The answer to a request without `stream`.
pub(crate) fn completion(envelope: &Envelope, answer: &Answer) -> Value {
    let mut message = json!({"role": "assistant", "content": answer.text, "refusal": null});
    if !answer.tool_calls.is_empty()
        && let Some(fields) = message.as_object_mut()
    {
        let calls = answer.tool_calls.iter().map(whole_call).collect();
        fields.insert("tool_calls".to_owned(), Value::Array(calls));
    }
    json!({
        "id": envelope.id,
        "object": "chat.completion",
        "created": CREATED_UNIX_S,
        "model": envelope.model,
        "choices": [{
            "index": 0,
            "message": message,
            "logprobs": null,
            "finish_reason": answer.finish_reason,
        }],
        "usage": usage(answer.usage),
        "service_tier": "default",
        "system_fingerprint": FINGERPRINT,
    })
}

/// The answer to a request with `stream`: role, content, tool calls, finish, usage, `[DONE]`.
pub(crate) fn steps(envelope: &Envelope, answer: &Answer, timing: Timing) -> Vec<Step> {
    let mut speaker = Speaker::new(timing, answer.cut_after_tokens);
    let first_content = answer.text.is_some().then_some("");
    let role = json!({"role": "assistant", "content": first_content, "refusal": null});
    speaker.frame(envelope.delta(role, Value::Null));
    for token in answer.text_tokens() {
        speaker.token(envelope.delta(json!({"content": token}), Value::Null));
    }
    for (index, call) in answer.tool_calls.iter().enumerate() {
        let start = json!({"tool_calls": [{
            "index": index,
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": ""},
        }]});
        speaker.frame(envelope.delta(start, Value::Null));
        for fragment in call.fragments() {
            let piece =
                json!({"tool_calls": [{"index": index, "function": {"arguments": fragment}}]});
            speaker.token(envelope.delta(piece, Value::Null));
        }
    }
    speaker.end_of_tokens();
    speaker.frame(envelope.delta(json!({}), json!(answer.finish_reason)));
    if envelope.include_usage {
        speaker.frame(envelope.chunk(json!([]), usage(answer.usage)));
    }
    speaker.frame("data: [DONE]\n\n".to_owned());
    speaker.into_steps()
}

impl Envelope {
    fn delta(&self, delta: Value, finish_reason: Value) -> String {
        let choice = json!([{
            "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason,
        }]);
        self.chunk(choice, Value::Null)
    }

    fn chunk(&self, choices: Value, usage: Value) -> String {
        let mut chunk = json!({
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": CREATED_UNIX_S,
            "model": self.model,
            "service_tier": "default",
            "system_fingerprint": FINGERPRINT,
            "choices": choices,
        });
        // OpenAI names `usage` in every chunk when it was asked for, and in none otherwise.
        if self.include_usage
            && let Some(fields) = chunk.as_object_mut()
        {
            fields.insert("usage".to_owned(), usage);
        }
        data_frame(&chunk)
    }
}

fn whole_call(call: &ToolCall) -> Value {
    json!({
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    })
}

fn usage(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens.saturating_add(usage.completion_tokens),
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    })
}
