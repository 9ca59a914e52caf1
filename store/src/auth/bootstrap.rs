//! The very first start of an installation.

use domain::id::{TenantId, UserId};
use sea_orm::EntityTrait;

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

/// What the first start made. Shown once; only hashes are stored.
#[derive(Clone, Debug)]
pub struct FirstStart {
    /// The tenant `default`.
    pub tenant: TenantId,
    /// Its superuser.
    pub user: UserId,
    /// The superuser's login name.
    pub username: String,
    /// The superuser's password.
    pub password: Secret,
    /// An API key of the superuser.
    pub api_key: Secret,
}

impl Auth {
    /// Makes the tenant `default`, a superuser of this name with a random password, one API key
    /// and the starter project. `None` when some process has done it before.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn bootstrap(&self, username: &str) -> Result<Option<FirstStart>, Error> {
        const DOING: &str = "preparing the first start";
        storable("username", username)?;
        let done = setting::Entity::find_by_id(DONE).one(self.store.read()).await.doing(DOING)?;
        if done.is_some() {
            return Ok(None);
        }
        let password = NewToken::generate("").secret;
        let hash = self.store.passwords().hash(&password).await?;
        let tx = self.store.begin(DOING).await?;
        // Of several first starts at once only one stores this row; the others wait for it.
        if !insert_setting(&tx, DONE, Vec::new()).await? {
            return Ok(None);
        }
        let id = self.store.insert_tenant(&tx, TENANT).await?;
        let tenant = self.store.tenant(id);
        let user = tenant.insert_user(&tx, username.to_owned(), hash, true).await?;
        let user = UserId(user.id);
        let key =
            NewApiKey { user, name: "first start".to_owned(), scopes: Vec::new(), expires: None };
        let api_key = tenant.insert_api_key(&tx, key).await?.secret;
        tx.commit().await.doing(DOING)?;
        Ok(Some(FirstStart { tenant: id, user, username: username.to_owned(), password, api_key }))
    }
}
