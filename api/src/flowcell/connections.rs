//! What the cells of a run connected to.

use axum::Json;
use axum::extract::{Path, State};
use proto::http::{ConnectionView, ConnectionsView};

use super::runs::run_id;
use crate::app::App;
use crate::auth::Principal;
use crate::clock;
use crate::error::Error;

/// `GET /api/flowcell/v1/runs/{id}/connections`.
pub(crate) async fn get(
    State(app): State<App>,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<Json<ConnectionsView>, Error> {
    let attempts = app.tenant(&principal).connections(run_id(&id)?).await?;
    let omitted = attempts.iter().fold(0, |sum: u64, of| sum.saturating_add(of.log.omitted));
    let items = attempts.into_iter().flat_map(|of| {
        of.log.entries.into_iter().map(move |entry| ConnectionView {
            cell: of.cell.clone(),
            attempt: of.attempt,
            at: clock::rfc3339(entry.at),
            host: entry.host,
            port: entry.port,
            state: entry.state,
            reason: entry.reason,
            bytes_up: entry.bytes_up,
            bytes_down: entry.bytes_down,
            duration_ms: entry.duration_ms,
        })
    });
    Ok(Json(ConnectionsView { items: items.collect(), omitted }))
}
