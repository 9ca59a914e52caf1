//! Files of a flow: `/api/v1/files`.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{Response, StatusCode};
use domain::id::FlowId;
use serde_json::{Value, json};
use store::{File, FileOwner, NewFile, Tenant};

use super::form::{self, Upload};
use super::{names, send};
use crate::app::App;
use crate::auth::Principal;
use crate::clock;
use crate::error::Error;
use crate::extract::path_id;

/// `POST /api/v1/files/upload/{flow}`.
pub(crate) async fn upload(
    State(app): State<App>,
    principal: Principal,
    Path(flow): Path<String>,
    request: Request,
) -> Result<(StatusCode, Json<Value>), Error> {
    if !form::is_form(request.headers()) {
        form::drain(request).await;
        let text = "Content-Type header must be 'multipart/form-data' with a boundary parameter.";
        return Err(Error::BodyInvalid(text.to_owned()));
    }
    let tenant = app.tenant(&principal);
    let upload = Upload::of(request, &app.config.files).await;
    let flow = found(&tenant, &flow).await?;
    let upload = upload?;
    if upload.name.contains("..") || upload.name.contains(['/', '\\']) {
        let text = "Invalid file name: contains path separators";
        return Err(Error::StorageRefused(text.to_owned()));
    }
    let name = format!("{}_{}", clock::in_file_name(store::now()), upload.name);
    let new = NewFile {
        owner: FileOwner::Flow(flow),
        path_name: name.clone(),
        name,
        listed: true,
        bytes: upload.bytes.to_vec(),
    };
    let file = tenant.put_file(new, app.config.files).await?;
    Ok((StatusCode::CREATED, Json(json!({"flowId": flow, "file_path": file.path()}))))
}

/// `GET /api/v1/files/download/{flow}/{file}`.
pub(crate) async fn download(
    State(app): State<App>,
    principal: Principal,
    Path((flow, name)): Path<(String, String)>,
) -> Result<Response<Body>, Error> {
    let tenant = app.tenant(&principal);
    let file = named(&tenant, &flow, &name).await?;
    let disposition = send::attachment(&name);
    // Whatever a tenant uploads is never a page of this server.
    send::file(tenant, file, "application/octet-stream", &disposition).await
}

/// `GET /api/v1/files/images/{flow}/{file}`.
pub(crate) async fn image(
    State(app): State<App>,
    principal: Principal,
    Path((flow, name)): Path<(String, String)>,
) -> Result<Response<Body>, Error> {
    let tenant = app.tenant(&principal);
    let flow = owner_of(&tenant, &flow, &name).await?;
    let media_type = send::media_type(&name);
    if !media_type.starts_with("image") {
        let text = format!("Content type {media_type} is not an image");
        return Err(Error::StorageRefused(text));
    }
    let file = in_flow(&tenant, flow, &name).await?;
    send::file(tenant, file, media_type, "attachment").await
}

/// `GET /api/v1/files/list/{flow}`.
pub(crate) async fn list(
    State(app): State<App>,
    principal: Principal,
    Path(flow): Path<String>,
) -> Result<Json<Value>, Error> {
    let tenant = app.tenant(&principal);
    let flow = found(&tenant, &flow).await?;
    let files = tenant.files(FileOwner::Flow(flow)).await?;
    let names: Vec<String> = files.into_iter().map(|file| file.path_name).collect();
    Ok(Json(json!({ "files": names })))
}

/// `DELETE /api/v1/files/delete/{flow}/{file}`. Deleting what is not there is no error, as in
/// Langflow.
pub(crate) async fn delete(
    State(app): State<App>,
    principal: Principal,
    Path((flow, name)): Path<(String, String)>,
) -> Result<Json<Value>, Error> {
    let tenant = app.tenant(&principal);
    let owner = FileOwner::Flow(owner_of(&tenant, &flow, &name).await?);
    let deleted = match tenant.find_file(owner, &name).await {
        Ok(file) => tenant.delete_file(owner, file.id).await,
        Err(error) => Err(error),
    };
    match deleted {
        Ok(()) | Err(store::Error::NotFound { .. }) => {
            Ok(Json(json!({"message": format!("File {name} deleted successfully")})))
        }
        Err(error) => Err(error.into()),
    }
}

async fn found(tenant: &Tenant, flow: &str) -> Result<FlowId, Error> {
    let flow: FlowId = path_id("flow_id", flow)?;
    Ok(tenant.flow(flow).await?.header.id)
}

async fn owner_of(tenant: &Tenant, flow: &str, name: &str) -> Result<FlowId, Error> {
    names::check_segment(name)?;
    found(tenant, flow).await
}

async fn named(tenant: &Tenant, flow: &str, name: &str) -> Result<File, Error> {
    let flow = owner_of(tenant, flow, name).await?;
    in_flow(tenant, flow, name).await
}

async fn in_flow(tenant: &Tenant, flow: FlowId, name: &str) -> Result<File, Error> {
    match tenant.find_file(FileOwner::Flow(flow), name).await {
        Err(store::Error::NotFound { .. }) => {
            Err(Error::StorageRefused(format!("File {name} not found in flow {flow}")))
        }
        found => Ok(found?),
    }
}
