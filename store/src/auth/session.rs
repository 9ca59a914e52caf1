//! Login sessions: opaque tokens, stored as hashes.

use std::time::Duration;

use domain::id::UserId;
use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

use super::authenticate::principal;
use super::token::{NewToken, hash_token};
use super::{Auth, Principal};
use crate::clock;
use crate::entity::session;
use crate::error::{Doing, Error};
use crate::secret::Secret;

impl Auth {
    /// Opens a session for a user who proved who they are; gives its token, which is stored nowhere.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such user.
    pub async fn create_session(&self, user: UserId, lifetime: Duration) -> Result<Secret, Error> {
        const DOING: &str = "opening a session";
        self.active_user(user).await?.ok_or(Error::NotFound { what: "user" })?;
        let token = NewToken::generate("fs-");
        let now = clock::now();
        let row = session::ActiveModel {
            hash: Set(token.hash),
            user_id: Set(user.uuid()),
            created: Set(now.millis()),
            expires: Set((now + lifetime).millis()),
            revoked: Set(None),
        };
        let tx = self.store.begin(DOING).await?;
        session::Entity::insert(row).exec_without_returning(&tx).await.doing(DOING)?;
        tx.commit().await.doing(DOING)?;
        Ok(token.secret)
    }

    /// Whose session this is; `None` when it is unknown, revoked, expired, or its user inactive.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn session(&self, token: &str) -> Result<Option<Principal>, Error> {
        // The hash is the key of the row: looking it up tells nothing about other tokens.
        let found = session::Entity::find_by_id(hash_token(token))
            .filter(session::Column::Revoked.is_null())
            .filter(session::Column::Expires.gt(clock::now().millis()))
            .one(self.store.read())
            .await
            .doing("looking for a session")?;
        match found {
            None => Ok(None),
            Some(row) => Ok(self.active_user(UserId(row.user_id)).await?.map(principal)),
        }
    }

    /// Ends a session. Unknown tokens are ignored.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn revoke_session(&self, token: &str) -> Result<(), Error> {
        const DOING: &str = "ending a session";
        let tx = self.store.begin(DOING).await?;
        session::Entity::update_many()
            .col_expr(session::Column::Revoked, clock::now().millis().into())
            .filter(session::Column::Hash.eq(hash_token(token)))
            .filter(session::Column::Revoked.is_null())
            .exec(&tx)
            .await
            .doing(DOING)?;
        tx.commit().await.doing(DOING)
    }
}
