//! What clients send, read as leniently as OpenAI reads it: unknown fields are ignored.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::ApiError;
use super::script::Asked;

/// `POST /v1/chat/completions`.
#[derive(Debug, Deserialize)]
pub(crate) struct ChatRequest {
    pub(crate) model: String,
    pub(crate) messages: Vec<ChatMessage>,
    #[serde(default)]
    pub(crate) stream: Option<bool>,
    #[serde(default)]
    pub(crate) stream_options: Option<StreamOptions>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ChatMessage {
    pub(crate) role: String,
    #[serde(default)]
    pub(crate) content: Option<Content>,
}

/// A message's content: a text, or parts of which only the texts are read.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
pub(crate) struct Part {
    #[serde(default)]
    text: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct StreamOptions {
    #[serde(default)]
    pub(crate) include_usage: Option<bool>,
}

/// `POST /v1/responses`, as far as it is understood here: the input and nothing else.
#[derive(Debug, Deserialize)]
pub(crate) struct ResponsesRequest {
    pub(crate) model: String,
    pub(crate) input: ResponsesInput,
    #[serde(default)]
    pub(crate) instructions: Option<String>,
    #[serde(default)]
    pub(crate) stream: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum ResponsesInput {
    Text(String),
    Items(Vec<InputItem>),
}

/// A message has a role; a tool's result has the type `function_call_output` and an `output`.
#[derive(Debug, Deserialize)]
pub(crate) struct InputItem {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    content: Option<Content>,
    #[serde(default)]
    output: Option<Content>,
}

/// `POST /v1/embeddings`.
#[derive(Debug, Deserialize)]
pub(crate) struct EmbeddingsRequest {
    pub(crate) model: String,
    pub(crate) input: EmbeddingsInput,
    #[serde(default)]
    pub(crate) encoding_format: Option<EncodingFormat>,
    #[serde(default)]
    pub(crate) dimensions: Option<usize>,
}

/// One text or several, each as text or as token numbers (langchain sends those).
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum EmbeddingsInput {
    Text(String),
    Texts(Vec<String>),
    Tokens(Vec<u64>),
    TokenLists(Vec<Vec<u64>>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EncodingFormat {
    Float,
    Base64,
}

impl ChatRequest {
    pub(crate) fn include_usage(&self) -> bool {
        self.stream_options.as_ref().and_then(|options| options.include_usage).unwrap_or(false)
    }

    pub(crate) fn last_user(&self) -> String {
        self.messages
            .iter()
            .rfind(|message| message.role == "user")
            .map(ChatMessage::text)
            .unwrap_or_default()
    }

    /// What the script's rules look at.
    pub(crate) fn asked<'a>(&'a self, last_user: &'a str) -> Asked<'a> {
        let answered = self.messages.iter().filter(|message| message.role == "assistant").count();
        Asked {
            model: &self.model,
            last_user,
            last_role: self.messages.last().map_or("", |message| message.role.as_str()),
            turn: u32::try_from(answered).unwrap_or(u32::MAX).saturating_add(1),
        }
    }

    pub(crate) fn words(&self) -> u64 {
        self.messages.iter().map(|message| words(&message.text())).sum()
    }
}

impl ChatMessage {
    pub(crate) fn text(&self) -> String {
        self.content.as_ref().map(Content::text).unwrap_or_default()
    }
}

impl Content {
    fn text(&self) -> String {
        match self {
            Content::Text(text) => text.clone(),
            Content::Parts(parts) => {
                parts.iter().filter_map(|part| part.text.as_deref()).collect::<Vec<_>>().join("\n")
            }
        }
    }
}

impl ResponsesRequest {
    /// The same conversation in the form of a chat request, so that one set of rules serves both.
    pub(crate) fn into_chat(self) -> ChatRequest {
        let mut messages = Vec::new();
        if let Some(text) = self.instructions {
            messages.push(ChatMessage::new("system", Content::Text(text)));
        }
        match self.input {
            ResponsesInput::Text(text) => {
                messages.push(ChatMessage::new("user", Content::Text(text)));
            }
            ResponsesInput::Items(items) => {
                messages.extend(items.into_iter().filter_map(InputItem::into_message));
            }
        }
        ChatRequest { model: self.model, messages, stream: self.stream, stream_options: None }
    }
}

impl InputItem {
    fn into_message(self) -> Option<ChatMessage> {
        match (self.kind.as_deref(), self.role) {
            (Some("function_call"), _) => {
                Some(ChatMessage { role: "assistant".to_owned(), content: None })
            }
            (Some("function_call_output"), _) => {
                Some(ChatMessage { role: "tool".to_owned(), content: self.output })
            }
            (_, Some(role)) => Some(ChatMessage { role, content: self.content }),
            (_, None) => None,
        }
    }
}

impl ChatMessage {
    fn new(role: &str, content: Content) -> Self {
        Self { role: role.to_owned(), content: Some(content) }
    }
}

impl EmbeddingsInput {
    pub(crate) fn into_texts(self) -> Vec<String> {
        let spell =
            |tokens: Vec<u64>| tokens.iter().map(u64::to_string).collect::<Vec<_>>().join(" ");
        match self {
            EmbeddingsInput::Text(text) => vec![text],
            EmbeddingsInput::Texts(texts) => texts,
            EmbeddingsInput::Tokens(tokens) => vec![spell(tokens)],
            EmbeddingsInput::TokenLists(lists) => lists.into_iter().map(spell).collect(),
        }
    }
}

/// The number of words, which is what this server calls tokens.
pub(crate) fn words(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

/// Reads a body, first as JSON (to record it) and then as the request. Either failing is the
/// caller's fault.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<(Value, T), ApiError> {
    let value: Value = serde_json::from_slice(body).map_err(|error| {
        ApiError::invalid(format!("We could not parse the JSON body of your request: {error}"))
    })?;
    let request = T::deserialize(&value).map_err(|error| ApiError::invalid(error.to_string()))?;
    Ok((value, request))
}

#[cfg(test)]
mod tests {
    use super::{ChatRequest, EmbeddingsInput, ResponsesRequest, read};

    #[test]
    fn parts_turns_and_words_are_read() {
        let body = br#"{"model":"m","unknown":1,"messages":[
            {"role":"system","content":"be brief"},
            {"role":"user","content":[{"type":"text","text":"one two"},{"type":"image_url","image_url":{}}]},
            {"role":"assistant","content":null,"tool_calls":[]},
            {"role":"tool","content":"sunny"}]}"#;
        let (_, request) = read::<ChatRequest>(body).unwrap();
        let last_user = request.last_user();
        let asked = request.asked(&last_user);
        assert_eq!((asked.last_user, asked.last_role, asked.turn), ("one two", "tool", 2));
        assert_eq!(request.words(), 5);
    }

    #[test]
    fn a_responses_request_is_the_same_conversation() {
        let body = br#"{"model":"m","instructions":"be brief","input":[
            {"role":"user","content":[{"type":"input_text","text":"weather?"}]},
            {"type":"function_call","call_id":"c","name":"f","arguments":"{}"},
            {"type":"function_call_output","call_id":"c","output":"sunny"}]}"#;
        let chat = read::<ResponsesRequest>(body).unwrap().1.into_chat();
        let last_user = chat.last_user();
        let asked = chat.asked(&last_user);
        assert_eq!((asked.last_user, asked.last_role, asked.turn), ("weather?", "tool", 2));
    }

    #[test]
    fn token_numbers_are_texts_too() {
        let input: EmbeddingsInput = serde_json::from_str("[[1,2],[3]]").unwrap();
        assert_eq!(input.into_texts(), ["1 2", "3"]);
    }

    #[test]
    fn a_missing_field_is_named() {
        let error = read::<ChatRequest>(br#"{"messages":[]}"#).unwrap_err();
        assert!(error.message.contains("`model`"), "{}", error.message);
    }
}
