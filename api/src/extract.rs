//! Reading requests: raw bodies, JSON, queries, ids in paths.

use std::str::FromStr;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{Error, Issue};
use crate::python;

/// The body's bytes, as many as the route allows.
#[derive(Debug)]
pub(crate) struct Raw(pub(crate) Bytes);

impl<S: Send + Sync> FromRequest<S> for Raw {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        Ok(Self(Bytes::from_request(request, state).await?))
    }
}

impl Raw {
    /// The body of one of our routes.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.0).map_err(|error| Error::BodyInvalid(error.to_string()))
    }

    /// The body of one of Langflow's routes, with its answer to what is no JSON.
    pub(crate) fn value(&self) -> Result<Value, Error> {
        parse(&self.0)
    }

    /// The ids that the body lists, for one of Langflow's routes.
    pub(crate) fn ids<T: Id>(&self) -> Result<Vec<T>, Error> {
        let value = self.value()?;
        let not_a_list =
            || Issue::body("list_type", [] as [Value; 0], "Input should be a valid list");
        let (mut ids, mut issues) = (Vec::new(), Vec::new());
        for (index, item) in value.as_array().ok_or_else(not_a_list)?.iter().enumerate() {
            match item.as_str().map(str::parse) {
                Some(Ok(id)) => ids.push(id),
                Some(Err(error)) => {
                    issues.push(Issue::body("uuid_parsing", [index], no_id::<T>(&error)));
                }
                None => {
                    let message = "UUID input should be a string, bytes or UUID object";
                    issues.push(Issue::body("uuid_type", [index], message));
                }
            }
        }
        if issues.is_empty() { Ok(ids) } else { Err(Error::Issues(issues)) }
    }

    /// The body of one of Langflow's routes, where only an object will do.
    pub(crate) fn object(&self) -> Result<Map<String, Value>, Error> {
        if self.0.is_empty() {
            return Err(Error::Issues(vec![Issue {
                kind: "missing",
                place: vec!["body".into()],
                message: "Field required".to_owned(),
                expected: None,
            }]));
        }
        match self.value()? {
            Value::Object(map) => Ok(map),
            _ => Err(Error::Issues(vec![Issue {
                kind: "model_attributes_type",
                place: vec!["body".into()],
                message: "Input should be a valid dictionary or object to extract fields from"
                    .to_owned(),
                expected: None,
            }])),
        }
    }
}

/// JSON as FastAPI reads it.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, Error> {
    let text = std::str::from_utf8(bytes).map_err(|_| Error::BodyUnreadable)?;
    serde_json::from_str(text).map_err(|error| {
        // What Python would have taken (`NaN`) is blamed on where our parser stopped.
        let position = python::error_position(text).unwrap_or_else(|| error.column());
        Issue::body("json_invalid", [position], "JSON decode error").into()
    })
}

/// The query's parameters; of those that come twice the last one counts.
#[derive(Debug)]
pub(crate) struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let query = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        Ok(Self(query.map(|Query(pairs)| pairs).unwrap_or_default()))
    }
}

impl Params {
    /// A parameter that is there and not empty.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let last = self.0.iter().rev().find(|(key, _)| key == name);
        last.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// A parameter that must be there.
    pub(crate) fn required(&self, name: &str) -> Result<&str, Error> {
        let last = self.0.iter().rev().find(|(key, _)| key == name);
        last.map(|(_, value)| value.as_str())
            .ok_or_else(|| query_issue("missing", name, "Field required"))
    }

    /// A truth value as pydantic reads it.
    pub(crate) fn flag(&self, name: &str, default: bool) -> Result<bool, Error> {
        let Some(text) = self.text(name) else { return Ok(default) };
        match text.to_lowercase().as_str() {
            "1" | "true" | "t" | "yes" | "y" | "on" => Ok(true),
            "0" | "false" | "f" | "no" | "n" | "off" => Ok(false),
            _ => Err(query_issue(
                "bool_parsing",
                name,
                "Input should be a valid boolean, unable to interpret input",
            )),
        }
    }

    /// A whole number of at least 0.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, Error> {
        let message = "Input should be a valid integer, unable to parse string as an integer";
        let parse =
            |text: &str| text.parse().map_err(|_| query_issue("int_parsing", name, message));
        self.text(name).map(parse).transpose()
    }

    /// An id.
    pub(crate) fn id<T: Id>(&self, name: &str) -> Result<Option<T>, Error> {
        let parse = |text: &str| {
            text.parse().map_err(|error| query_issue("uuid_parsing", name, &no_id::<T>(&error)))
        };
        self.text(name).map(parse).transpose()
    }
}

/// A typed id.
pub(crate) trait Id: FromStr<Err = uuid::Error> {}

impl<T: FromStr<Err = uuid::Error>> Id for T {}

/// What FastAPI says of a text that is no id. Its library is the one that is used here, of a version
/// that counted characters from 1.
fn no_id<T: Id>(error: &T::Err) -> String {
    let said = error.to_string();
    let counted = said
        .strip_prefix("invalid character")
        .and_then(|rest| rest.rsplit_once(' '))
        .and_then(|(words, place)| Some((words, place.parse::<usize>().ok()?)));
    match counted {
        Some((words, place)) => {
            let place = place.saturating_add(1);
            format!("Input should be a valid UUID, invalid character{words} {place}")
        }
        None => format!("Input should be a valid UUID, {said}"),
    }
}

/// An id in a path, with FastAPI's answer to what is none.
pub(crate) fn path_id<T: Id>(name: &str, text: &str) -> Result<T, Error> {
    text.parse().map_err(|error| {
        Issue {
            kind: "uuid_parsing",
            place: vec!["path".into(), name.into()],
            message: no_id::<T>(&error),
            expected: None,
        }
        .into()
    })
}

fn query_issue(kind: &'static str, name: &str, message: &str) -> Error {
    let place = vec!["query".into(), name.into()];
    Issue { kind, place, message: message.to_owned(), expected: None }.into()
}
