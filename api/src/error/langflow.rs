//! Errors as Langflow words them.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Accepts, Error, Issue, flowcell};

/// Langflow's words; the way that they name is its own.
pub(crate) const NEEDS_PERSON: &str = "This flow uses Human-in-the-Loop (a Human Input node or a \
    tool that requires approval), which the v1 run API cannot execute because it cannot pause and \
    resume. Run it with the v2 workflows API instead: POST /api/v2/workflows with \
    mode='background', then resume via POST /api/v2/workflows/{job_id}/resume.";

/// The body of the answer.
pub(super) fn body(error: &Error, reference: Option<Uuid>) -> Value {
    let detail = match error {
        Error::TooManyLogins { retry_after_s } => {
            let text = "Too many requests. Please try again later.";
            return json!({"detail": text, "retry_after": retry_after_s.to_string()});
        }
        Error::StorageFull { .. } | Error::QueueFull { .. } | Error::TooFast { .. } => {
            // Langflow has no such limit, so there are no words of its to keep to.
            let ours = flowcell::detail(error, None);
            return json!({"detail": format!("{}: {}", ours.message, ours.action), "error": ours});
        }
        Error::FlowInvalid { problems } => {
            // Our clients read the list, Langflow's the sentence.
            let ours = flowcell::detail(error, None);
            return json!({"detail": problems.join("; "), "error": ours});
        }
        Error::Worded { detail, .. } => detail.clone(),
        Error::Issues(issues) => issues.iter().map(Issue::to_value).collect(),
        Error::TweaksRefused { message, fields } => json!({
            "error": domain::tweaks::Error::REFUSED_ERROR,
            "code": domain::tweaks::Error::REFUSED_CODE,
            "message": message,
            "fields": fields,
        }),
        other => text(other, reference).into(),
    };
    json!({"detail": detail})
}

fn text(error: &Error, reference: Option<Uuid>) -> String {
    match error {
        Error::CredentialsMissing(Accepts::Keys) => {
            "An API key must be passed as query or header".to_owned()
        }
        Error::CredentialsMissing(Accepts::All) => {
            "No authentication credentials provided".to_owned()
        }
        Error::CredentialsMissing(Accepts::Webhook) => {
            "API key required when webhook authentication is enabled".to_owned()
        }
        Error::KeyInvalid(Accepts::Keys) => "Invalid or missing API key".to_owned(),
        Error::KeyInvalid(Accepts::All | Accepts::Webhook) => "Invalid API key".to_owned(),
        Error::SessionInvalid => "Invalid token".to_owned(),
        Error::LoginFailed => "Incorrect username or password".to_owned(),
        Error::RouteNotFound => "Not Found".to_owned(),
        Error::MethodNotAllowed => "Method Not Allowed".to_owned(),
        Error::FlowNotFound { name: Some(name) } => format!("Flow identifier {name} not found"),
        Error::FlowNotFound { name: None } => "Flow not found".to_owned(),
        Error::NotFound(what) => {
            let mut letters = what.chars();
            let first = letters.next().into_iter().flat_map(char::to_uppercase);
            format!("{}{} not found", first.collect::<String>(), letters.as_str())
        }
        Error::FileTooLarge { bytes_max } => {
            let megabytes = bytes_max / 1024 / 1024;
            format!("File size is larger than the maximum file size {megabytes}MB.")
        }
        Error::StorageRefused(text)
        | Error::BodyInvalid(text)
        | Error::Refused(text)
        | Error::Conflict(text) => text.clone(),
        Error::BodyUnreadable => "There was an error parsing the body".to_owned(),
        Error::Duplicate("variable name") => "Variable name already exists".to_owned(),
        Error::Duplicate("endpoint name") => "Endpoint name must be unique".to_owned(),
        Error::Duplicate(_) => "Name must be unique".to_owned(),
        Error::TweakConflict(text) => (*text).to_owned(),
        Error::NeedsPerson => NEEDS_PERSON.to_owned(),
        Error::RunFailed { message, outdated } => exception_body(message, outdated),
        other => flowcell::detail(other, reference).message,
    }
}

/// Langflow's `ExceptionBody`, which it puts into `detail` as a text.
pub(crate) fn exception_body(message: &str, outdated: &[String]) -> String {
    let suggestion = match outdated {
        [] => None,
        [one] => Some(format!(
            "The flow contains 1 outdated component. \
             We recommend updating the following component: {one}."
        )),
        many => Some(format!(
            "The flow contains {} outdated components. \
             We recommend updating the following components: {}.",
            many.len(),
            many.join(", ")
        )),
    };
    json!({
        "message": message,
        "traceback": null,
        "description": null,
        "code": null,
        "suggestion": suggestion,
    })
    .to_string()
}
