//! Questions to people: taken from the report of a cell, and given back to it with their answers.
//!
//! ```text
//! cell ── paused ──▶ question, chat message, what the cell left behind ──▶ one transaction
//! person ── decides ──▶ stored ──▶ the task is ready again ──▶ the cell, with all its answers
//! ```

use std::collections::BTreeMap;

use domain::failure::{Failure, FailureKind};
use domain::human::{effective, is_for, request_id};
use domain::id::MessageId;
use domain::limits::QUESTION_BYTES_MAX;
use domain::run::{Command, Refused, TaskState};
use domain::time::Timestamp;
use proto::frame::{CellResult, Paused};
use proto::message::AttemptRef;
use proto::run::RunRequest;
use serde_json::{Value, json};
use store::{Asked, HumanRequest, RunRecord, Secret, now};
use uuid::Uuid;

use crate::engine::{Engine, Intention, Step};
use crate::error::Error;

/// Goes on with every task of a run whose question is answered.
pub(crate) struct Answers;

impl Intention for Answers {
    fn name(&self) -> &'static str {
        "answer"
    }

    async fn step(&self, engine: &Engine, record: &RunRecord) -> Result<Step, Error> {
        let asked = engine.store.engine().human_requests(record.run.id).await?;
        let is_answered = |request: &&HumanRequest| {
            let task = record.run.task(request.task);
            let waits = task.is_some_and(|task| {
                task.state == TaskState::Paused && task.attempt == request.attempt
            });
            waits && request.decision.is_some()
        };
        let tasks: Vec<u32> = asked.iter().filter(is_answered).map(|asked| asked.task).collect();
        if tasks.is_empty() {
            return Err(Refused::AlreadyDone.into());
        }
        Ok(Command::Answer { tasks }.into())
    }
}

/// What a cell gets of people.
#[derive(Default)]
pub(crate) struct Answered {
    /// Request id → decision.
    pub(crate) decisions: BTreeMap<String, Value>,
    /// What the cell left behind when it last asked.
    pub(crate) saved: BTreeMap<String, String>,
}

/// The answers to what a task asked so far.
pub(crate) async fn answers(
    engine: &Engine,
    record: &RunRecord,
    task: u32,
) -> Result<Answered, Error> {
    let asked_before = record.run.task(task).is_some_and(|task| task.pauses > 0);
    if !asked_before {
        return Ok(Answered::default());
    }
    let requests = engine.store.engine().human_requests(record.run.id).await?;
    let mine = requests.into_iter().filter(|request| request.task == task);
    let decided = mine.filter_map(|asked| {
        let decision = asked.decision.as_ref()?;
        let taken = effective(&asked.request, decision, asked.asked, asked.decided?);
        Some((asked.request_id, taken))
    });
    let sealed = engine.store.engine().saved(record.run.id, task).await?;
    let opened = engine.store.tenant(record.tenant).reveal_of_run(record.run.id, &sealed).await?;
    let saved = opened.into_iter().filter_map(|(place, text)| {
        let kind = place.strip_prefix(&place_of(task, ""))?.to_owned();
        Some((kind, text.expose().to_owned()))
    });
    Ok(Answered { decisions: decided.collect(), saved: saved.collect() })
}

/// A question as it is stored, or why it cannot be asked.
pub(crate) async fn asked(
    engine: &Engine,
    record: &RunRecord,
    attempt: AttemptRef,
    result: &CellResult,
) -> Result<Result<Asked, Failure>, Error> {
    let Some(paused) = result.paused.as_deref() else {
        return Ok(Err(Failure::new(FailureKind::Internal, "the cell asks nothing")));
    };
    if let Err(failure) = check(record, paused) {
        return Ok(Err(failure.at(paused.node.clone())));
    }
    let tenant = engine.store.tenant(record.tenant);
    let secrets = paused
        .saved
        .iter()
        .map(|(kind, text)| (place_of(attempt.task, kind), Secret::new(text.clone())));
    let saved = tenant.seal_for_run(record.run.id, &secrets.collect()).await?;
    let card = MessageId(Uuid::new_v4());
    Ok(Ok(Asked {
        task: attempt.task,
        attempt: attempt.attempt,
        node: paused.node.clone(),
        request_id: request_id(&paused.request).unwrap_or_default().to_owned(),
        request: paused.request.clone(),
        saved,
        card,
        flow: record.flow,
        session_id: record.session_id.clone(),
        shown: message(record, card, &paused.request),
    }))
}

/// The name under which a piece of what a cell left behind is sealed.
fn place_of(task: u32, kind: &str) -> String {
    format!("cell:{task}:{kind}")
}

fn check(record: &RunRecord, paused: &Paused) -> Result<(), Failure> {
    let request: RunRequest = serde_json::from_value(record.request.clone())
        .map_err(|_| Failure::new(FailureKind::Internal, "the run's request is unreadable"))?;
    if !request.may_pause {
        let message = "the component asks a person, and this run waits for nobody";
        return Err(Failure::new(FailureKind::ProtocolViolation, message));
    }
    let run = record.run.id.to_string();
    let id = request_id(&paused.request);
    if !id.is_some_and(|id| is_for(id, &paused.node, &run) && !id.contains('\0')) {
        let message = "the component pauses the run with a question that names no answer to itself";
        return Err(Failure::new(FailureKind::Unsupported, message));
    }
    if paused.request.to_string().len() > QUESTION_BYTES_MAX {
        let message = format!("the question is longer than {QUESTION_BYTES_MAX} bytes");
        let limit_bytes = u64::try_from(QUESTION_BYTES_MAX).unwrap_or(u64::MAX);
        return Err(Failure::new(FailureKind::ValueTooLarge { limit_bytes }, message));
    }
    Ok(())
}

/// A moment as Langflow's messages write it.
fn said(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_millisecond(at.millis()).unwrap_or_default();
    at.strftime("%Y-%m-%d %H:%M:%S%.6f UTC").to_string()
}

/// The chat message that shows a question, as Langflow stores it.
fn message(record: &RunRecord, card: MessageId, request: &Value) -> Value {
    let of = |key: &str| request.get(key).cloned().unwrap_or_default();
    let list = |key: &str| request.get(key).filter(|value| value.is_array()).cloned();
    let list = |key: &str| list(key).unwrap_or_else(|| json!([]));
    let content = json!({
        "type": "human_input",
        "duration": null,
        "header": {},
        "request_id": of("request_id"),
        "job_id": record.run.id,
        "kind": of("kind"),
        "prompt": of("prompt"),
        "options": list("options"),
        "fields": list("schema"),
        "allowed_decisions": list("allowed_decisions"),
        "submitted_action": null,
        "superseded": false,
    });
    json!({
        "timestamp": said(now()),
        "sender": "Machine",
        "sender_name": "AI",
        "session_id": record.session_id,
        "context_id": "",
        "text": "",
        "files": [],
        "error": false,
        "edit": false,
        "properties": {
            "text_color": null,
            "background_color": null,
            "edited": false,
            "source": {"id": null, "display_name": null, "source": null},
            "icon": null,
            "allow_markdown": false,
            "positive_feedback": null,
            "state": "complete",
            "targets": [],
            "usage": null,
            "build_duration": null,
        },
        "category": "message",
        "content_blocks": [{
            "title": "Human input required",
            "contents": [content],
            "allow_markdown": true,
            "media_url": null,
        }],
        "session_metadata": null,
        "flow_id": record.flow,
        "run_id": record.run.id,
        "id": card,
    })
}
