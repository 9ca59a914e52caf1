//! The people and service accounts of a tenant.

use domain::id::UserId;
use domain::time::Timestamp;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, IntoActiveModel, QueryFilter,
    QueryOrder, QuerySelect,
};
use uuid::Uuid;

use super::Tenant;
use crate::clock;
use crate::entity::{session, user};
use crate::error::{Doing, Error};
use crate::json::storable;
use crate::secret::Secret;

const CHANGING: &str = "changing a user";

/// A user to make.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// The name to log in with, unique over all tenants.
    pub username: String,
    /// The password.
    pub password: Secret,
    /// Whether the user may do everything on this installation.
    pub is_superuser: bool,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The id.
    pub id: UserId,
    /// The name to log in with.
    pub username: String,
    /// Whether the user may do everything on this installation.
    pub is_superuser: bool,
    /// Whether the user may log in and use keys.
    pub active: bool,
    /// When the user was made.
    pub created: Timestamp,
    /// When the user last logged in.
    pub last_login: Option<Timestamp>,
}

impl Tenant {
    /// Makes a user.
    ///
    /// # Errors
    /// [`Error::Duplicate`] when the name is taken, in whatever tenant.
    pub async fn create_user(&self, new: NewUser) -> Result<User, Error> {
        const DOING: &str = "creating a user";
        storable("username", &new.username)?;
        let password = self.store.passwords().hash(&new.password).await?;
        let tx = self.store.begin(DOING).await?;
        self.lock(&tx).await?;
        let row = self.insert_user(&tx, new.username, password, new.is_superuser).await?;
        tx.commit().await.doing(DOING)?;
        Ok(view(row))
    }

    /// One user.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn user(&self, id: UserId) -> Result<User, Error> {
        user::Entity::find_by_id(id.uuid())
            .filter(user::Column::Tenant.eq(self.id.uuid()))
            .one(self.store.read())
            .await
            .doing("looking for a user")?
            .map(view)
            .ok_or(Error::NotFound { what: "user" })
    }

    /// Lists users by name.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn users(&self) -> Result<Vec<User>, Error> {
        let rows = user::Entity::find()
            .filter(user::Column::Tenant.eq(self.id.uuid()))
            .order_by_asc(user::Column::Username)
            .all(self.store.read())
            .await
            .doing("listing users")?;
        Ok(rows.into_iter().map(view).collect())
    }

    /// Gives a user another password and ends the user's sessions.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn change_password(&self, id: UserId, password: &Secret) -> Result<(), Error> {
        // Before the costly hash, and before the transaction that must not wait for it.
        self.user(id).await?;
        let password = self.store.passwords().hash(password).await?;
        let tx = self.store.begin(CHANGING).await?;
        self.change(&tx, id, user::Column::Password, password).await?;
        revoke_sessions(&tx, id).await?;
        tx.commit().await.doing(CHANGING)
    }

    /// Lets a user in, or locks the user out: keys and sessions of an inactive user do not work.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn set_active(&self, id: UserId, active: bool) -> Result<(), Error> {
        let tx = self.store.begin(CHANGING).await?;
        self.change(&tx, id, user::Column::Active, active).await?;
        if !active {
            revoke_sessions(&tx, id).await?;
        }
        tx.commit().await.doing(CHANGING)
    }

    async fn change(
        &self,
        tx: &DatabaseTransaction,
        id: UserId,
        column: user::Column,
        value: impl Into<Expr>,
    ) -> Result<(), Error> {
        let changed = user::Entity::update_many()
            .col_expr(column, value.into())
            .filter(user::Column::Id.eq(id.uuid()))
            .filter(user::Column::Tenant.eq(self.id.uuid()))
            .exec(tx)
            .await
            .doing(CHANGING)?;
        match changed.rows_affected {
            0 => Err(Error::NotFound { what: "user" }),
            _ => Ok(()),
        }
    }

    pub(super) async fn check_user<C: ConnectionTrait>(
        &self,
        connection: &C,
        id: UserId,
    ) -> Result<(), Error> {
        let found: Option<Uuid> = user::Entity::find_by_id(id.uuid())
            .select_only()
            .column(user::Column::Id)
            .filter(user::Column::Tenant.eq(self.id.uuid()))
            .into_tuple()
            .one(connection)
            .await
            .doing("looking for a user")?;
        found.map(drop).ok_or(Error::NotFound { what: "user" })
    }

    pub(crate) async fn insert_user(
        &self,
        tx: &DatabaseTransaction,
        username: String,
        password: String,
        is_superuser: bool,
    ) -> Result<user::Model, Error> {
        let row = user::Model {
            id: Uuid::now_v7(),
            tenant: self.id.uuid(),
            username,
            password,
            is_superuser,
            active: true,
            created: clock::now().millis(),
            last_login: None,
        };
        user::Entity::insert(row.clone().into_active_model())
            .exec_without_returning(tx)
            .await
            .unique("username", "creating a user")?;
        Ok(row)
    }
}

async fn revoke_sessions(tx: &DatabaseTransaction, user: UserId) -> Result<(), Error> {
    session::Entity::update_many()
        .col_expr(session::Column::Revoked, clock::now().millis().into())
        .filter(session::Column::UserId.eq(user.uuid()))
        .filter(session::Column::Revoked.is_null())
        .exec(tx)
        .await
        .doing("ending sessions")
        .map(drop)
}

fn view(row: user::Model) -> User {
    User {
        id: UserId(row.id),
        username: row.username,
        is_superuser: row.is_superuser,
        active: row.active,
        created: Timestamp(row.created),
        last_login: row.last_login.map(Timestamp),
    }
}
