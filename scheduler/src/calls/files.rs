//! Files that a component reads and writes: those of the run's user and of its flow.
//!
//! Which of them the cell's values name, the worker knows and checks; whose they are is checked
//! here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::files::FilePath;
use proto::frame::ReplyError;
use serde_json::{Value, json};
use store::{FileOwner, NewFile, RunRecord, Tenant};
use uuid::Uuid;

use super::{Answer, error, text, told};
use crate::engine::Engine;
use crate::error::Error;

/// A piece of a file: `{"data": …, "more": …}`.
pub(super) async fn get(
    tenant: &Tenant,
    record: &RunRecord,
    args: &Value,
) -> Result<Answer, Error> {
    let (owner, name) = match path_of(record, args) {
        Ok(path) => path,
        Err(refused) => return Ok(Err(refused)),
    };
    let piece = args.get("piece").and_then(Value::as_u64).unwrap_or(0);
    let read = async {
        let file = tenant.find_file(owner, &name).await?;
        let data = tenant.read_file(&file, piece).await?;
        let more = piece.saturating_add(1) < file.pieces();
        Ok(json!({"data": STANDARD.encode(data.unwrap_or_default()), "more": more}))
    };
    told(read.await)
}

/// The names of an owner's files.
pub(super) async fn list(
    tenant: &Tenant,
    record: &RunRecord,
    args: &Value,
) -> Result<Answer, Error> {
    let owner = text(args, "owner").and_then(|owner| owner.parse().ok());
    let owner = match owner.map(|owner| owner_of(record, owner)) {
        Some(Ok(owner)) => owner,
        Some(Err(refused)) => return Ok(Err(refused)),
        None => return Ok(Err(error("invalid", "the call names no owner of files"))),
    };
    Ok(told(tenant.files(owner).await)?.map(|files| {
        let names: Vec<String> = files.into_iter().map(|file| file.path_name).collect();
        json!({ "names": names })
    }))
}

/// Stores what a component wrote. A file with its name is replaced, so a second attempt leaves no
/// second file.
pub(super) async fn put(
    engine: &Engine,
    tenant: &Tenant,
    record: &RunRecord,
    args: Value,
) -> Result<Answer, Error> {
    let (owner, path_name) = match path_of(record, &args) {
        Ok(path) => path,
        Err(refused) => return Ok(Err(refused)),
    };
    let Some(bytes) = text(&args, "data").and_then(|data| STANDARD.decode(data).ok()) else {
        return Ok(Err(error("invalid", "the call has no data in base64")));
    };
    let name = path_name.rsplit_once('.').map_or(path_name.as_str(), |(root, _)| root).to_owned();
    let new = NewFile { owner, path_name, name, listed: true, bytes };
    let stored = told(tenant.put_file(new, engine.files).await)?;
    Ok(stored.map(|file| json!({"id": file.id, "path": file.path(), "bytes": file.bytes})))
}

fn path_of(record: &RunRecord, args: &Value) -> Result<(FileOwner, String), ReplyError> {
    let path = text(args, "path").and_then(|path| path.parse::<FilePath>().ok());
    let path = path.ok_or_else(|| error("invalid", "the call names no file: <owner>/<name>"))?;
    Ok((owner_of(record, path.owner)?, path.name))
}

fn owner_of(record: &RunRecord, owner: Uuid) -> Result<FileOwner, ReplyError> {
    if record.flow.uuid() == owner {
        return Ok(FileOwner::Flow(record.flow));
    }
    match record.user {
        Some(user) if user.uuid() == owner => Ok(FileOwner::User(user)),
        _ => Err(error("refused", "these files are neither the run's user's nor its flow's")),
    }
}
