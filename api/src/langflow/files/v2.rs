//! Files of a user: `/api/v2/files`.

mod archive;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use domain::id::FileId;
use serde_json::{Value, json};
use store::{File, FileOwner, NewFile, Tenant};

use super::form::Upload;
use super::{names, send};
use crate::app::App;
use crate::auth::Principal;
use crate::clock;
use crate::error::Error;
use crate::extract::{Params, Raw, path_id};

/// Two uploads of one name at once take turns; more than this is no accident.
const TRIES_MAX: u32 = 20;

/// `POST /api/v2/files/`.
pub(crate) async fn upload(
    State(app): State<App>,
    principal: Principal,
    params: Params,
    request: Request,
) -> Result<(StatusCode, Json<Value>), Error> {
    // The body is read first in any case, or the connection would be closed.
    let upload = Upload::of(request, &app.config.files).await;
    let (appends, ephemeral) = (params.flag("append", false)?, params.flag("ephemeral", false)?);
    let upload = upload?;
    if upload.name.is_empty() {
        return Err(Error::Refused("No file provided".to_owned()));
    }
    names::check(&upload.name)?;
    let mine = Mine::of(&app, &principal);
    let file = if appends && let Some(file) = mine.by_name(names::split(&upload.name).0).await? {
        mine.append(file, &upload).await?
    } else {
        mine.add(&upload, Manner { numbered: !appends, listed: !ephemeral }).await?
    };
    Ok((StatusCode::CREATED, Json(brief(&file))))
}

/// `GET /api/v2/files/`.
pub(crate) async fn list(
    State(app): State<App>,
    principal: Principal,
) -> Result<Json<Vec<Value>>, Error> {
    let files = Mine::of(&app, &principal).listed().await?;
    Ok(Json(files.iter().map(row).collect()))
}

/// `DELETE /api/v2/files/`.
pub(crate) async fn delete_all(
    State(app): State<App>,
    principal: Principal,
) -> Result<Json<Value>, Error> {
    let mine = Mine::of(&app, &principal);
    let files = mine.listed().await?;
    let message = format!("All {} files deleted successfully", files.len());
    mine.delete(&files).await?;
    Ok(Json(json!({ "message": message })))
}

/// `POST /api/v2/files/batch/`: the files that the body lists, as an archive.
pub(crate) async fn download_batch(
    State(app): State<App>,
    principal: Principal,
    body: Raw,
) -> Result<Response<Body>, Error> {
    let mine = Mine::of(&app, &principal);
    let files = mine.of_batch(&body, "downloading").await?;
    let bytes_max = app.config.archive_bytes_max as u64;
    let bytes: u64 = files.iter().map(|file| file.bytes).sum();
    if bytes > bytes_max {
        return Err(Error::StorageFull { what: "archive of the files", bytes, bytes_max });
    }
    let archive = archive::of(&mine.tenant, &files).await?;
    let name = format!("{}_langflow_files.zip", clock::in_archive_name(store::now()));
    let length = archive.len() as u64;
    let disposition = send::attachment(&name);
    send::answer(Body::from(archive), length, "application/x-zip-compressed", &disposition)
}

/// `DELETE /api/v2/files/batch/`: the files that the body lists.
pub(crate) async fn delete_batch(
    State(app): State<App>,
    principal: Principal,
    body: Raw,
) -> Result<Json<Value>, Error> {
    let mine = Mine::of(&app, &principal);
    let files = mine.of_batch(&body, "deleting").await?;
    mine.delete(&files).await?;
    Ok(Json(json!({"message": format!("{} files deleted successfully", files.len())})))
}

/// `GET /api/v2/files/{id}`.
pub(crate) async fn download(
    State(app): State<App>,
    principal: Principal,
    Path(id): Path<String>,
    params: Params,
) -> Result<Response<Body>, Error> {
    let mine = Mine::of(&app, &principal);
    let file = mine.file(&id).await?;
    if params.flag("return_content", false)? {
        let bytes = send::content(&mine.tenant, &file).await?;
        let text = String::from_utf8(bytes).map_err(|_| {
            Error::StorageRefused("Error reading file: 500: Invalid file encoding".to_owned())
        })?;
        return Ok(Json(text).into_response());
    }
    let name = format!("{}{}", file.name, names::suffix(&file.path_name));
    let disposition = send::attachment(&name);
    send::file(mine.tenant, file, "application/octet-stream", &disposition).await
}

/// `PUT /api/v2/files/{id}?name=`: another name for people; the path stays.
pub(crate) async fn rename(
    State(app): State<App>,
    principal: Principal,
    Path(id): Path<String>,
    params: Params,
) -> Result<Json<Value>, Error> {
    let name = params.required("name")?;
    let mine = Mine::of(&app, &principal);
    let file = mine.file(&id).await?;
    names::check(name)?;
    Ok(Json(brief(&mine.tenant.rename_file(mine.owner, file.id, name).await?)))
}

/// `DELETE /api/v2/files/{id}`.
pub(crate) async fn delete(
    State(app): State<App>,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<Json<Value>, Error> {
    let mine = Mine::of(&app, &principal);
    let file = mine.file(&id).await?;
    mine.tenant.delete_file(mine.owner, file.id).await?;
    Ok(Json(json!({"detail": format!("File {} deleted successfully", file.name)})))
}

/// How a new file is kept.
#[derive(Clone, Copy)]
struct Manner {
    /// Whether a taken name gets a number.
    numbered: bool,
    /// Whether lists show it.
    listed: bool,
}

/// The caller's own files.
struct Mine<'a> {
    app: &'a App,
    tenant: Tenant,
    owner: FileOwner,
}

impl<'a> Mine<'a> {
    fn of(app: &'a App, principal: &Principal) -> Self {
        Self { app, tenant: app.tenant(principal), owner: FileOwner::User(principal.user) }
    }

    async fn listed(&self) -> Result<Vec<File>, Error> {
        let files = self.tenant.files(self.owner).await?;
        Ok(files.into_iter().filter(|file| file.listed).collect())
    }

    async fn by_name(&self, name: &str) -> Result<Option<File>, Error> {
        Ok(self.listed().await?.into_iter().find(|file| file.name == name))
    }

    async fn file(&self, id: &str) -> Result<File, Error> {
        let id: FileId = path_id("file_id", id)?;
        let file = self.tenant.file(self.owner, id).await?;
        if file.listed { Ok(file) } else { Err(Error::NotFound("file")) }
    }

    /// The files that the body lists, as far as they exist. None at all is a failure, which
    /// Langflow words this way.
    async fn of_batch(&self, body: &Raw, doing: &str) -> Result<Vec<File>, Error> {
        let ids: Vec<FileId> = body.ids()?;
        let mut files = self.listed().await?;
        files.retain(|file| ids.contains(&file.id));
        if files.is_empty() {
            let text = format!("Error {doing} files: 404: No files found");
            return Err(Error::StorageRefused(text));
        }
        Ok(files)
    }

    async fn delete(&self, files: &[File]) -> Result<(), Error> {
        for file in files {
            match self.tenant.delete_file(self.owner, file.id).await {
                // Somebody else was faster, with the same end.
                Ok(()) | Err(store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn append(&self, file: File, upload: &Upload) -> Result<File, Error> {
        let mut bytes = send::content(&self.tenant, &file).await?;
        bytes.extend_from_slice(&upload.bytes);
        let (owner, listed) = (self.owner, file.listed);
        let new = NewFile { owner, path_name: file.path_name, name: file.name, listed, bytes };
        Ok(self.tenant.put_file(new, self.app.config.files).await?)
    }

    async fn add(&self, upload: &Upload, manner: Manner) -> Result<File, Error> {
        let (root, extension) = names::split(&upload.name);
        for _ in 0..TRIES_MAX {
            let all = self.tenant.files(self.owner).await?;
            let listed = || all.iter().filter(|file| file.listed);
            let name = match manner.numbered {
                // The path of a renamed file still has its first name.
                true => names::free_root(
                    root,
                    listed().flat_map(|f| [f.name.as_str(), names::split(&f.path_name).0]),
                ),
                false => root.to_owned(),
            };
            let path_name = names::joined(&name, extension);
            names::check(&path_name)?;
            let (owner, listed) = (self.owner, manner.listed);
            let is_unlisted = all.iter().any(|file| !file.listed && file.path_name == path_name);
            let bytes = upload.bytes.to_vec();
            let new = NewFile { owner, path_name, name, listed, bytes };
            let stored = match is_unlisted {
                true => self.tenant.put_file(new, self.app.config.files).await,
                false => self.tenant.create_file(new, self.app.config.files).await,
            };
            match stored {
                Err(store::Error::Duplicate { .. }) => {}
                stored => return Ok(stored?),
            }
        }
        Err(Error::Conflict("files of this name come too fast".to_owned()))
    }
}

/// What Langflow answers to a change.
fn brief(file: &File) -> Value {
    json!({
        "id": file.id,
        "name": file.name,
        "path": file.path(),
        "size": file.bytes,
        "provider": null,
    })
}

/// A row of Langflow's table.
fn row(file: &File) -> Value {
    let user = match file.owner {
        FileOwner::User(user) => Some(user),
        FileOwner::Flow(_) => None,
    };
    json!({
        "id": file.id,
        "user_id": user,
        "name": file.name,
        "path": file.path(),
        "size": file.bytes,
        "provider": null,
        "created_at": clock::micros(file.created),
        "updated_at": clock::micros(file.updated),
    })
}
