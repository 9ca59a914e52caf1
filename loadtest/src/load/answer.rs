//! Reads what the run endpoint says: a `RunResponse`, or the events of a stream.

use serde_json::Value;

use super::outcome::{Failure, FailureClass};

/// What an event means here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Token,
    /// The result, with the messages' texts.
    End(Vec<String>),
    Error(String),
    /// `add_message` and whatever else there is.
    Other,
}

/// Reads a body, be it an answer's or an event's.
pub(crate) fn json(bytes: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(bytes).map_err(|error| {
        let text = String::from_utf8_lossy(bytes);
        Failure::new(FailureClass::Unreadable, &format!("{error}: {text}"))
    })
}

pub(crate) fn event(value: &Value) -> Result<Event, Failure> {
    let data = value.get("data").unwrap_or(&Value::Null);
    match value.get("event").and_then(Value::as_str) {
        Some("token") => Ok(Event::Token),
        Some("end") => {
            let result = data.get("result").ok_or_else(|| unreadable(value))?;
            Ok(Event::End(texts(result)?))
        }
        Some("error") => Ok(Event::Error(reason(data))),
        Some(_) => Ok(Event::Other),
        None => Err(unreadable(value)),
    }
}

/// The texts of all messages in a `RunResponse`. A flow without an output has none; an answer
/// without `outputs` is not a `RunResponse`.
pub(crate) fn texts(response: &Value) -> Result<Vec<String>, Failure> {
    let runs =
        response.get("outputs").and_then(Value::as_array).ok_or_else(|| unreadable(response))?;
    let vertices = runs.iter().filter_map(|run| run.get("outputs")?.as_array()).flatten();
    Ok(vertices.filter_map(text).collect())
}

/// Where the SDKs look, in their order.
fn text(vertex: &Value) -> Option<String> {
    const PLACES: [&str; 4] = [
        "/results/message/text",
        "/results/message/data/text",
        "/outputs/message/message",
        "/messages/0/message",
    ];
    let found = PLACES.iter().find_map(|place| vertex.pointer(place)?.as_str());
    found.map(str::to_owned)
}

/// Langflow sends two forms: first a message about the failure, then the failure itself.
fn reason(data: &Value) -> String {
    let short = ["error", "text"].iter().find_map(|field| data.get(field)?.as_str());
    short.map_or_else(|| data.to_string(), str::to_owned)
}

/// The check of `--expect`.
pub(crate) fn expected(texts: &[String], expect: Option<&str>) -> Result<(), Failure> {
    match expect {
        Some(wanted) if !texts.iter().any(|text| text.contains(wanted)) => {
            Err(Failure::new(FailureClass::Wrong, &format!("got {texts:?}")))
        }
        _ => Ok(()),
    }
}

fn unreadable(value: &Value) -> Failure {
    Failure::new(FailureClass::Unreadable, &format!("unexpected form: {value}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Event, event, expected, texts};
    use crate::load::outcome::FailureClass;

    #[test]
    fn texts_are_found_where_langflow_puts_them() {
        let full = json!({"outputs":[{"outputs":[{"results":{"message":{"text":"Hello"}}}]}]});
        assert_eq!(texts(&full).unwrap(), ["Hello"]);
        let short = json!({"outputs":[{"outputs":[{"outputs":{"message":{"message":"Hi"}}}]}]});
        assert_eq!(texts(&short).unwrap(), ["Hi"]);
        assert!(texts(&json!({"outputs":[{"outputs":[]}]})).unwrap().is_empty());
        assert_eq!(texts(&json!({})).unwrap_err().class, FailureClass::Unreadable);
    }

    #[test]
    fn events_are_told_apart() {
        let read = |value| event(&value).unwrap();
        assert_eq!(read(json!({"event":"token","data":{"chunk":"a"}})), Event::Token);
        assert_eq!(read(json!({"event":"add_message","data":{}})), Event::Other);
        let end = json!({"event":"end","data":{"result":{"outputs":[]}}});
        assert_eq!(read(end), Event::End(Vec::new()));
        let error = json!({"event":"error","data":{"error":"500"}});
        assert_eq!(read(error), Event::Error("500".to_owned()));
        let message = json!({"event":"error","data":{"text":"kaboom","error":false}});
        assert_eq!(read(message), Event::Error("kaboom".to_owned()));
        assert!(event(&json!({"event":"end","data":{}})).is_err());
    }

    #[test]
    fn a_missing_text_is_wrong() {
        let texts = ["Hello Bob".to_owned()];
        assert!(expected(&texts, Some("Bob")).is_ok());
        assert!(expected(&texts, None).is_ok());
        assert_eq!(expected(&texts, Some("Ann")).unwrap_err().class, FailureClass::Wrong);
    }
}
