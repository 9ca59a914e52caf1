//! From flow rows to what callers see.

use domain::id::{FlowId, ProjectId, UserId, VersionId};
use domain::time::Timestamp;
use sea_orm::DerivePartialModel;
use uuid::Uuid;

use super::flows::{Flow, FlowHeader};
use crate::entity::flow;
use crate::error::Error;
use crate::json::{from_optional, from_text};

/// The columns of a flow without its graph, which may have megabytes.
#[derive(DerivePartialModel)]
#[sea_orm(entity = "flow::Entity")]
pub(super) struct FlowRow {
    id: Uuid,
    project: Uuid,
    owner: Option<Uuid>,
    name: String,
    endpoint_name: Option<String>,
    description: Option<String>,
    icon: Option<String>,
    tags: String,
    current_version: Option<Uuid>,
    created: i64,
    updated: i64,
}

pub(super) fn header(row: FlowRow) -> Result<FlowHeader, Error> {
    Ok(FlowHeader {
        id: FlowId(row.id),
        project: ProjectId(row.project),
        owner: row.owner.map(UserId),
        name: row.name,
        endpoint_name: row.endpoint_name,
        description: row.description,
        icon: row.icon,
        tags: from_text("tags of a flow", &row.tags)?,
        current_version: row.current_version.map(VersionId),
        created: Timestamp(row.created),
        updated: Timestamp(row.updated),
    })
}

pub(super) fn whole(row: flow::Model) -> Result<Flow, Error> {
    let data = from_text("graph of a flow", &row.data)?;
    let export = from_text("export of a flow", &row.export)?;
    let requirements =
        from_optional("requirements of a flow", row.requirements.as_deref())?.unwrap_or_default();
    let columns = FlowRow {
        id: row.id,
        project: row.project,
        owner: row.owner,
        name: row.name,
        endpoint_name: row.endpoint_name,
        description: row.description,
        icon: row.icon,
        tags: row.tags,
        current_version: row.current_version,
        created: row.created,
        updated: row.updated,
    };
    Ok(Flow { header: header(columns)?, data, export, requirements })
}
