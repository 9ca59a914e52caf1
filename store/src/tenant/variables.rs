//! Variables: named values, sealed at rest. Their values leave only through `reveal`.

use std::collections::BTreeMap;

use domain::id::VariableId;
use domain::time::Timestamp;
use sea_orm::ActiveValue::Set;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait,
    IntoActiveModel, QueryFilter, QueryOrder,
};
use uuid::Uuid;

use super::Tenant;
use crate::clock;
use crate::entity::{tenant, variable};
use crate::error::{Doing, Error};
use crate::json::{from_text, storable, to_text};
use crate::seal::{DataKey, Place};
use crate::secret::Secret;

/// What a variable is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VariableKind {
    /// A secret; its value is never shown.
    Credential,
    /// A setting; the API may show its value to the tenant.
    Generic,
}

/// A variable to store.
#[derive(Clone, Debug)]
pub struct NewVariable {
    /// Its name, unique in the tenant.
    pub name: String,
    /// What it is.
    pub kind: VariableKind,
    /// Its value.
    pub value: Secret,
    /// Display names of the fields it fills when they are empty.
    pub default_fields: Vec<String>,
}

/// A variable without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its id.
    pub id: VariableId,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: VariableKind,
    /// Display names of the fields it fills when they are empty.
    pub default_fields: Vec<String>,
    /// When it was stored.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
}

/// Changes of a variable; `None` leaves a field alone.
#[derive(Clone, Debug, Default)]
pub struct VariablePatch {
    /// A new name; [`Error::Duplicate`] when it is taken.
    pub name: Option<String>,
    /// Another kind.
    pub kind: Option<VariableKind>,
    /// A new value.
    pub value: Option<Secret>,
    /// Other fields to fill.
    pub default_fields: Option<Vec<String>>,
}

impl VariableKind {
    /// Langflow's name of the kind.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Credential => "Credential",
            Self::Generic => "Generic",
        }
    }

    /// The kind with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Credential, Self::Generic].into_iter().find(|kind| kind.name() == name)
    }
}

impl Tenant {
    /// Stores a new variable.
    ///
    /// # Errors
    /// [`Error::Duplicate`] when the name is taken, [`Error::Undecryptable`] when the tenant's
    /// data key does not open.
    pub async fn create_variable(&self, new: NewVariable) -> Result<Variable, Error> {
        const DOING: &str = "creating a variable";
        storable("name", &new.name)?;
        let tx = self.store.begin(DOING).await?;
        let key = self.data_key(&self.lock(&tx).await?, &new.name)?;
        if self.variable_named(&tx, &new.name).await?.is_some() {
            return Err(Error::Duplicate { field: "name" });
        }
        let row = self.insert_variable(&tx, &key, &new).await?;
        tx.commit().await.doing(DOING)?;
        view(row)
    }

    /// Stores a variable, over the one of the same name where there is one.
    ///
    /// # Errors
    /// [`Error::Undecryptable`] when the tenant's data key does not open.
    pub async fn put_variable(&self, new: NewVariable) -> Result<Variable, Error> {
        const DOING: &str = "storing a variable";
        storable("name", &new.name)?;
        let tx = self.store.begin(DOING).await?;
        let key = self.data_key(&self.lock(&tx).await?, &new.name)?;
        let row = match self.variable_named(&tx, &new.name).await? {
            None => self.insert_variable(&tx, &key, &new).await?,
            Some(row) => {
                let mut changed = row.into_active_model();
                changed.kind = Set(new.kind.name().to_owned());
                changed.sealed = Set(key.seal(self.id, Place::Variable(&new.name), &new.value));
                changed.default_fields = Set(to_text(&new.default_fields));
                changed.updated = Set(clock::now().millis());
                changed.update(&tx).await.doing(DOING)?
            }
        };
        tx.commit().await.doing(DOING)?;
        view(row)
    }

    /// Lists variables by name.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn variables(&self) -> Result<Vec<Variable>, Error> {
        let rows = variable::Entity::find()
            .filter(variable::Column::Tenant.eq(self.id.uuid()))
            .order_by_asc(variable::Column::Name)
            .all(self.store.read())
            .await
            .doing("listing variables")?;
        rows.into_iter().map(view).collect()
    }

    /// Changes a variable.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Duplicate`] for a taken name, [`Error::Undecryptable`].
    pub async fn update_variable(
        &self,
        id: VariableId,
        patch: VariablePatch,
    ) -> Result<Variable, Error> {
        const DOING: &str = "changing a variable";
        let tx = self.store.begin(DOING).await?;
        let tenant = self.lock(&tx).await.map_err(hide_tenant)?;
        let row = variable::Entity::find_by_id(id.uuid())
            .filter(variable::Column::Tenant.eq(self.id.uuid()))
            .one(&tx)
            .await
            .doing(DOING)?
            .ok_or(Error::NotFound { what: "variable" })?;
        let key = self.data_key(&tenant, &row.name)?;
        let name = patch.name.unwrap_or_else(|| row.name.clone());
        if name != row.name {
            storable("name", &name)?;
            if self.variable_named(&tx, &name).await?.is_some() {
                return Err(Error::Duplicate { field: "name" });
            }
        }
        let mut changed = row.clone().into_active_model();
        changed.updated = Set(clock::now().millis());
        if patch.value.is_some() || name != row.name {
            // The name is sealed in: a renamed variable is sealed again.
            let value = match patch.value {
                Some(value) => value,
                None => self.open(&key, &row)?,
            };
            changed.sealed = Set(key.seal(self.id, Place::Variable(&name), &value));
        }
        changed.name = Set(name);
        if let Some(kind) = patch.kind {
            changed.kind = Set(kind.name().to_owned());
        }
        if let Some(fields) = patch.default_fields {
            changed.default_fields = Set(to_text(&fields));
        }
        let row = changed.update(&tx).await.doing(DOING)?;
        tx.commit().await.doing(DOING)?;
        view(row)
    }

    /// Deletes a variable.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn delete_variable(&self, id: VariableId) -> Result<(), Error> {
        const DOING: &str = "deleting a variable";
        let tx = self.store.begin(DOING).await?;
        let deleted = variable::Entity::delete_many()
            .filter(variable::Column::Id.eq(id.uuid()))
            .filter(variable::Column::Tenant.eq(self.id.uuid()))
            .exec(&tx)
            .await
            .doing(DOING)?;
        if deleted.rows_affected == 0 {
            return Err(Error::NotFound { what: "variable" });
        }
        tx.commit().await.doing(DOING)
    }

    /// The values of the named variables; names that do not exist are left out.
    ///
    /// # Errors
    /// [`Error::Undecryptable`] names the first variable that does not open.
    pub async fn reveal(&self, names: &[String]) -> Result<BTreeMap<String, Secret>, Error> {
        const DOING: &str = "revealing variables";
        let names = names.iter().filter(|name| !name.contains('\0'));
        let rows = variable::Entity::find()
            .filter(variable::Column::Tenant.eq(self.id.uuid()))
            .filter(variable::Column::Name.is_in(names))
            .order_by_asc(variable::Column::Name)
            .all(self.store.read())
            .await
            .doing(DOING)?;
        let Some(first) = rows.first() else {
            return Ok(BTreeMap::new());
        };
        let key = self.read_data_key(&first.name).await?;
        rows.iter().map(|row| Ok((row.name.clone(), self.open(&key, row)?))).collect()
    }

    async fn variable_named<C: ConnectionTrait>(
        &self,
        connection: &C,
        name: &str,
    ) -> Result<Option<variable::Model>, Error> {
        variable::Entity::find()
            .filter(variable::Column::Tenant.eq(self.id.uuid()))
            .filter(variable::Column::Name.eq(name))
            .one(connection)
            .await
            .doing("looking for a variable")
    }

    async fn insert_variable(
        &self,
        tx: &DatabaseTransaction,
        key: &DataKey,
        new: &NewVariable,
    ) -> Result<variable::Model, Error> {
        let now = clock::now().millis();
        let row = variable::Model {
            id: Uuid::now_v7(),
            tenant: self.id.uuid(),
            name: new.name.clone(),
            kind: new.kind.name().to_owned(),
            sealed: key.seal(self.id, Place::Variable(&new.name), &new.value),
            default_fields: to_text(&new.default_fields),
            created: now,
            updated: now,
        };
        variable::Entity::insert(row.clone().into_active_model())
            .exec_without_returning(tx)
            .await
            .unique("name", "creating a variable")?;
        Ok(row)
    }

    /// The tenant's data key, outside of a transaction.
    pub(super) async fn read_data_key(&self, name: &str) -> Result<DataKey, Error> {
        let tenant = tenant::Entity::find_by_id(self.id.uuid())
            .one(self.store.read())
            .await
            .doing("reading a data key")?
            .ok_or(Error::NotFound { what: "tenant" })?;
        self.data_key(&tenant, name)
    }

    /// The tenant's data key; the error names the variable it was wanted for.
    fn data_key(&self, tenant: &tenant::Model, name: &str) -> Result<DataKey, Error> {
        self.store
            .key()
            .unwrap_key(self.id, &tenant.data_key)
            .map_err(|_| Error::Undecryptable { name: name.to_owned() })
    }

    fn open(&self, key: &DataKey, row: &variable::Model) -> Result<Secret, Error> {
        key.open(self.id, Place::Variable(&row.name), &row.sealed)
            .map_err(|_| Error::Undecryptable { name: row.name.clone() })
    }
}

/// For a tenant that does not exist, a variable does not exist either.
fn hide_tenant(error: Error) -> Error {
    match error {
        Error::NotFound { .. } => Error::NotFound { what: "variable" },
        other => other,
    }
}

fn view(row: variable::Model) -> Result<Variable, Error> {
    Ok(Variable {
        id: VariableId(row.id),
        name: row.name,
        kind: VariableKind::named(&row.kind)
            .ok_or(Error::Corrupt { what: "kind of a variable" })?,
        default_fields: from_text("fields of a variable", &row.default_fields)?,
        created: Timestamp(row.created),
        updated: Timestamp(row.updated),
    })
}
