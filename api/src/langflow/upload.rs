//! Importing flows: a JSON file with one flow or several, or an archive of such files.

use axum::Json;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest, Multipart, Request, State};
use axum::http::StatusCode;
use bytes::Bytes;
use domain::flow::Export;
use domain::id::ProjectId;
use serde_json::Value;
use store::{Flow, FlowPatch, NewFlow, Tenant};

use super::{archive, flow_body, flows};
use crate::app::App;
use crate::auth::Principal;
use crate::error::{Error, internal};
use crate::extract::Params;
use crate::versions::planned;

/// `POST /api/v1/flows/upload/`. All flows of a file are checked before the first is stored.
pub(crate) async fn upload(
    State(app): State<App>,
    principal: Principal,
    params: Params,
    request: Request,
) -> Result<(StatusCode, Json<Vec<Value>>), Error> {
    let project: Option<ProjectId> = params.id("folder_id")?;
    let bytes = file(request).await?;
    let exports = read(&app, bytes).await?;
    let tenant = app.tenant(&principal);
    let mut stored = Vec::with_capacity(exports.len());
    for export in exports {
        let new = flow_body::from_export(&principal, project, export);
        stored.push(flow_body::read(&store(&app, &tenant, new).await?));
    }
    Ok((StatusCode::CREATED, Json(stored)))
}

/// The bytes of the form's part `file`.
async fn file(request: Request) -> Result<Bytes, Error> {
    let missing = || Error::Refused("No file provided".to_owned());
    let mut form = Multipart::from_request(request, &()).await.map_err(|_| missing())?;
    while let Some(field) = form.next_field().await.map_err(unreadable)? {
        if field.name() == Some("file") {
            let bytes = Field::bytes(field).await.map_err(unreadable)?;
            if bytes.is_empty() {
                return Err(Error::Refused("The uploaded file is empty".to_owned()));
            }
            return Ok(bytes);
        }
    }
    Err(missing())
}

pub(super) fn unreadable(error: MultipartError) -> Error {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return Error::BodyTooLarge;
    }
    Error::BodyUnreadable
}

/// The flows of a file, each of which can run. Long, busy work, so it has a thread of its own.
async fn read(app: &App, bytes: Bytes) -> Result<Vec<Export>, Error> {
    let limits = archive::Limits {
        bytes_max: app.config.archive_bytes_max,
        entries_max: app.config.archive_entries_max,
    };
    let work = move || {
        let exports = match archive::is_archive(&bytes) {
            true => Export::parse_many(archive::unpack(&bytes, &limits)?)?,
            false => Export::parse(&bytes)?,
        };
        check_all(&exports)?;
        Ok(exports)
    };
    let read = tokio::task::spawn_blocking(work).await;
    read.map_err(|error| internal("reading an upload", &error))?
}

/// Refuses the whole file when any of its flows cannot run, naming every problem.
fn check_all(exports: &[Export]) -> Result<(), Error> {
    let mut problems = Vec::new();
    for export in exports {
        if let Err(Error::FlowInvalid { problems: found }) = planned(&export.data) {
            problems.extend(found.into_iter().map(|p| match exports.len() {
                1 => p,
                _ => format!("{}: {p}", export.name),
            }));
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Error::FlowInvalid { problems }) }
}

/// As in Langflow, a flow whose id the tenant has already is changed instead of doubled. An id
/// that somebody else has is not kept.
async fn store(app: &App, tenant: &Tenant, mut new: NewFlow) -> Result<Flow, Error> {
    if let Some(id) = new.id {
        match tenant.flow(id).await {
            Ok(_) => {
                let patch = FlowPatch {
                    description: Some(new.description),
                    tags: Some(new.tags),
                    icon: Some(new.icon),
                    project: new.project,
                    data: Some(new.data),
                    export: Some(new.export),
                    ..FlowPatch::default()
                };
                return Ok(flows::apply(app, tenant, id, patch).await?.0);
            }
            Err(store::Error::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        match flows::store_new(app, tenant, new.clone()).await {
            Err(Error::Duplicate(_)) => new.id = None,
            stored => return stored,
        }
    }
    flows::store_new(app, tenant, new).await
}
