//! The script file: ordered rules, the first which matches answers. Unknown fields are refused and
//! a rule which could never mean anything is named with its number.

use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// More rules than anyone reads; a longer list is a generated mistake.
const RULES_MAX: usize = 1_000;
/// Longest wait a rule may ask for: an hour, beyond any client's timeout.
const WAIT_MS_MAX: u64 = 3_600_000;

/// A whole script.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// Tried in order; the first match answers, and without one the default reply does.
    pub rules: Vec<Rule>,
}

/// What to answer, and when.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// A name for recordings and error messages.
    pub name: Option<String>,
    /// All of the given conditions must hold; an empty one matches everything.
    #[serde(rename = "match")]
    pub when: Match,
    /// The text of the reply.
    pub text: Option<String>,
    /// Tools the model asks for.
    pub tool_calls: Vec<ScriptedCall>,
    /// Why the model stopped; `tool_calls` when there are any, else `stop`.
    pub finish_reason: Option<FinishReason>,
    /// Token counts to report instead of counted words.
    pub usage: ScriptedUsage,
    /// Milliseconds before the first token (or before the failure).
    pub first_token_ms: Option<u64>,
    /// Milliseconds between tokens.
    pub token_ms: Option<u64>,
    /// Answer with an HTTP error instead.
    pub fail: Option<Fail>,
    /// Break the connection after this many tokens. A token is a word of text or a fragment of a
    /// tool's arguments.
    pub cut_after_tokens: Option<u32>,
}

/// When a rule applies.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Match {
    /// The last user message contains this, letter case aside.
    pub contains: Option<String>,
    /// The whole last user message fits this pattern; `*` is any text, `?` any one character.
    pub glob: Option<String>,
    /// The model asked for, a pattern as in `glob`.
    pub model: Option<String>,
    /// Which answer of the conversation this would be, from 1: one more than the number of
    /// assistant messages in the request. Counted from the request, so that the same request
    /// always gets the same answer.
    pub turn: Option<u32>,
    /// Role of the very last message; `tool` tells an agent's second call from its first.
    pub last_role: Option<String>,
}

/// A tool call to make.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScriptedCall {
    /// The call's id; derived from its place in the script when left out.
    #[serde(default)]
    pub id: Option<String>,
    /// The function's name.
    pub name: String,
    /// An object, sent as JSON, or a string, sent as it is (so that broken JSON can be scripted).
    #[serde(default = "empty_object")]
    pub arguments: Value,
}

/// Token counts; what is left out is counted in words.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScriptedUsage {
    /// Tokens of the request.
    pub prompt_tokens: Option<u64>,
    /// Tokens of the answer.
    pub completion_tokens: Option<u64>,
}

/// An HTTP failure in OpenAI's shape.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fail {
    /// The HTTP status, 400 to 599.
    pub status: u16,
    /// `error.message`.
    #[serde(default)]
    pub message: Option<String>,
    /// `error.type`; derived from the status when left out.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
    /// `error.code`.
    #[serde(default)]
    pub code: Option<String>,
    /// Seconds for the `retry-after` header.
    #[serde(default)]
    pub retry_after_s: Option<u32>,
}

/// Why the model stopped, in OpenAI's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The answer is complete.
    Stop,
    /// The token limit was reached.
    Length,
    /// Tools were asked for.
    ToolCalls,
    /// The provider's filter stopped it.
    ContentFilter,
}

impl Script {
    /// Reads and checks a script file.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("reading the script {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("in the script {}", path.display()))
    }

    /// Reads and checks a script's text.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let script: Self = serde_json::from_str(text).context("not a script")?;
        script.check()?;
        Ok(script)
    }

    /// Refuses rules which contradict themselves. [`parse`](Self::parse) has done this already.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.rules.len() <= RULES_MAX,
            "{} rules, at most {RULES_MAX} are read",
            self.rules.len()
        );
        for (index, rule) in self.rules.iter().enumerate() {
            rule.check().with_context(|| format!("rule {}", rule.label(index)))?;
        }
        Ok(())
    }
}

impl Rule {
    /// The rule's name, or its number from 1.
    pub(crate) fn label(&self, index: usize) -> String {
        self.name.clone().unwrap_or_else(|| format!("#{}", index.saturating_add(1)))
    }

    fn check(&self) -> anyhow::Result<()> {
        let answers = self.text.is_some() || !self.tool_calls.is_empty();
        match &self.fail {
            Some(_) if answers => bail!("`fail` excludes `text` and `tool_calls`"),
            Some(_) if self.cut_after_tokens.is_some() => {
                bail!("`fail` excludes `cut_after_tokens`")
            }
            Some(fail) => ensure!(
                (400..=599).contains(&fail.status),
                "`fail.status` is {}, must be 400 to 599",
                fail.status
            ),
            None => ensure!(answers, "one of `text`, `tool_calls` and `fail` is needed"),
        }
        ensure!(self.when.turn != Some(0), "`match.turn` counts from 1");
        for (name, wait) in [("first_token_ms", self.first_token_ms), ("token_ms", self.token_ms)] {
            ensure!(
                wait.unwrap_or(0) <= WAIT_MS_MAX,
                "`{name}` is more than an hour ({WAIT_MS_MAX} ms)"
            );
        }
        for (index, call) in self.tool_calls.iter().enumerate() {
            ensure!(!call.name.is_empty(), "tool call {} has an empty `name`", index + 1);
            ensure!(
                call.arguments.is_object() || call.arguments.is_string(),
                "`arguments` of tool call {} must be an object or a string",
                index + 1
            );
        }
        Ok(())
    }
}

impl Match {
    pub(crate) fn holds(&self, asked: &Asked<'_>) -> bool {
        let contains = |wanted: &String| {
            asked.last_user.to_lowercase().contains(wanted.to_lowercase().as_str())
        };
        self.contains.as_ref().is_none_or(contains)
            && self.glob.as_ref().is_none_or(|pattern| glob(pattern, asked.last_user))
            && self.model.as_ref().is_none_or(|pattern| glob(pattern, asked.model))
            && self.turn.is_none_or(|turn| turn == asked.turn)
            && self.last_role.as_ref().is_none_or(|role| role == asked.last_role)
    }
}

/// What rules look at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) model: &'a str,
    pub(crate) last_user: &'a str,
    pub(crate) last_role: &'a str,
    pub(crate) turn: u32,
}

fn empty_object() -> Value {
    Value::Object(serde_json::Map::new())
}

/// Whether the whole text fits the pattern. One step back to the latest `*` is enough, so this is
/// at worst the product of both lengths.
fn glob(pattern: &str, text: &str) -> bool {
    let mut pattern = pattern.chars();
    let mut text = text.chars();
    let mut retry: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let wanted = pattern.next();
        if wanted == Some('*') {
            retry = Some((pattern.clone(), text.clone()));
            continue;
        }
        match (wanted, text.next()) {
            (None, None) => return true,
            (Some('?'), Some(_)) => continue,
            (Some(expected), Some(found)) if expected == found => continue,
            _ => {}
        }
        // A mismatch: let the latest star swallow one character more, if there is one.
        let Some((after_star, mut rest)) = retry.take() else {
            return false;
        };
        if rest.next().is_none() {
            return false;
        }
        pattern = after_star.clone();
        text = rest.clone();
        retry = Some((after_star, rest));
    }
}

#[cfg(test)]
mod tests {
    use super::{Asked, Match, Script, glob};

    fn refusal(text: &str) -> String {
        format!("{:#}", Script::parse(text).unwrap_err())
    }

    #[test]
    fn globs() {
        for (pattern, text) in
            [("*", ""), ("a*c", "abbc"), ("a?c", "abc"), ("*b*b", "abab"), ("gpt-*", "gpt-4o")]
        {
            assert!(glob(pattern, text), "{pattern} should fit {text}");
        }
        for (pattern, text) in [("a", "ab"), ("a?c", "ac"), ("*b", "abc"), ("", "a"), ("?", "")] {
            assert!(!glob(pattern, text), "{pattern} should not fit {text}");
        }
    }

    #[test]
    fn all_conditions_must_hold() {
        let when = Match {
            contains: Some("WEATHER".to_owned()),
            turn: Some(2),
            last_role: Some("tool".to_owned()),
            ..Match::default()
        };
        let asked = Asked { model: "m", last_user: "the weather?", last_role: "tool", turn: 2 };
        assert!(when.holds(&asked));
        assert!(!when.holds(&Asked { turn: 1, ..asked }));
        assert!(!when.holds(&Asked { last_role: "user", ..asked }));
        assert!(!when.holds(&Asked { last_user: "news", ..asked }));
    }

    #[test]
    fn mistakes_are_named() {
        assert!(refusal(r#"{"rules":[{"txt":"a"}]}"#).contains("unknown field `txt`"));
        assert!(refusal(r#"{"rules":[{"text":"a"},{}]}"#).contains("rule #2: one of `text`"));
        assert!(
            refusal(r#"{"rules":[{"name":"n","fail":{"status":200}}]}"#)
                .contains("rule n: `fail.status` is 200")
        );
        assert!(refusal(r#"{"rules":[{"text":"a","match":{"turn":0}}]}"#).contains("from 1"));
        assert!(
            refusal(r#"{"rules":[{"tool_calls":[{"name":"f","arguments":3}]}]}"#)
                .contains("must be an object or a string")
        );
        assert!(refusal(r#"{"rules":[{"text":"a","fail":{"status":500}}]}"#).contains("excludes"));
    }
}
