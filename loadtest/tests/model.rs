//! The model server as clients see it: a real socket, a real HTTP client.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use flowcell_loadtest::ApiKey;
use flowcell_loadtest::model::{Config, Model, ModelHandle, Script, Timing};
use futures::StreamExt as _;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// A server which stops with the test.
struct Running {
    handle: ModelHandle,
    client: Client,
    serving: JoinHandle<Result<()>>,
}

impl Running {
    async fn start(config: Config) -> Result<Self> {
        let model = Model::bind(SocketAddr::from(([127, 0, 0, 1], 0)), config).await?;
        let handle = model.handle();
        let client = Client::builder().no_proxy().build()?;
        Ok(Self { handle, client, serving: tokio::spawn(model.serve()) })
    }

    async fn scripted(script: Value) -> Result<Self> {
        let script = Script::parse(&script.to_string())?;
        Self::start(Config { script, ..Config::default() }).await
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.handle.url())
    }

    async fn post(&self, path: &str, body: &Value) -> Result<reqwest::Response> {
        Ok(self.client.post(self.url(path)).json(body).send().await?)
    }

    async fn chat(&self, body: &Value) -> Result<reqwest::Response> {
        self.post("/v1/chat/completions", body).await
    }

    async fn stop(self) -> Result<()> {
        self.handle.stop();
        // Idle connections of the client would hold the graceful end up.
        drop(self.client);
        self.serving.await?
    }
}

fn question(text: &str, stream: bool) -> Value {
    json!({
        "model": "gpt-4o",
        "stream": stream,
        "stream_options": if stream { json!({"include_usage": true}) } else { Value::Null },
        "messages": [{"role": "user", "content": text}],
    })
}

/// The chunks of a stream, which must be `data:` frames that end with `[DONE]`.
fn chunks(body: &str) -> Result<Vec<Value>> {
    let frames: Vec<&str> = body.split_terminator("\n\n").collect();
    let (last, chunks) = frames.split_last().context("no frames")?;
    anyhow::ensure!(*last == "data: [DONE]", "the last frame is {last:?}");
    chunks
        .iter()
        .map(|frame| {
            let data = frame.strip_prefix("data: ").context("a frame without data")?;
            Ok(serde_json::from_str(data)?)
        })
        .collect()
}

fn joined(chunks: &[Value], pointer: &str) -> String {
    chunks.iter().filter_map(|chunk| chunk.pointer(pointer)?.as_str()).collect()
}

#[tokio::test]
async fn a_stream_is_role_content_finish_usage_done() -> Result<()> {
    let server = Running::start(Config::default()).await?;
    let asked = question("how are you?", true);
    let response = server.chat(&asked).await?;
    assert_eq!(response.headers()["content-type"], "text/event-stream; charset=utf-8");
    let body = response.text().await?;
    let chunks = chunks(&body)?;
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(chunks[0]["usage"], Value::Null);
    assert_eq!(chunks[1]["choices"][0]["delta"], json!({"content": "You "}));
    let text = joined(&chunks, "/choices/0/delta/content");
    assert!(text.starts_with("You asked: how are you?\n\n"), "{text}");
    let [.., finish, usage] = chunks.as_slice() else { anyhow::bail!("too short") };
    assert_eq!(finish["choices"][0]["finish_reason"], "stop");
    assert_eq!(finish["choices"][0]["delta"], json!({}));
    assert_eq!(usage["choices"], json!([]));
    let words = text.split_whitespace().count();
    assert_eq!(usage["usage"]["prompt_tokens"], 3);
    assert_eq!(usage["usage"]["completion_tokens"], words);
    assert_eq!(usage["usage"]["total_tokens"], words + 3);
    // One chunk a word, and the four others.
    assert_eq!(chunks.len(), words + 3);

    let whole = server.chat(&question("how are you?", false)).await?.json::<Value>().await?;
    assert_eq!(whole["choices"][0]["message"]["content"], text);
    assert_eq!(whole["usage"], usage["usage"]);
    assert_eq!(server.chat(&asked).await?.text().await?, body, "the same answer, to the byte");
    server.stop().await
}

#[tokio::test]
async fn a_stream_without_usage_does_not_mention_it() -> Result<()> {
    let server = Running::start(Config::default()).await?;
    let mut asked = question("hi", true);
    asked["stream_options"] = Value::Null;
    let chunks = chunks(&server.chat(&asked).await?.text().await?)?;
    assert!(chunks.iter().all(|chunk| chunk.get("usage").is_none()));
    assert_eq!(chunks[chunks.len() - 1]["choices"][0]["finish_reason"], "stop");
    server.stop().await
}

#[tokio::test]
async fn an_agent_calls_a_tool_then_answers() -> Result<()> {
    let server = Running::scripted(json!({"rules": [
        {"name": "ask", "match": {"contains": "weather", "last_role": "user"}, "tool_calls": [
            {"id": "call_a", "name": "get_weather", "arguments": {"city": "Zürich", "unit": "C"}},
            {"name": "get_time"},
        ]},
        {"name": "tell", "match": {"turn": 2}, "text": "It is sunny.",
         "usage": {"prompt_tokens": 40, "completion_tokens": 4}},
    ]}))
    .await?;
    let chunks = chunks(&server.chat(&question("the weather?", true)).await?.text().await?)?;
    let first = &chunks[1]["choices"][0]["delta"]["tool_calls"][0];
    assert_eq!(
        (first["index"].as_u64(), first["id"].as_str(), first["type"].as_str()),
        (Some(0), Some("call_a"), Some("function"))
    );
    assert_eq!(first["function"], json!({"name": "get_weather", "arguments": ""}));
    let of_call = |index: usize| {
        let pieces = chunks.iter().filter(|chunk| {
            chunk.pointer("/choices/0/delta/tool_calls/0/index") == Some(&json!(index))
        });
        let pieces: Vec<Value> = pieces.cloned().collect();
        joined(&pieces, "/choices/0/delta/tool_calls/0/function/arguments")
    };
    assert_eq!(of_call(0), r#"{"city":"Zürich","unit":"C"}"#);
    assert_eq!(of_call(1), "{}");
    assert_eq!(chunks[chunks.len() - 2]["choices"][0]["finish_reason"], "tool_calls");

    let whole = server.chat(&question("the weather?", false)).await?.json::<Value>().await?;
    let message = &whole["choices"][0]["message"];
    assert_eq!(message["content"], Value::Null);
    assert_eq!(message["tool_calls"][0]["id"], "call_a");
    assert_eq!(whole["choices"][0]["finish_reason"], "tool_calls");

    let mut second = question("the weather?", false);
    let history =
        [message.clone(), json!({"role": "tool", "tool_call_id": "call_a", "content": "sunny"})];
    second["messages"].as_array_mut().context("messages")?.extend(history);
    let told = server.chat(&second).await?.json::<Value>().await?;
    assert_eq!(told["choices"][0]["message"]["content"], "It is sunny.");
    assert_eq!(told["usage"]["total_tokens"], 44);
    server.stop().await
}

#[tokio::test]
async fn failures_are_scripted() -> Result<()> {
    let server = Running::scripted(json!({"rules": [
        {"match": {"contains": "limit"}, "fail": {
            "status": 429, "message": "slow down", "code": "rate_limit_exceeded", "retry_after_s": 7}},
        {"match": {"contains": "cut"}, "text": "one two three four", "cut_after_tokens": 2},
        {"match": {"glob": "*"}, "fail": {"status": 500}},
    ]}))
    .await?;
    let limited = server.chat(&question("limit", true)).await?;
    assert_eq!(
        (limited.status().as_u16(), &limited.headers()["retry-after"]),
        (429, &"7".parse()?)
    );
    assert_eq!(
        limited.json::<Value>().await?,
        json!({"error": {"message": "slow down", "type": "rate_limit_error",
                         "param": null, "code": "rate_limit_exceeded"}})
    );
    let other = server.chat(&question("other", false)).await?;
    assert_eq!(other.status().as_u16(), 500);

    let mut pieces = server.chat(&question("cut", true)).await?.bytes_stream();
    let mut received = String::new();
    let mut broken = false;
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(piece) => received.push_str(std::str::from_utf8(&piece)?),
            Err(_) => broken = true,
        }
    }
    assert!(broken, "the connection broke");
    assert!(received.contains("two ") && !received.contains("three"), "{received}");
    let whole = server.chat(&question("cut", false)).await?;
    assert!(whole.text().await.is_err(), "half a body is no body");
    server.stop().await
}

#[tokio::test]
async fn bad_requests_get_openais_error_body() -> Result<()> {
    let server = Running::start(Config::default()).await?;
    for (path, body) in [
        ("/v1/chat/completions", json!({"messages": []})),
        ("/v1/chat/completions", json!({"model": "m", "messages": []})),
        ("/v1/embeddings", json!({"model": "m", "input": []})),
        ("/v1/embeddings", json!({"model": "m", "input": "a", "dimensions": 0})),
        ("/v1/responses", json!({"model": "m"})),
    ] {
        let response = server.post(path, &body).await?;
        assert_eq!(response.status().as_u16(), 400, "{path} {body}");
        let error = response.json::<Value>().await?;
        assert_eq!(error["error"]["type"], "invalid_request_error", "{path} {body}");
    }
    let unknown = server.post("/v1/audio", &json!({})).await?;
    assert_eq!(unknown.status().as_u16(), 404);
    assert_eq!(unknown.json::<Value>().await?["error"]["code"], "unknown_url");
    let unread = server.client.post(server.url("/v1/embeddings")).body("{").send().await?;
    assert_eq!(unread.status().as_u16(), 400);
    server.stop().await
}

#[tokio::test]
async fn embeddings_are_the_same_in_both_encodings() -> Result<()> {
    use base64::Engine as _;
    let server = Running::start(Config::default()).await?;
    let ask = |fields: Value| {
        let mut body = json!({"model": "e", "input": ["a cat", "a dog"], "dimensions": 64});
        if let (Some(body), Value::Object(fields)) = (body.as_object_mut(), fields) {
            body.extend(fields);
        }
        let server = &server;
        async move { anyhow::Ok(server.post("/v1/embeddings", &body).await?.json::<Value>().await?) }
    };
    let floats = ask(json!({})).await?;
    assert_eq!(floats, ask(json!({})).await?);
    let vector: Vec<f32> = serde_json::from_value(floats["data"][1]["embedding"].clone())?;
    assert_eq!(vector.len(), 64);
    let length: f32 = vector.iter().map(|value| value * value).sum();
    assert!((length - 1.0).abs() < 1e-4);
    assert_eq!(floats["usage"], json!({"prompt_tokens": 4, "total_tokens": 4}));

    let packed = ask(json!({"encoding_format": "base64"})).await?;
    let text = packed["data"][1]["embedding"].as_str().context("a string")?;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text)?;
    let unpacked: Vec<f32> = bytes
        .chunks_exact(4)
        .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))
        .collect();
    assert_eq!(unpacked, vector);

    let usual = ask(json!({"dimensions": null})).await?;
    assert_eq!(usual["data"][0]["embedding"].as_array().map(Vec::len), Some(1_536));
    server.stop().await
}

#[tokio::test]
async fn what_was_asked_is_recorded_and_forgotten() -> Result<()> {
    let server = Running::start(Config {
        recorded_max: 2,
        script: Script::parse(r#"{"rules":[{"name":"b","match":{"contains":"b"},"text":"B"}]}"#)?,
        ..Config::default()
    })
    .await?;
    for text in ["a", "b", "c"] {
        server.chat(&question(text, false)).await?.text().await?;
    }
    let get = || async {
        let response = server.client.get(server.url("/recorded")).send().await?;
        anyhow::Ok(response.json::<Value>().await?)
    };
    let recorded = get().await?;
    assert_eq!(recorded["dropped"], 1);
    assert_eq!(recorded["requests"].as_array().map(Vec::len), Some(2));
    let first = &recorded["requests"][0];
    assert_eq!(first["sequence"], 2);
    assert_eq!(first["path"], "/v1/chat/completions");
    assert_eq!(first["rule"], "b");
    assert_eq!(first["body"], question("b", false));
    let cleared = server.client.delete(server.url("/recorded")).send().await?;
    assert_eq!(cleared.status().as_u16(), 204);
    assert_eq!(get().await?, json!({"dropped": 0, "requests": []}));
    server.stop().await
}

#[tokio::test]
async fn a_key_is_asked_for_everywhere_but_healthz() -> Result<()> {
    let api_key = Some(ApiKey::new("sk-right"));
    let server = Running::start(Config { api_key, ..Config::default() }).await?;
    for (path, key, status) in [
        ("/healthz", None, 200),
        ("/v1/models", None, 401),
        ("/v1/models", Some("sk-wrong"), 401),
        ("/v1/models", Some("sk-right"), 200),
        ("/recorded", None, 401),
        ("/nowhere", None, 401),
    ] {
        let mut request = server.client.get(server.url(path));
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        let response = request.send().await?;
        assert_eq!(response.status().as_u16(), status, "{path} with {key:?}");
        if status == 401 {
            let error = response.json::<Value>().await?;
            assert_eq!(error["error"]["code"], "invalid_api_key");
        }
    }
    server.stop().await
}

#[tokio::test]
async fn tokens_take_their_time() -> Result<()> {
    let timing =
        Timing { first_token: Duration::from_millis(60), token: Duration::from_millis(20) };
    let script = Script::parse(r#"{"rules":[{"text":"a b c d"}]}"#)?;
    let server = Running::start(Config { script, timing, ..Config::default() }).await?;
    for stream in [true, false] {
        let started = Instant::now();
        server.chat(&question("?", stream)).await?.text().await?;
        let took = started.elapsed();
        assert!(took >= Duration::from_millis(120), "stream {stream} took {took:?}");
    }
    server.stop().await
}

#[tokio::test]
async fn responses_speak_the_same_script() -> Result<()> {
    let server = Running::scripted(json!({"rules": [
        {"text": "Let me see.", "tool_calls": [{"id": "call_a", "name": "f", "arguments": {"x": 1}}]},
    ]}))
    .await?;
    let asked = json!({"model": "gpt-4o", "input": "hi"});
    let whole = server.post("/v1/responses", &asked).await?.json::<Value>().await?;
    assert_eq!(whole["output"][0]["content"][0]["text"], "Let me see.");
    assert_eq!(whole["output"][1]["call_id"], "call_a");
    let body = server
        .post("/v1/responses", &json!({"model": "gpt-4o", "input": "hi", "stream": true}))
        .await?
        .text()
        .await?;
    let events: Vec<Value> = body
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let numbers: Vec<_> = events.iter().filter_map(|e| e["sequence_number"].as_u64()).collect();
    assert_eq!(numbers, (0..events.len() as u64).collect::<Vec<_>>());
    let of = |kind: &str| {
        let events: Vec<Value> = events.iter().filter(|e| e["type"] == kind).cloned().collect();
        joined(&events, "/delta")
    };
    assert_eq!(of("response.output_text.delta"), "Let me see.");
    assert_eq!(of("response.function_call_arguments.delta"), r#"{"x":1}"#);
    let last = events.last().context("events")?;
    assert_eq!(last["type"], "response.completed");
    let output = &last["response"]["output"];
    assert_eq!(output[0]["content"], whole["output"][0]["content"]);
    assert_eq!(output[1], whole["output"][1]);
    server.stop().await
}
