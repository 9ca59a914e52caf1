//! Flows: uploaded Langflow graphs and what people call them.

use domain::id::{FlowId, ProjectId, UserId, VersionId};
use domain::runtime::Requirements;
use domain::time::Timestamp;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::LockType;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, PaginatorTrait,
    QueryFilter, QueryOrder, QuerySelect, Select,
};
use serde_json::Value;
use uuid::Uuid;

use super::Tenant;
use super::flow_view::{FlowRow, header, whole};
use crate::clock;
use crate::entity::{flow, run};
use crate::error::{Doing, Error};
use crate::json::{storable, storable_optional, to_text};
use crate::page::{Listing, Page};

const FINDING: &str = "looking for a flow";

/// A flow to store.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewFlow {
    /// The id it had where it was exported, when it is to be kept.
    pub id: Option<FlowId>,
    /// Its name. Taken names get a number: `X (1)`.
    pub name: String,
    /// Its name in URLs. Taken names get a number: `x-1`.
    pub endpoint_name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// An icon's name.
    pub icon: Option<String>,
    /// Labels.
    pub tags: Vec<String>,
    /// The project it belongs to; the starter project when none is named.
    pub project: Option<ProjectId>,
    /// Who uploaded it.
    pub owner: Option<UserId>,
    /// `{"nodes": …, "edges": …, "viewport": …}`, verbatim.
    pub data: Value,
    /// The whole export as it came, verbatim, for the fields that Flowcell has no use for.
    pub export: Value,
}

/// What a list shows of a flow.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowHeader {
    /// Its id.
    pub id: FlowId,
    /// Its project.
    pub project: ProjectId,
    /// Who uploaded it.
    pub owner: Option<UserId>,
    /// Its name, unique in the tenant.
    pub name: String,
    /// Its name in URLs, unique in the tenant.
    pub endpoint_name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// An icon's name.
    pub icon: Option<String>,
    /// Labels.
    pub tags: Vec<String>,
    /// The version that runs when none is named.
    pub current_version: Option<VersionId>,
    /// When it was stored.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
}

/// A flow with its graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Flow {
    /// What a list shows.
    pub header: FlowHeader,
    /// The graph, verbatim.
    pub data: Value,
    /// The whole export, verbatim.
    pub export: Value,
    /// Packages that it lists besides those of its runtime.
    pub requirements: Requirements,
}

/// Changes of a flow; `None` leaves a field alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FlowPatch {
    /// A new name; [`Error::Duplicate`] when it is taken.
    pub name: Option<String>,
    /// A new name in URLs, or none; [`Error::Duplicate`] when it is taken.
    pub endpoint_name: Option<Option<String>>,
    /// A new description.
    pub description: Option<Option<String>>,
    /// A new icon.
    pub icon: Option<Option<String>>,
    /// New labels.
    pub tags: Option<Vec<String>>,
    /// Another project.
    pub project: Option<ProjectId>,
    /// A new graph. The current version is forgotten until the next `put_version`.
    pub data: Option<Value>,
    /// New other fields.
    pub export: Option<Value>,
}

/// Which flows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowFilter {
    /// Only those of this project.
    pub project: Option<ProjectId>,
}

impl Tenant {
    /// Stores a flow under the wished names, or numbered ones where they are taken.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a foreign project or owner, [`Error::Duplicate`] when the id is in
    /// use.
    pub async fn create_flow(&self, new: NewFlow) -> Result<Flow, Error> {
        const DOING: &str = "creating a flow";
        storable("name", &new.name)?;
        storable_optional("endpoint name", new.endpoint_name.as_deref())?;
        storable_optional("description", new.description.as_deref())?;
        storable_optional("icon", new.icon.as_deref())?;
        let tx = self.store.begin(DOING).await?;
        self.lock(&tx).await?;
        let project = match new.project {
            Some(project) => self.project_row(&tx, project).await?,
            None => self.starter_project_row(&tx).await?,
        };
        if let Some(owner) = new.owner {
            self.check_user(&tx, owner).await?;
        }
        let name = self.free_flow_name(&tx, &new.name).await?;
        let endpoint_name = match &new.endpoint_name {
            Some(wished) => Some(self.free_endpoint_name(&tx, wished).await?),
            None => None,
        };
        let now = clock::now().millis();
        let row = flow::Model {
            id: new.id.map_or_else(Uuid::now_v7, FlowId::uuid),
            tenant: self.id.uuid(),
            project: project.id,
            owner: new.owner.map(UserId::uuid),
            name,
            endpoint_name,
            description: new.description,
            icon: new.icon,
            tags: to_text(&new.tags),
            data: to_text(&new.data),
            export: to_text(&new.export),
            current_version: None,
            requirements: None,
            created: now,
            updated: now,
        };
        flow::Entity::insert(row.clone().into_active_model())
            .exec_without_returning(&tx)
            .await
            .unique("flow id", DOING)?;
        tx.commit().await.doing(DOING)?;
        whole(row)
    }

    /// Lists flows without their graphs, by name.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn flows(
        &self,
        filter: &FlowFilter,
        page: Page,
    ) -> Result<Listing<FlowHeader>, Error> {
        const DOING: &str = "listing flows";
        let select = self.select_flows(filter);
        let total = select.clone().count(self.store.read()).await.doing(DOING)?;
        let rows: Vec<FlowRow> =
            paged(select, page).into_partial_model().all(self.store.read()).await.doing(DOING)?;
        let items = rows.into_iter().map(header).collect::<Result<_, _>>()?;
        Ok(Listing { items, total })
    }

    /// Lists flows with their graphs, by name.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn whole_flows(
        &self,
        filter: &FlowFilter,
        page: Page,
    ) -> Result<Listing<Flow>, Error> {
        const DOING: &str = "listing flows";
        let select = self.select_flows(filter);
        let total = select.clone().count(self.store.read()).await.doing(DOING)?;
        let rows = paged(select, page).all(self.store.read()).await.doing(DOING)?;
        let items = rows.into_iter().map(whole).collect::<Result<_, _>>()?;
        Ok(Listing { items, total })
    }

    /// One flow.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn flow(&self, id: FlowId) -> Result<Flow, Error> {
        whole(self.flow_row(self.store.read(), id, None).await?)
    }

    /// The flow that a caller names: by id when it is one, else by endpoint name as Langflow does,
    /// else by its plain name.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn find_flow(&self, id_or_name: &str) -> Result<Flow, Error> {
        for select in self.flows_called(id_or_name) {
            if let Some(row) = select.one(self.store.read()).await.doing(FINDING)? {
                return whole(row);
            }
        }
        Err(Error::NotFound { what: "flow" })
    }

    /// The same without its graph, which may have megabytes.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn find_flow_header(&self, id_or_name: &str) -> Result<FlowHeader, Error> {
        for select in self.flows_called(id_or_name) {
            let select = select.into_partial_model::<FlowRow>();
            if let Some(row) = select.one(self.store.read()).await.doing(FINDING)? {
                return header(row);
            }
        }
        Err(Error::NotFound { what: "flow" })
    }

    /// Where a caller may mean a flow by this, the likeliest first.
    fn flows_called(&self, id_or_name: &str) -> Vec<Select<flow::Entity>> {
        let mine = flow::Entity::find().filter(flow::Column::Tenant.eq(self.id.uuid()));
        if let Ok(id) = id_or_name.parse::<FlowId>() {
            return vec![mine.filter(flow::Column::Id.eq(id.uuid()))];
        }
        // No stored name contains it, and Postgres refuses to compare with it.
        if id_or_name.contains('\0') {
            return Vec::new();
        }
        let called = |column: flow::Column| mine.clone().filter(column.eq(id_or_name));
        vec![called(flow::Column::EndpointName), called(flow::Column::Name)]
    }

    /// The flow of this name.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn flow_named(&self, name: &str) -> Result<Flow, Error> {
        // No stored name contains it, and Postgres refuses to compare with it.
        if name.contains('\0') {
            return Err(Error::NotFound { what: "flow" });
        }
        let found = flow::Entity::find()
            .filter(flow::Column::Tenant.eq(self.id.uuid()))
            .filter(flow::Column::Name.eq(name))
            .one(self.store.read())
            .await
            .doing("looking for a flow")?;
        found.ok_or(Error::NotFound { what: "flow" }).and_then(whole)
    }

    /// Changes a flow.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Duplicate`] for a taken name or endpoint name.
    pub async fn update_flow(&self, id: FlowId, patch: FlowPatch) -> Result<Flow, Error> {
        const DOING: &str = "changing a flow";
        let tx = self.store.begin(DOING).await?;
        self.lock(&tx).await?;
        let row = self.flow_row(&tx, id, Some(LockType::NoKeyUpdate)).await?;
        if let Some(name) = patch.name.as_ref().filter(|name| **name != row.name) {
            let taken = self.flow_with(&tx, flow::Column::Name, name).await?;
            if taken {
                return Err(Error::Duplicate { field: "name" });
            }
        }
        if let Some(Some(name)) = &patch.endpoint_name
            && row.endpoint_name.as_ref() != Some(name)
            && self.flow_with(&tx, flow::Column::EndpointName, name).await?
        {
            return Err(Error::Duplicate { field: "endpoint name" });
        }
        if let Some(project) = patch.project {
            self.project_row(&tx, project).await?;
        }
        let changed = apply(row, patch)?;
        let row = changed.update(&tx).await.doing(DOING)?;
        tx.commit().await.doing(DOING)?;
        whole(row)
    }

    /// Deletes a flow with its versions, ended runs and messages.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] while runs of it have not ended: cancel them first.
    pub async fn delete_flow(&self, id: FlowId) -> Result<(), Error> {
        const DOING: &str = "deleting a flow";
        let tx = self.store.begin(DOING).await?;
        // The lock keeps new runs of the flow out.
        self.flow_row(&tx, id, Some(LockType::Update)).await?;
        let open: Option<Uuid> = run::Entity::find()
            .select_only()
            .column(run::Column::Id)
            .filter(run::Column::Tenant.eq(self.id.uuid()))
            .filter(run::Column::Flow.eq(id.uuid()))
            .filter(run::Column::Ended.is_null())
            .into_tuple()
            .one(&tx)
            .await
            .doing(DOING)?;
        if open.is_some() {
            return Err(Error::Conflict { what: "the flow has runs that have not ended" });
        }
        flow::Entity::delete_by_id(id.uuid()).exec(&tx).await.doing(DOING)?;
        tx.commit().await.doing(DOING)
    }

    fn select_flows(&self, filter: &FlowFilter) -> Select<flow::Entity> {
        let select = flow::Entity::find().filter(flow::Column::Tenant.eq(self.id.uuid()));
        match filter.project {
            Some(project) => select.filter(flow::Column::Project.eq(project.uuid())),
            None => select,
        }
    }

    /// The flow's row, locked until the end of the transaction where a lock is named.
    pub(super) async fn flow_row<C: ConnectionTrait>(
        &self,
        connection: &C,
        id: FlowId,
        lock: Option<LockType>,
    ) -> Result<flow::Model, Error> {
        let mut select =
            flow::Entity::find_by_id(id.uuid()).filter(flow::Column::Tenant.eq(self.id.uuid()));
        if let Some(lock) = lock {
            select = select.lock(lock);
        }
        select
            .one(connection)
            .await
            .doing("looking for a flow")?
            .ok_or(Error::NotFound { what: "flow" })
    }
}

fn apply(row: flow::Model, patch: FlowPatch) -> Result<flow::ActiveModel, Error> {
    let mut changed = row.into_active_model();
    changed.updated = Set(clock::now().millis());
    if let Some(name) = patch.name {
        changed.name = Set(name);
    }
    if let Some(endpoint_name) = patch.endpoint_name {
        changed.endpoint_name = Set(endpoint_name);
    }
    if let Some(description) = patch.description {
        storable_optional("description", description.as_deref())?;
        changed.description = Set(description);
    }
    if let Some(icon) = patch.icon {
        storable_optional("icon", icon.as_deref())?;
        changed.icon = Set(icon);
    }
    if let Some(tags) = patch.tags {
        changed.tags = Set(to_text(&tags));
    }
    if let Some(project) = patch.project {
        changed.project = Set(project.uuid());
    }
    if let Some(data) = patch.data {
        changed.data = Set(to_text(&data));
        changed.current_version = Set(None);
    }
    if let Some(export) = patch.export {
        changed.export = Set(to_text(&export));
    }
    Ok(changed)
}

fn paged(select: Select<flow::Entity>, page: Page) -> Select<flow::Entity> {
    select
        .order_by_asc(flow::Column::Name)
        .order_by_asc(flow::Column::Id)
        .limit(page.limit)
        .offset(page.offset)
}
