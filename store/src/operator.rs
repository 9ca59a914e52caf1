//! What only the operator of an installation does: making and listing tenants.

use domain::id::TenantId;
use domain::time::Timestamp;
use sea_orm::ActiveValue::Set;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, ExprTrait, QueryFilter,
    QueryOrder,
};
use uuid::Uuid;

use crate::clock;
use crate::connect::Store;
use crate::entity::{project, setting, tenant};
use crate::error::{Doing, Error};
use crate::seal::DataKey;
use crate::tenant::projects::STARTER_PROJECT;

/// The row that tells whether the database was made with the key-encryption key at hand.
const KEY_CHECK: &str = "key_check";

/// A tenant as the operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantInfo {
    /// Its id.
    pub id: TenantId,
    /// Its name, unique.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
}

impl Store {
    /// Makes a tenant with its data key and its starter project.
    ///
    /// # Errors
    /// [`Error::Duplicate`] when the name is taken, [`Error::WrongKey`] when this process has
    /// another key-encryption key than the one that the database was made with.
    pub async fn create_tenant(&self, name: &str) -> Result<TenantId, Error> {
        const DOING: &str = "creating a tenant";
        crate::json::storable("name", name)?;
        let tx = self.begin(DOING).await?;
        let tenant = self.insert_tenant(&tx, name).await?;
        tx.commit().await.doing(DOING)?;
        Ok(tenant)
    }

    /// Lists tenants by age.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn tenants(&self) -> Result<Vec<TenantInfo>, Error> {
        let rows = tenant::Entity::find()
            .order_by_asc(tenant::Column::Created)
            .order_by_asc(tenant::Column::Id)
            .all(self.read())
            .await
            .doing("listing tenants")?;
        let info = |row: tenant::Model| TenantInfo {
            id: TenantId(row.id),
            name: row.name,
            created: Timestamp(row.created),
        };
        Ok(rows.into_iter().map(info).collect())
    }

    /// The tenant of this name or id.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn tenant_named(&self, name: &str) -> Result<Option<TenantId>, Error> {
        let by_name = tenant::Column::Name.eq(name);
        let meant = match name.parse::<TenantId>() {
            Ok(id) => by_name.or(tenant::Column::Id.eq(id.uuid())),
            Err(_) => by_name,
        };
        // A name that looks like another tenant's id is still the name.
        let found = tenant::Entity::find()
            .filter(meant)
            .all(self.read())
            .await
            .doing("looking for a tenant")?;
        let named = found.iter().find(|row| row.name == name).or(found.first());
        Ok(named.map(|row| TenantId(row.id)))
    }

    pub(crate) async fn insert_tenant(
        &self,
        tx: &DatabaseTransaction,
        name: &str,
    ) -> Result<TenantId, Error> {
        const DOING: &str = "creating a tenant";
        self.ensure_key(tx).await?;
        let id = TenantId(Uuid::now_v7());
        let created = clock::now().millis();
        let row = tenant::ActiveModel {
            id: Set(id.uuid()),
            name: Set(name.to_owned()),
            data_key: Set(self.key().wrap(id, &DataKey::generate())),
            created: Set(created),
        };
        tenant::Entity::insert(row).exec_without_returning(tx).await.unique("name", DOING)?;
        let row = project::ActiveModel {
            id: Set(Uuid::now_v7()),
            tenant: Set(id.uuid()),
            name: Set(STARTER_PROJECT.to_owned()),
            description: Set(None),
            created: Set(created),
        };
        project::Entity::insert(row).exec_without_returning(tx).await.doing(DOING)?;
        Ok(id)
    }

    /// Whether there is a check value; an error when it was made with another key.
    pub(crate) async fn check_key<C: ConnectionTrait>(
        &self,
        connection: &C,
    ) -> Result<bool, Error> {
        let row = setting::Entity::find_by_id(KEY_CHECK)
            .one(connection)
            .await
            .doing("checking the key-encryption key")?;
        match row {
            None => Ok(false),
            Some(row) => match self.key().unwrap_key(TenantId(Uuid::nil()), &row.value) {
                Ok(_) => Ok(true),
                Err(_) => Err(Error::WrongKey),
            },
        }
    }

    /// Leaves a check value where there is none yet. The first tenant is made in the transaction
    /// that leaves it; two first tenants at once meet at its primary key.
    async fn ensure_key(&self, tx: &DatabaseTransaction) -> Result<(), Error> {
        if self.check_key(tx).await? {
            return Ok(());
        }
        let check = self.key().wrap(TenantId(Uuid::nil()), &DataKey::generate());
        insert_setting(tx, KEY_CHECK, check).await?;
        self.check_key(tx).await.map(drop)
    }
}

/// Stores a setting unless it exists; tells whether it was stored. On Postgres this waits for
/// another transaction that is storing the same one.
pub(crate) async fn insert_setting(
    tx: &DatabaseTransaction,
    name: &str,
    value: Vec<u8>,
) -> Result<bool, Error> {
    let row = setting::ActiveModel {
        name: Set(name.to_owned()),
        value: Set(value),
        created: Set(clock::now().millis()),
    };
    let inserted = setting::Entity::insert(row)
        .on_conflict_do_nothing_on([setting::Column::Name])
        .exec_without_returning(tx)
        .await
        .doing("storing a setting")?;
    Ok(matches!(inserted, sea_orm::TryInsertResult::Inserted(rows) if rows > 0))
}
