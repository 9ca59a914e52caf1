//! Uploaded files of users and of flows.
//!
//! A file's name in a path is one segment, and metadata: nothing on any host has that name.

use domain::id::{FileId, FlowId, UserId};
use domain::limits::FileLimits;
use domain::time::Timestamp;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, LockType};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait,
    IntoActiveModel, QueryFilter, QueryOrder, QuerySelect, Select,
};
use uuid::Uuid;

use super::{Tenant, file_content};
use crate::clock;
use crate::entity::file;
use crate::error::{Doing, Error};
use crate::json::storable;

const NOT_FOUND: Error = Error::NotFound { what: "file" };

/// Whose a file is: the folder that it lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileOwner {
    /// A user's own files.
    User(UserId),
    /// Files of a flow; they go with it.
    Flow(FlowId),
}

impl FileOwner {
    fn namespace(self) -> Uuid {
        match self {
            Self::User(user) => user.uuid(),
            Self::Flow(flow) => flow.uuid(),
        }
    }

    fn flow(self) -> Option<FlowId> {
        match self {
            Self::User(_) => None,
            Self::Flow(flow) => Some(flow),
        }
    }
}

/// A file to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFile {
    /// Whose it is.
    pub owner: FileOwner,
    /// Its name in paths: `<owner>/<path_name>`.
    pub path_name: String,
    /// Its name for people.
    pub name: String,
    /// Whether lists show it.
    pub listed: bool,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// A stored file, without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its id.
    pub id: FileId,
    /// Whose it is.
    pub owner: FileOwner,
    /// Its name in paths.
    pub path_name: String,
    /// Its name for people.
    pub name: String,
    /// Whether lists show it.
    pub listed: bool,
    /// How large it is.
    pub bytes: u64,
    /// When it was first stored.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
    pub(super) content: Uuid,
}

impl File {
    /// `<owner>/<path_name>`, as flows name it.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}/{}", self.owner.namespace(), self.path_name)
    }

    /// In how many pieces its content is read.
    #[must_use]
    pub fn pieces(&self) -> u64 {
        self.bytes.div_ceil(file_content::CHUNK_BYTES as u64)
    }
}

impl Tenant {
    /// Stores a new file.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an owner of somebody else, [`Error::Duplicate`] when the owner has
    /// a file of that name, [`Error::TooLarge`].
    pub async fn create_file(&self, new: NewFile, limits: FileLimits) -> Result<File, Error> {
        const DOING: &str = "storing a file";
        self.storing(new, limits, DOING, false).await
    }

    /// Stores a file in place of the one that has its name, if there is one.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an owner of somebody else, [`Error::TooLarge`].
    pub async fn put_file(&self, new: NewFile, limits: FileLimits) -> Result<File, Error> {
        const DOING: &str = "replacing a file";
        self.storing(new, limits, DOING, true).await
    }

    /// Lists the files of an owner, oldest first, those that lists do not show included.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn files(&self, owner: FileOwner) -> Result<Vec<File>, Error> {
        let rows = self
            .of(owner)
            .order_by_asc(file::Column::Created)
            .order_by_asc(file::Column::Id)
            .all(self.store.read())
            .await
            .doing("listing files")?;
        rows.into_iter().map(view).collect()
    }

    /// One file of an owner.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn file(&self, owner: FileOwner, id: FileId) -> Result<File, Error> {
        self.one(self.of(owner).filter(file::Column::Id.eq(id.uuid()))).await
    }

    /// The file that has this name in the owner's paths.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn find_file(&self, owner: FileOwner, path_name: &str) -> Result<File, Error> {
        if path_name.contains('\0') {
            return Err(NOT_FOUND);
        }
        self.one(self.of(owner).filter(file::Column::PathName.eq(path_name))).await
    }

    /// A piece of the content, from 0; `None` past the end. All pieces but the last are equally
    /// large.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the file has been deleted or changed since it was looked up.
    pub async fn read_file(&self, file: &File, position: u64) -> Result<Option<Vec<u8>>, Error> {
        if position >= file.pieces() {
            return Ok(None);
        }
        // The row may be another tenant's: what is in hand proves nothing.
        let current = self.file(file.owner, file.id).await?;
        let position = i64::try_from(position).map_err(|_| NOT_FOUND)?;
        file_content::read(&self.store, file.id, file.content, position)
            .await?
            .filter(|_| current.content == file.content)
            .map(Some)
            .ok_or(NOT_FOUND)
    }

    /// Gives a file another name for people; its paths stay.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn rename_file(
        &self,
        owner: FileOwner,
        id: FileId,
        name: &str,
    ) -> Result<File, Error> {
        const DOING: &str = "renaming a file";
        storable("name", name)?;
        let tx = self.store.begin(DOING).await?;
        let row = self
            .of(owner)
            .filter(file::Column::Id.eq(id.uuid()))
            .one(&tx)
            .await
            .doing(DOING)?
            .ok_or(NOT_FOUND)?;
        let mut changed = row.into_active_model();
        changed.name = Set(name.to_owned());
        changed.updated = Set(clock::now().millis());
        let row = changed.update(&tx).await.doing(DOING)?;
        tx.commit().await.doing(DOING)?;
        view(row)
    }

    /// Deletes a file and its content.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn delete_file(&self, owner: FileOwner, id: FileId) -> Result<(), Error> {
        const DOING: &str = "deleting a file";
        let tx = self.store.begin(DOING).await?;
        let deleted = file::Entity::delete_many()
            .filter(file::Column::Tenant.eq(self.id.uuid()))
            .filter(file::Column::Namespace.eq(owner.namespace()))
            .filter(file::Column::Id.eq(id.uuid()))
            .exec(&tx)
            .await
            .doing(DOING)?;
        if deleted.rows_affected == 0 {
            return Err(NOT_FOUND);
        }
        tx.commit().await.doing(DOING)
    }

    fn of(&self, owner: FileOwner) -> Select<file::Entity> {
        let is_of_flow = match owner {
            FileOwner::User(_) => file::Column::Flow.is_null(),
            FileOwner::Flow(_) => file::Column::Flow.is_not_null(),
        };
        file::Entity::find()
            .filter(file::Column::Tenant.eq(self.id.uuid()))
            .filter(file::Column::Namespace.eq(owner.namespace()))
            .filter(is_of_flow)
    }

    async fn one(&self, wanted: Select<file::Entity>) -> Result<File, Error> {
        let row = wanted.one(self.store.read()).await.doing("looking for a file")?;
        view(row.ok_or(NOT_FOUND)?)
    }

    async fn storing(
        &self,
        new: NewFile,
        limits: FileLimits,
        doing: &'static str,
        replaces: bool,
    ) -> Result<File, Error> {
        storable("name", &new.name)?;
        storable("file name", &new.path_name)?;
        let bytes = u64::try_from(new.bytes.len()).unwrap_or(u64::MAX);
        within("file", bytes, limits.file_bytes_max)?;
        let tx = self.store.begin(doing).await?;
        // Held for the sum below: two uploads at once may not both find room for one.
        self.lock(&tx).await?;
        self.check_owner(&tx, new.owner).await?;
        let found = self.of(new.owner).filter(file::Column::PathName.eq(&new.path_name));
        let found = found.one(&tx).await.doing(doing)?;
        if found.is_some() && !replaces {
            return Err(Error::Duplicate { field: "file name" });
        }
        let freed = found.as_ref().map_or(0, |row| u64::try_from(row.length).unwrap_or(0));
        let all = self.stored_bytes(&tx).await?.saturating_sub(freed).saturating_add(bytes);
        within("sum of the tenant's files", all, limits.tenant_bytes_max)?;
        let row = write(&tx, self.row(&new, found.as_ref()), found.is_some()).await?;
        if let Some(old) = found {
            file_content::delete(&tx, FileId(old.id), old.content).await?;
        }
        file_content::write(&tx, FileId(row.id), row.content, new.bytes).await?;
        tx.commit().await.doing(doing)?;
        view(row)
    }

    fn row(&self, new: &NewFile, found: Option<&file::Model>) -> file::Model {
        let now = clock::now().millis();
        file::Model {
            id: found.map_or_else(Uuid::now_v7, |row| row.id),
            tenant: self.id.uuid(),
            namespace: new.owner.namespace(),
            flow: new.owner.flow().map(FlowId::uuid),
            path_name: new.path_name.clone(),
            name: new.name.clone(),
            listed: new.listed,
            content: Uuid::now_v7(),
            length: i64::try_from(new.bytes.len()).unwrap_or(i64::MAX),
            created: found.map_or(now, |row| row.created),
            updated: now,
        }
    }

    async fn check_owner(&self, tx: &DatabaseTransaction, owner: FileOwner) -> Result<(), Error> {
        match owner {
            FileOwner::Flow(flow) => {
                self.flow_row(tx, flow, Some(LockType::KeyShare)).await.map(drop)
            }
            FileOwner::User(user) => self.check_user(tx, user).await,
        }
    }

    async fn stored_bytes<C: ConnectionTrait>(&self, connection: &C) -> Result<u64, Error> {
        // Postgres sums whole numbers to a decimal, which is none of ours.
        let sum = Expr::cust("CAST(COALESCE(SUM(length), 0) AS bigint)");
        let sum: Option<i64> = file::Entity::find()
            .select_only()
            .column_as(sum, "bytes")
            .filter(file::Column::Tenant.eq(self.id.uuid()))
            .into_tuple()
            .one(connection)
            .await
            .doing("measuring files")?;
        Ok(sum.and_then(|sum| u64::try_from(sum).ok()).unwrap_or(0))
    }
}

async fn write(
    tx: &DatabaseTransaction,
    row: file::Model,
    exists: bool,
) -> Result<file::Model, Error> {
    const DOING: &str = "writing a file's row";
    if exists {
        return row.into_active_model().reset_all().update(tx).await.doing(DOING);
    }
    file::Entity::insert(row.clone().into_active_model())
        .exec_without_returning(tx)
        .await
        .unique("file name", DOING)?;
    Ok(row)
}

pub(super) fn within(what: &'static str, bytes: u64, bytes_max: u64) -> Result<(), Error> {
    if bytes > bytes_max {
        return Err(Error::TooLarge { what, bytes, bytes_max });
    }
    Ok(())
}

fn view(row: file::Model) -> Result<File, Error> {
    Ok(File {
        id: FileId(row.id),
        owner: match row.flow {
            Some(flow) => FileOwner::Flow(FlowId(flow)),
            None => FileOwner::User(UserId(row.namespace)),
        },
        path_name: row.path_name,
        name: row.name,
        listed: row.listed,
        bytes: u64::try_from(row.length)
            .map_err(|_| Error::Corrupt { what: "length of a file" })?,
        created: Timestamp(row.created),
        updated: Timestamp(row.updated),
        content: row.content,
    })
}
