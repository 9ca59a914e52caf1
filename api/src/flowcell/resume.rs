//! Answers to what runs ask of people.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use domain::human;
use proto::http::Resume;
use serde_json::{Value, json};
use store::{Decided, HumanRequest};

use super::runs::run_id;
use crate::app::App;
use crate::auth::Principal;
use crate::decide;
use crate::error::Error;
use crate::extract::Raw;

/// `POST /api/flowcell/v1/runs/{id}/resume`: 202; 200 when the same was decided before, 409 when
/// something else was.
pub(crate) async fn post(
    State(app): State<App>,
    principal: Principal,
    Path(id): Path<String>,
    body: Raw,
) -> Result<(StatusCode, Json<Value>), Error> {
    let tenant = app.tenant(&principal);
    let run = run_id(&id)?;
    let requests = tenant.human_requests(run).await?;
    let wanted: Resume = body.json()?;
    let asked = chosen(&requests, wanted.request_id.as_deref())?;
    let decision = Value::Object(wanted.decision);
    if !human::is_allowed(&asked.request, &decision) {
        let allowed = human::allowed(&asked.request).join(", ");
        return Err(Error::BodyInvalid(format!("decision.action_id must be one of {allowed}")));
    }
    let status = match decide::decide(&app, &tenant, run, asked, &decision).await? {
        Decided::Now => StatusCode::ACCEPTED,
        Decided::Before => StatusCode::OK,
    };
    let state = tenant.run_header(run).await?.state.name();
    Ok((status, Json(json!({"id": run, "request_id": asked.request_id, "state": state}))))
}

/// The question of this id; without one the only question that waits, or the last of all.
fn chosen<'r>(requests: &'r [HumanRequest], id: Option<&str>) -> Result<&'r HumanRequest, Error> {
    if let Some(id) = id {
        let named = requests.iter().find(|asked| asked.request_id == id);
        return named.ok_or(Error::NotFound("question"));
    }
    let mut waiting = requests.iter().filter(|asked| asked.decision.is_none());
    match (waiting.next(), waiting.next()) {
        (Some(only), None) => Ok(only),
        (Some(_), Some(_)) => {
            let text = "request_id is missing, and the run asks more than one question";
            Err(Error::BodyInvalid(text.to_owned()))
        }
        (None, _) => requests
            .last()
            .ok_or_else(|| Error::Conflict("the run has not asked anything".to_owned())),
    }
}
