//! Projects: folders of flows.

use domain::id::ProjectId;
use domain::time::Timestamp;
use sea_orm::ActiveValue::Set;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter,
    QueryOrder, QuerySelect,
};
use uuid::Uuid;

use super::{Tenant, naming};
use crate::clock;
use crate::entity::{flow, project};
use crate::error::{Doing, Error};
use crate::json::{storable, storable_optional};

/// The name of the project that every tenant starts with, as in Langflow.
pub const STARTER_PROJECT: &str = "Starter Project";

/// A project to store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewProject {
    /// Its name. Taken names get a number: `X (1)`.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
}

/// A project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// Its name, unique in the tenant.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// When it was stored.
    pub created: Timestamp,
}

/// Changes of a project; `None` leaves a field alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProjectPatch {
    /// A new name; [`Error::Duplicate`] when it is taken.
    pub name: Option<String>,
    /// A new description.
    pub description: Option<Option<String>>,
}

impl Tenant {
    /// Stores a project.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the tenant does not exist.
    pub async fn create_project(&self, new: NewProject) -> Result<Project, Error> {
        const DOING: &str = "creating a project";
        storable("name", &new.name)?;
        storable_optional("description", new.description.as_deref())?;
        let tx = self.store.begin(DOING).await?;
        self.lock(&tx).await?;
        let taken: Vec<String> = project::Entity::find()
            .select_only()
            .column(project::Column::Name)
            .filter(project::Column::Tenant.eq(self.id.uuid()))
            .filter(project::Column::Name.starts_with(&new.name))
            .into_tuple()
            .all(&tx)
            .await
            .doing(DOING)?;
        let name = naming::free_name(&new.name, &taken);
        let row = self.insert_project(&tx, name, new.description).await?;
        tx.commit().await.doing(DOING)?;
        Ok(view(row))
    }

    /// Lists projects by age.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn projects(&self) -> Result<Vec<Project>, Error> {
        let rows = project::Entity::find()
            .filter(project::Column::Tenant.eq(self.id.uuid()))
            .order_by_asc(project::Column::Created)
            .order_by_asc(project::Column::Id)
            .all(self.store.read())
            .await
            .doing("listing projects")?;
        Ok(rows.into_iter().map(view).collect())
    }

    /// One project.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn project(&self, id: ProjectId) -> Result<Project, Error> {
        self.project_row(self.store.read(), id).await.map(view)
    }

    /// The project for flows that name none: [`STARTER_PROJECT`], made when it is missing.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the tenant does not exist.
    pub async fn starter_project(&self) -> Result<Project, Error> {
        const DOING: &str = "looking for the starter project";
        let tx = self.store.begin(DOING).await?;
        self.lock(&tx).await?;
        let row = self.starter_project_row(&tx).await?;
        tx.commit().await.doing(DOING)?;
        Ok(view(row))
    }

    /// Changes a project.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Duplicate`] for a taken name.
    pub async fn update_project(
        &self,
        id: ProjectId,
        patch: ProjectPatch,
    ) -> Result<Project, Error> {
        const DOING: &str = "changing a project";
        let tx = self.store.begin(DOING).await?;
        let row = self.project_row(&tx, id).await?;
        if patch == ProjectPatch::default() {
            return Ok(view(row));
        }
        let mut changed = row.into_active_model();
        if let Some(name) = patch.name {
            storable("name", &name)?;
            changed.name = Set(name);
        }
        if let Some(description) = patch.description {
            storable_optional("description", description.as_deref())?;
            changed.description = Set(description);
        }
        let row = changed.update(&tx).await.unique("name", DOING)?;
        tx.commit().await.doing(DOING)?;
        Ok(view(row))
    }

    /// Deletes an empty project.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] while it has flows: delete or move them first.
    pub async fn delete_project(&self, id: ProjectId) -> Result<(), Error> {
        const DOING: &str = "deleting a project";
        let tx = self.store.begin(DOING).await?;
        self.lock(&tx).await?;
        self.project_row(&tx, id).await?;
        let used: Option<Uuid> = flow::Entity::find()
            .select_only()
            .column(flow::Column::Id)
            .filter(flow::Column::Tenant.eq(self.id.uuid()))
            .filter(flow::Column::Project.eq(id.uuid()))
            .into_tuple()
            .one(&tx)
            .await
            .doing(DOING)?;
        if used.is_some() {
            return Err(Error::Conflict { what: "the project still has flows" });
        }
        project::Entity::delete_by_id(id.uuid()).exec(&tx).await.doing(DOING)?;
        tx.commit().await.doing(DOING)
    }

    pub(super) async fn project_row<C: ConnectionTrait>(
        &self,
        connection: &C,
        id: ProjectId,
    ) -> Result<project::Model, Error> {
        project::Entity::find_by_id(id.uuid())
            .filter(project::Column::Tenant.eq(self.id.uuid()))
            .one(connection)
            .await
            .doing("looking for a project")?
            .ok_or(Error::NotFound { what: "project" })
    }

    /// The caller holds the tenant's lock.
    pub(super) async fn starter_project_row<C: ConnectionTrait>(
        &self,
        tx: &C,
    ) -> Result<project::Model, Error> {
        let found = project::Entity::find()
            .filter(project::Column::Tenant.eq(self.id.uuid()))
            .filter(project::Column::Name.eq(STARTER_PROJECT))
            .one(tx)
            .await
            .doing("looking for the starter project")?;
        match found {
            Some(row) => Ok(row),
            None => self.insert_project(tx, STARTER_PROJECT.to_owned(), None).await,
        }
    }

    async fn insert_project<C: ConnectionTrait>(
        &self,
        tx: &C,
        name: String,
        description: Option<String>,
    ) -> Result<project::Model, Error> {
        let row = project::Model {
            id: Uuid::now_v7(),
            tenant: self.id.uuid(),
            name,
            description,
            created: clock::now().millis(),
        };
        project::Entity::insert(row.clone().into_active_model())
            .exec_without_returning(tx)
            .await
            .unique("name", "creating a project")?;
        Ok(row)
    }
}

fn view(row: project::Model) -> Project {
    Project {
        id: ProjectId(row.id),
        name: row.name,
        description: row.description,
        created: Timestamp(row.created),
    }
}
