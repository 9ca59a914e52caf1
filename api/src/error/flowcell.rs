//! Errors in our envelope: a stable code, what is wrong, what to do.

use domain::runtime::Refused;
use proto::http::ErrorDetail;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Error, Issue, LimitProblem};

/// The error for the envelope; `reference` is what an internal one was logged under.
pub(super) fn detail(error: &Error, reference: Option<Uuid>) -> ErrorDetail {
    let (code, action) = code_and_action(error);
    ErrorDetail {
        code: code.to_owned(),
        message: message(error, reference),
        action: action.to_owned(),
        details: details(error),
    }
}

fn code_and_action(error: &Error) -> (&'static str, &'static str) {
    match error {
        Error::CredentialsMissing(_) => {
            ("credentials_missing", "send an API key in the header x-api-key")
        }
        Error::KeyInvalid(_) | Error::SessionInvalid | Error::LoginFailed => {
            ("credentials_invalid", "use a key that is valid, or log in again")
        }
        Error::TooManyLogins { .. } => ("logins_throttled", "wait a minute and try again"),
        Error::QueueFull { .. } => {
            ("queue_full", "wait until some have run, or have the tenant's queued_max raised")
        }
        Error::TooFast { .. } => {
            ("too_many_runs", "slow down, or have the tenant's runs_per_minute raised")
        }
        Error::Forbidden(_) => ("forbidden", "use the credentials of somebody who may"),
        Error::RouteNotFound => ("route_not_found", "check the path"),
        Error::MethodNotAllowed => ("method_not_allowed", "check the method"),
        Error::FlowNotFound { .. } => ("flow_not_found", "list the flows with GET /api/v1/flows/"),
        Error::FlowInvalid { .. } => {
            ("flow_invalid", "correct the problems in the editor and export the flow again")
        }
        Error::RunNotFound => ("run_not_found", "list the runs with GET /api/flowcell/v1/runs"),
        Error::NotFound(_) => ("not_found", "check the id: it may have been deleted"),
        Error::Issues(_) | Error::BodyInvalid(_) | Error::BodyUnreadable | Error::Refused(_) => {
            ("body_invalid", "correct the request")
        }
        Error::LimitsInvalid(_) => {
            ("limits_invalid", "correct the values; a superuser may set more than other users")
        }
        Error::RequirementsInvalid(_) => {
            ("requirements_invalid", "name packages of the operator's index, with versions")
        }
        Error::RequirementsOff => {
            ("requirements_off", "have runtimes.build set to \"listed\" in the configuration")
        }
        Error::BodyTooLarge => {
            ("body_too_large", "send less, or have the limit raised in the configuration")
        }
        Error::FileTooLarge { .. } => {
            ("file_too_large", "split the file, or have api.files.file_bytes_max raised")
        }
        Error::StorageFull { .. } => {
            ("storage_full", "delete files, or have api.files.tenant_bytes_max raised")
        }
        Error::StorageRefused(_) => ("storage_refused", "list the files of the flow"),
        Error::Conflict(_) => ("conflict", "look at what is stored, then decide"),
        Error::Duplicate(_) => ("duplicate", "choose another one"),
        Error::TweakConflict(_) => ("tweak_conflict", "leave out one of the two"),
        Error::TweaksRefused { .. } => {
            ("tweaks_refused", "leave these fields as the flow has them")
        }
        Error::NeedsPerson => ("needs_person", "start it with POST /api/flowcell/v1/runs"),
        Error::Worded { .. } => ("refused", "read the message"),
        Error::RunFailed { .. } => ("run_failed", "read the run's events"),
        Error::PayloadUnreadable(_) => {
            ("payload_unreadable", "start the run again, or have the operator restore the object")
        }
        Error::RunTimedOut => ("run_timed_out", "start long runs with POST /api/flowcell/v1/runs"),
        Error::Unavailable(_) => ("unavailable", "try again in a moment"),
        Error::Internal { .. } => ("internal", "tell the operator the reference"),
    }
}

fn message(error: &Error, reference: Option<Uuid>) -> String {
    match error {
        Error::CredentialsMissing(_) => "this needs credentials".to_owned(),
        Error::RouteNotFound => "there is nothing at this path".to_owned(),
        Error::MethodNotAllowed => "this path does not take this method".to_owned(),
        Error::FlowNotFound { name: Some(name) } => format!("there is no flow {name:?}"),
        Error::FlowNotFound { name: None } => "there is no such flow".to_owned(),
        Error::FlowInvalid { .. } => "the flow cannot be run".to_owned(),
        Error::RunNotFound => "there is no such run".to_owned(),
        Error::RunTimedOut => "the run was ended at its deadline".to_owned(),
        Error::Forbidden(text) | Error::TweakConflict(text) => (*text).to_owned(),
        Error::Conflict(text) => text.clone(),
        Error::TweaksRefused { message, .. } | Error::RunFailed { message, .. } => message.clone(),
        Error::Unavailable(_) => "the server cannot do this right now".to_owned(),
        Error::Internal { .. } => {
            format!("something failed here, reference {}", reference.unwrap_or_default())
        }
        Error::LimitsInvalid(problems) => {
            problems.first().map_or_else(|| error.to_string(), LimitProblem::message)
        }
        Error::RequirementsInvalid(refused) => {
            refused.first().map_or_else(|| error.to_string(), ToString::to_string)
        }
        Error::KeyInvalid(_)
        | Error::RequirementsOff
        | Error::SessionInvalid
        | Error::LoginFailed
        | Error::TooManyLogins { .. }
        | Error::QueueFull { .. }
        | Error::TooFast { .. }
        | Error::NotFound(_)
        | Error::Issues(_)
        | Error::BodyInvalid(_)
        | Error::BodyUnreadable
        | Error::BodyTooLarge
        | Error::FileTooLarge { .. }
        | Error::StorageFull { .. }
        | Error::StorageRefused(_)
        | Error::Refused(_)
        | Error::Duplicate(_)
        | Error::PayloadUnreadable(_)
        | Error::Worded { .. }
        | Error::NeedsPerson => error.to_string(),
    }
}

fn details(error: &Error) -> Option<Value> {
    match error {
        Error::FlowInvalid { problems } => Some(json!({"problems": problems})),
        Error::TweaksRefused { fields, .. } => Some(json!({"fields": fields})),
        Error::LimitsInvalid(problems) => {
            let problems: Vec<Value> = problems.iter().map(LimitProblem::to_value).collect();
            Some(json!({"problems": problems}))
        }
        Error::RequirementsInvalid(refused) => {
            let problems: Vec<Value> = refused.iter().map(problem).collect();
            Some(json!({"problems": problems}))
        }
        Error::Issues(issues) => {
            let problems: Vec<Value> = issues.iter().map(Issue::to_value).collect();
            Some(json!({"problems": problems}))
        }
        _ => None,
    }
}

/// A line of requirements that is refused.
fn problem(refused: &Refused) -> Value {
    json!({
        "line": refused.line,
        "text": refused.text,
        "reason": refused.reason.to_string(),
        "message": refused.to_string(),
    })
}
