//! From a credential to a principal.

use domain::id::{KeyId, TenantId, UserId};
use sea_orm::{ColumnTrait, EntityTrait, JoinType, QueryFilter, QuerySelect};
use subtle::ConstantTimeEq;

use super::token::{hash_token, prefix_of};
use super::{Auth, Principal};
use crate::clock;
use crate::entity::{api_key, user};
use crate::error::{Doing, Error};
use crate::json::from_text;
use crate::secret::Secret;

/// The use of a key is recorded at most this often: a write per request would cost more than the
/// request.
const USE_RECORDED_MS: i64 = 60_000;

/// Longest credential worth hashing.
const CREDENTIAL_BYTES_MAX: usize = 1_024;

impl Auth {
    /// Who holds this API key; `None` when it is unknown, revoked, expired, or its user inactive.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn authenticate_key(&self, key: &str) -> Result<Option<Principal>, Error> {
        const DOING: &str = "looking for an API key";
        if key.len() > CREDENTIAL_BYTES_MAX || key.contains('\0') {
            return Ok(None);
        }
        let now = clock::now().millis();
        let hash = hash_token(key);
        let holder = api_key::Entity::belongs_to(user::Entity)
            .from(api_key::Column::UserId)
            .to(user::Column::Id);
        let candidates = api_key::Entity::find()
            .join(JoinType::InnerJoin, holder.into())
            .select_also(user::Entity)
            .filter(api_key::Column::Prefix.eq(prefix_of(key)))
            .all(self.store.read())
            .await
            .doing(DOING)?;
        let same = |row: &api_key::Model| bool::from(row.hash.as_slice().ct_eq(&hash));
        let valid = |row: &api_key::Model| {
            row.revoked.is_none() && row.expires.is_none_or(|expires| now < expires)
        };
        let held = |(row, user): (api_key::Model, Option<user::Model>)| Some((row, user?));
        let Some((row, user)) = candidates
            .into_iter()
            .filter_map(held)
            .find(|(row, _)| same(row))
            .filter(|(row, user)| valid(row) && user.active)
        else {
            return Ok(None);
        };
        if row.last_used.is_none_or(|used| now.saturating_sub(used) >= USE_RECORDED_MS) {
            self.record_use(&row, now).await;
        }
        Ok(Some(Principal {
            key: Some(KeyId(row.id)),
            scopes: from_text("scopes of an API key", &row.scopes)?,
            ..principal(user)
        }))
    }

    /// Who logs in; `None` when name or password is wrong or the user inactive, in equal time.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn login(
        &self,
        username: &str,
        password: &Secret,
    ) -> Result<Option<Principal>, Error> {
        const DOING: &str = "logging in";
        if password.expose().len() > CREDENTIAL_BYTES_MAX || username.contains('\0') {
            return Ok(None);
        }
        let found = user::Entity::find()
            .filter(user::Column::Username.eq(username))
            .one(self.store.read())
            .await
            .doing(DOING)?;
        let stored = found.as_ref().map(|user| user.password.clone());
        let fits = self.store.passwords().verify(password, stored).await?;
        let Some(user) = found.filter(|user| fits && user.active) else {
            return Ok(None);
        };
        let tx = self.store.begin(DOING).await?;
        user::Entity::update_many()
            .col_expr(user::Column::LastLogin, clock::now().millis().into())
            .filter(user::Column::Id.eq(user.id))
            .exec(&tx)
            .await
            .doing(DOING)?;
        tx.commit().await.doing(DOING)?;
        Ok(Some(principal(user)))
    }

    pub(super) async fn active_user(&self, id: UserId) -> Result<Option<user::Model>, Error> {
        user::Entity::find_by_id(id.uuid())
            .filter(user::Column::Active.eq(true))
            .one(self.store.read())
            .await
            .doing("looking for a user")
    }

    /// Only a note for people: a failure is logged and does not fail the request.
    async fn record_use(&self, row: &api_key::Model, now: i64) {
        const DOING: &str = "recording the use of an API key";
        let record = async {
            let tx = self.store.begin(DOING).await?;
            api_key::Entity::update_many()
                .col_expr(api_key::Column::LastUsed, now.into())
                .filter(api_key::Column::Id.eq(row.id))
                .exec(&tx)
                .await
                .doing(DOING)?;
            tx.commit().await.doing(DOING)
        };
        if let Err(error) = record.await {
            tracing::warn!(key.id = %row.id, error = &error as &dyn std::error::Error, "{DOING}");
        }
    }
}

/// The principal of a user who proved it without a key.
pub(super) fn principal(user: user::Model) -> Principal {
    Principal {
        tenant: TenantId(user.tenant),
        user: UserId(user.id),
        username: user.username,
        key: None,
        scopes: Vec::new(),
        is_superuser: user.is_superuser,
    }
}
