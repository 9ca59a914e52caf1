//! Tenants with somebody who can use them: the one of the first start, and those added later.

use domain::id::{TenantId, UserId};
use sea_orm::{DatabaseTransaction, EntityTrait};

use super::Auth;
use super::token::NewToken;
use crate::entity::setting;
use crate::error::{Doing, Error};
use crate::json::storable;
use crate::operator::insert_setting;
use crate::secret::Secret;
use crate::tenant::api_keys::NewApiKey;

/// The row that says that the first start is over.
const DONE: &str = "bootstrap";

/// The name of the tenant that the first start makes.
const TENANT: &str = "default";

/// A tenant's first user and the user's secrets. Shown once; only hashes are stored.
#[derive(Clone, Debug)]
pub struct FirstUser {
    /// The tenant.
    pub tenant: TenantId,
    /// Its user.
    pub user: UserId,
    /// The user's login name.
    pub username: String,
    /// The user's password.
    pub password: Secret,
    /// An API key of the user.
    pub api_key: Secret,
}

/// Who a first user is to be.
struct NewUser<'a> {
    username: &'a str,
    password: Secret,
    /// Of the password.
    hash: String,
    is_superuser: bool,
}

impl Auth {
    /// Makes the tenant `default`, a superuser of this name with a random password, one API key
    /// and the starter project. `None` when some process has done it before.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn bootstrap(&self, username: &str) -> Result<Option<FirstUser>, Error> {
        const DOING: &str = "preparing the first start";
        storable("username", username)?;
        let done = setting::Entity::find_by_id(DONE).one(self.store.read()).await.doing(DOING)?;
        if done.is_some() {
            return Ok(None);
        }
        let new = self.new_user(username, true).await?;
        let tx = self.store.begin(DOING).await?;
        // Of several first starts at once only one stores this row; the others wait for it.
        if !insert_setting(&tx, DONE, Vec::new()).await? {
            return Ok(None);
        }
        let first = self.insert_with_user(&tx, TENANT, new).await?;
        tx.commit().await.doing(DOING)?;
        Ok(Some(first))
    }

    /// Makes a tenant with its starter project, a user with a random password, and an API key.
    /// The user is no superuser: what only the operator may open stays closed to the tenant.
    ///
    /// # Errors
    /// [`Error::Duplicate`] when a name is taken, [`Error::WrongKey`] when this process has another
    /// key-encryption key than the one that the database was made with.
    pub async fn add_tenant(&self, name: &str, username: &str) -> Result<FirstUser, Error> {
        const DOING: &str = "adding a tenant";
        storable("name", name)?;
        storable("username", username)?;
        let new = self.new_user(username, false).await?;
        let tx = self.store.begin(DOING).await?;
        let first = self.insert_with_user(&tx, name, new).await?;
        tx.commit().await.doing(DOING)?;
        Ok(first)
    }

    async fn new_user<'a>(
        &self,
        username: &'a str,
        is_superuser: bool,
    ) -> Result<NewUser<'a>, Error> {
        let password = NewToken::generate("").secret;
        let hash = self.store.passwords().hash(&password).await?;
        Ok(NewUser { username, password, hash, is_superuser })
    }

    async fn insert_with_user(
        &self,
        tx: &DatabaseTransaction,
        tenant: &str,
        new: NewUser<'_>,
    ) -> Result<FirstUser, Error> {
        let NewUser { username, password, hash, is_superuser } = new;
        let username = username.to_owned();
        let id = self.store.insert_tenant(tx, tenant).await?;
        let tenant = self.store.tenant(id);
        let user = UserId(tenant.insert_user(tx, username.clone(), hash, is_superuser).await?.id);
        let key =
            NewApiKey { user, name: "first start".to_owned(), scopes: Vec::new(), expires: None };
        let api_key = tenant.insert_api_key(tx, key).await?.secret;
        Ok(FirstUser { tenant: id, user, username, password, api_key })
    }
}
