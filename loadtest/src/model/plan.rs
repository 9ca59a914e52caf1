//! Decides what to answer. Pure: the same request gives the same plan.

use std::time::Duration;

use serde_json::Value;

use super::script::{Fail, FinishReason, Rule, Script, ScriptedCall};
use super::wire::{ChatRequest, words};
use crate::deterministic::hash;

/// How many words of the question the default reply repeats.
const ECHO_WORDS_MAX: usize = 200;
/// Characters in one streamed fragment of a tool's arguments.
const FRAGMENT_CHARS: usize = 8;

/// How fast the model speaks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timing {
    /// Wait before the first token.
    pub first_token: Duration,
    /// Wait between tokens.
    pub token: Duration,
}

#[derive(Debug)]
pub(crate) struct Plan {
    /// Name of the rule which answered; none for the default reply.
    pub(crate) rule: Option<String>,
    pub(crate) timing: Timing,
    pub(crate) act: Act,
}

#[derive(Debug)]
pub(crate) enum Act {
    Fail(Fail),
    Answer(Answer),
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) text: Option<String>,
    pub(crate) tool_calls: Vec<ToolCall>,
    pub(crate) finish_reason: FinishReason,
    pub(crate) usage: Usage,
    pub(crate) cut_after_tokens: Option<usize>,
}

#[derive(Debug)]
pub(crate) struct ToolCall {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) arguments: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) prompt_tokens: u64,
    pub(crate) completion_tokens: u64,
}

impl Plan {
    pub(crate) fn for_request(script: &Script, timing: Timing, request: &ChatRequest) -> Self {
        let last_user = request.last_user();
        let asked = request.asked(&last_user);
        let found = script.rules.iter().enumerate().find(|(_, rule)| rule.when.holds(&asked));
        match found {
            Some((index, rule)) => Self::scripted(index, rule, timing, request),
            None => Self {
                rule: None,
                timing,
                act: Act::Answer(Answer::of_text(default_reply(&last_user), request)),
            },
        }
    }

    fn scripted(index: usize, rule: &Rule, timing: Timing, request: &ChatRequest) -> Self {
        let timing = Timing {
            first_token: rule.first_token_ms.map_or(timing.first_token, Duration::from_millis),
            token: rule.token_ms.map_or(timing.token, Duration::from_millis),
        };
        let act = match &rule.fail {
            Some(fail) => Act::Fail(fail.clone()),
            None => Act::Answer(Answer::scripted(index, rule, request)),
        };
        Self { rule: Some(rule.label(index)), timing, act }
    }
}

impl Answer {
    fn of_text(text: String, request: &ChatRequest) -> Self {
        let usage = Usage { prompt_tokens: request.words(), completion_tokens: words(&text) };
        Self {
            text: Some(text),
            tool_calls: Vec::new(),
            finish_reason: FinishReason::Stop,
            usage,
            cut_after_tokens: None,
        }
    }

    fn scripted(index: usize, rule: &Rule, request: &ChatRequest) -> Self {
        let tool_calls: Vec<ToolCall> = rule
            .tool_calls
            .iter()
            .enumerate()
            .map(|(place, call)| ToolCall::scripted(index, place, call))
            .collect();
        let spoken = rule.text.as_deref().map_or(0, words);
        let called: u64 = tool_calls.iter().map(|call| words(&call.arguments).max(1)).sum();
        let natural =
            if tool_calls.is_empty() { FinishReason::Stop } else { FinishReason::ToolCalls };
        Self {
            text: rule.text.clone(),
            tool_calls,
            finish_reason: rule.finish_reason.unwrap_or(natural),
            usage: Usage {
                prompt_tokens: rule.usage.prompt_tokens.unwrap_or_else(|| request.words()),
                completion_tokens: rule.usage.completion_tokens.unwrap_or(spoken + called),
            },
            cut_after_tokens: rule
                .cut_after_tokens
                .map(|tokens| usize::try_from(tokens).unwrap_or(usize::MAX)),
        }
    }

    /// The text in words, each with the white space after it.
    pub(crate) fn text_tokens(&self) -> Vec<String> {
        self.text.as_deref().map(text_tokens).unwrap_or_default()
    }

    /// How long saying all of it takes.
    pub(crate) fn spoken_for(&self, timing: Timing) -> Duration {
        let fragments: usize = self.tool_calls.iter().map(|call| call.fragments().len()).sum();
        let tokens = self.text_tokens().len().saturating_add(fragments);
        let gaps = u32::try_from(tokens.saturating_sub(1)).unwrap_or(u32::MAX);
        timing.first_token.saturating_add(timing.token.saturating_mul(gaps))
    }
}

impl ToolCall {
    fn scripted(rule: usize, place: usize, call: &ScriptedCall) -> Self {
        let arguments = match &call.arguments {
            Value::String(text) => text.clone(),
            object => object.to_string(),
        };
        let seed = format!("{rule} {place} {} {arguments}", call.name);
        Self {
            id: call.id.clone().unwrap_or_else(|| format!("call_{:016x}", hash(seed.as_bytes()))),
            name: call.name.clone(),
            arguments,
        }
    }

    /// The arguments in pieces, as a model streams them.
    pub(crate) fn fragments(&self) -> Vec<String> {
        let characters: Vec<char> = self.arguments.chars().collect();
        characters.chunks(FRAGMENT_CHARS).map(|piece| piece.iter().collect()).collect()
    }
}

fn default_reply(last_user: &str) -> String {
    let mut echoed: Vec<&str> = last_user.split_whitespace().take(ECHO_WORDS_MAX + 1).collect();
    if echoed.len() > ECHO_WORDS_MAX {
        echoed.truncate(ECHO_WORDS_MAX);
        echoed.push("…");
    }
    let question = if echoed.is_empty() { "nothing at all".to_owned() } else { echoed.join(" ") };
    format!(
        "You asked: {question}\n\nI am a scripted model and always give the same answer to the \
         same question. There is no thought behind these words, but they arrive in order."
    )
}

fn text_tokens(text: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut after_space = false;
    for character in text.chars() {
        let starts = after_space && !character.is_whitespace();
        match tokens.last_mut() {
            Some(token) if !starts => token.push(character),
            _ => tokens.push(character.to_string()),
        }
        // Leading white space belongs to the first word.
        after_space = character.is_whitespace()
            && tokens.last().is_some_and(|token| !token.trim().is_empty());
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::{Act, Plan, Timing, text_tokens};
    use crate::model::script::Script;
    use crate::model::wire::{ChatRequest, read};

    fn request(question: &str) -> ChatRequest {
        let body =
            serde_json::json!({"model": "m", "messages": [{"role": "user", "content": question}]});
        read(body.to_string().as_bytes()).unwrap().1
    }

    #[test]
    fn tokens_join_to_the_text() {
        for text in ["", "one", " one  two\n\nthree ", "\n", "ä ö"] {
            assert_eq!(text_tokens(text).concat(), text);
        }
        assert_eq!(text_tokens(" a b\n\nc "), [" a ", "b\n\n", "c "]);
    }

    #[test]
    fn the_first_matching_rule_answers() {
        let script = Script::parse(
            r#"{"rules":[{"match":{"contains":"x"},"text":"no"},
                         {"name":"second","match":{"contains":"hi"},"text":"a b","usage":{"prompt_tokens":7}},
                         {"text":"last"}]}"#,
        )
        .unwrap();
        let plan = Plan::for_request(&script, Timing::default(), &request("oh hi"));
        assert_eq!(plan.rule.as_deref(), Some("second"));
        let Act::Answer(answer) = plan.act else { panic!("an answer") };
        assert_eq!((answer.usage.prompt_tokens, answer.usage.completion_tokens), (7, 2));
    }

    #[test]
    fn the_default_reply_names_the_question() {
        let plan = Plan::for_request(&Script::default(), Timing::default(), &request("why?"));
        let Act::Answer(answer) = plan.act else { panic!("an answer") };
        assert!(answer.text.unwrap().starts_with("You asked: why?"));
    }
}
