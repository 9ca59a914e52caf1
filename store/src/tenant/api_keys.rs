//! API keys: shown once, stored as a hash, revoked at once.

use domain::id::{KeyId, UserId};
use domain::time::Timestamp;
use sea_orm::{
    ColumnTrait, Condition, DatabaseTransaction, EntityTrait, IntoActiveModel, QueryFilter,
    QueryOrder,
};
use uuid::Uuid;

use super::Tenant;
use crate::auth::NewToken;
use crate::clock;
use crate::entity::api_key;
use crate::error::{Doing, Error};
use crate::json::{from_text, storable, to_text};
use crate::secret::Secret;

/// A key to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewApiKey {
    /// Whose it is.
    pub user: UserId,
    /// What people call it.
    pub name: String,
    /// What it may be used for; empty for everything its user may do.
    pub scopes: Vec<String>,
    /// When it stops working.
    pub expires: Option<Timestamp>,
}

/// A key without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id.
    pub id: KeyId,
    /// Whose it is.
    pub user: UserId,
    /// What people call it.
    pub name: String,
    /// How its secret begins, to recognise it.
    pub prefix: String,
    /// What it may be used for; empty for everything its user may do.
    pub scopes: Vec<String>,
    /// When it was made.
    pub created: Timestamp,
    /// When it stops working.
    pub expires: Option<Timestamp>,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub last_used: Option<Timestamp>,
}

/// A key with its secret, which is shown this once.
#[derive(Clone, Debug)]
pub struct CreatedKey {
    /// The key.
    pub key: ApiKey,
    /// `sk-` and 43 characters.
    pub secret: Secret,
}

impl Tenant {
    /// Makes a key for a user of this tenant.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a foreign user.
    pub async fn create_api_key(&self, new: NewApiKey) -> Result<CreatedKey, Error> {
        const DOING: &str = "creating an API key";
        storable("name", &new.name)?;
        let tx = self.store.begin(DOING).await?;
        self.check_user(&tx, new.user).await?;
        let created = self.insert_api_key(&tx, new).await?;
        tx.commit().await.doing(DOING)?;
        Ok(created)
    }

    /// Lists the keys of the tenant, or of one of its users; oldest first, revoked ones included.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn api_keys(&self, user: Option<UserId>) -> Result<Vec<ApiKey>, Error> {
        let of_user = user.map(|user| api_key::Column::UserId.eq(user.uuid()));
        let rows = api_key::Entity::find()
            .filter(api_key::Column::Tenant.eq(self.id.uuid()))
            .filter(Condition::all().add_option(of_user))
            .order_by_asc(api_key::Column::Created)
            .order_by_asc(api_key::Column::Id)
            .all(self.store.read())
            .await
            .doing("listing API keys")?;
        rows.into_iter().map(view).collect()
    }

    /// Ends a key. Doing it again changes nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn revoke_api_key(&self, id: KeyId) -> Result<(), Error> {
        const DOING: &str = "revoking an API key";
        let tx = self.store.begin(DOING).await?;
        let row = api_key::Entity::find_by_id(id.uuid())
            .filter(api_key::Column::Tenant.eq(self.id.uuid()))
            .one(&tx)
            .await
            .doing(DOING)?
            .ok_or(Error::NotFound { what: "API key" })?;
        api_key::Entity::update_many()
            .col_expr(api_key::Column::Revoked, clock::now().millis().into())
            .filter(api_key::Column::Id.eq(row.id))
            .filter(api_key::Column::Revoked.is_null())
            .exec(&tx)
            .await
            .doing(DOING)?;
        tx.commit().await.doing(DOING)
    }

    /// Stores a new key of a user who is known to be this tenant's.
    pub(crate) async fn insert_api_key(
        &self,
        tx: &DatabaseTransaction,
        new: NewApiKey,
    ) -> Result<CreatedKey, Error> {
        let token = NewToken::generate("sk-");
        let row = api_key::Model {
            id: Uuid::now_v7(),
            tenant: self.id.uuid(),
            user_id: new.user.uuid(),
            prefix: token.prefix,
            hash: token.hash,
            name: new.name,
            scopes: to_text(&new.scopes),
            created: clock::now().millis(),
            expires: new.expires.map(Timestamp::millis),
            revoked: None,
            last_used: None,
            runs_max: None,
        };
        api_key::Entity::insert(row.clone().into_active_model())
            .exec_without_returning(tx)
            .await
            .doing("creating an API key")?;
        Ok(CreatedKey { key: view(row)?, secret: token.secret })
    }
}

fn view(row: api_key::Model) -> Result<ApiKey, Error> {
    Ok(ApiKey {
        id: KeyId(row.id),
        user: UserId(row.user_id),
        name: row.name,
        prefix: row.prefix,
        scopes: from_text("scopes of an API key", &row.scopes)?,
        created: Timestamp(row.created),
        expires: row.expires.map(Timestamp),
        revoked: row.revoked.map(Timestamp),
        last_used: row.last_used.map(Timestamp),
    })
}
