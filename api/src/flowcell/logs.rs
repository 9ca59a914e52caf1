//! What the cells of a run wrote to their standard output and error, so far.

use axum::Json;
use axum::extract::{Path, State};
use proto::event::{RunEvent, RunEventKind};
use proto::http::{LogView, LogsView};

use super::runs::run_id;
use crate::app::App;
use crate::auth::Principal;
use crate::clock;
use crate::error::Error;
use crate::events;
use crate::extract::Params;

/// Entries of one answer, unless the caller wants fewer.
const LIMIT_MAX: u64 = 1_000;

/// Which lines; what is `None` admits all.
struct Wanted<'a> {
    cell: Option<&'a str>,
    attempt: Option<u64>,
    stream: Option<&'a str>,
}

/// `GET /api/flowcell/v1/runs/{id}/logs`.
pub(crate) async fn get(
    State(app): State<App>,
    principal: Principal,
    Path(id): Path<String>,
    params: Params,
) -> Result<Json<LogsView>, Error> {
    let after = params.number("after")?.unwrap_or(0);
    let limit = params.number("limit")?.unwrap_or(LIMIT_MAX).clamp(1, LIMIT_MAX);
    let wanted = Wanted {
        cell: params.text("cell"),
        attempt: params.number("attempt")?,
        stream: params.text("stream"),
    };
    if !matches!(wanted.stream, None | Some("stdout" | "stderr")) {
        return Err(Error::BodyInvalid("stream must be one of stdout, stderr".to_owned()));
    }
    let log = events::so_far(&app, &app.tenant(&principal), run_id(&id)?).await?;
    let rest = (1_u64..).zip(log).skip_while(|(position, _)| *position <= after);
    let mut found = rest.filter_map(|(position, body)| {
        let event: RunEvent = serde_json::from_slice(&body).ok()?;
        wanted.line(position, event)
    });
    let items: Vec<LogView> = found.by_ref().take(usize::try_from(limit).unwrap_or(1)).collect();
    let next = found.next().and_then(|_| items.last().map(|last| last.position));
    Ok(Json(LogsView { items, next }))
}

impl Wanted<'_> {
    fn line(&self, position: u64, event: RunEvent) -> Option<LogView> {
        let RunEventKind::Log { cell, attempt, stream, text } = event.kind else { return None };
        let fits = self.cell.is_none_or(|wanted| wanted == cell)
            && self.attempt.is_none_or(|wanted| wanted == u64::from(attempt))
            && self.stream.is_none_or(|wanted| wanted == stream);
        let at = clock::rfc3339(event.at);
        fits.then_some(LogView { position, at, cell, attempt, stream, text })
    }
}
