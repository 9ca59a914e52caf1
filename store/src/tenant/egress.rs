//! Where a tenant's cells may connect to.

use domain::id::FlowId;
use domain::time::Timestamp;
use proto::message::EgressRule;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::LockType;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, DatabaseTransaction, EntityTrait, ExprTrait,
    IntoActiveModel, QueryFilter, QueryOrder,
};
use uuid::Uuid;

use super::Tenant;
use crate::clock;
use crate::entity::egress_rule;
use crate::error::{Doing, Error};
use crate::json::{storable, storable_optional};

/// A rule to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEgressRule {
    /// The flow it is for; all flows of the tenant when there is none.
    pub flow: Option<FlowId>,
    /// The component it is for, by id or display name: it applies to cells with such a member;
    /// to all cells when there is none.
    pub node: Option<String>,
    /// The destination.
    pub rule: EgressRule,
}

/// A stored rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressEntry {
    /// Its id.
    pub id: Uuid,
    /// The flow it is for; all flows of the tenant when there is none.
    pub flow: Option<FlowId>,
    /// The component it is for, by id or display name: it applies to cells with such a member;
    /// to all cells when there is none.
    pub node: Option<String>,
    /// The destination.
    pub rule: EgressRule,
    /// When it was stored.
    pub created: Timestamp,
}

impl Tenant {
    /// Stores a rule. Whether the caller may allow private addresses is the caller's to check.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a foreign flow, [`Error::Duplicate`] when the destination has a rule.
    pub async fn create_egress_rule(&self, new: NewEgressRule) -> Result<EgressEntry, Error> {
        const DOING: &str = "creating an egress rule";
        storable("host", &new.rule.host)?;
        storable_optional("node", new.node.as_deref())?;
        let tx = self.store.begin(DOING).await?;
        self.lock(&tx).await?;
        if let Some(flow) = new.flow {
            self.flow_row(&tx, flow, Some(LockType::KeyShare)).await?;
        }
        let row = egress_rule::Model {
            id: Uuid::now_v7(),
            tenant: self.id.uuid(),
            flow: new.flow.map(FlowId::uuid),
            host: new.rule.host.to_lowercase(),
            port: i64::from(new.rule.port),
            private: new.rule.private,
            created: clock::now().millis(),
            node: new.node,
            tcp: new.rule.tcp,
        };
        self.check_free(&tx, &row).await?;
        egress_rule::Entity::insert(row.clone().into_active_model())
            .exec_without_returning(&tx)
            .await
            .doing(DOING)?;
        tx.commit().await.doing(DOING)?;
        view(row)
    }

    /// Lists all rules of the tenant, oldest first.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn egress_rules(&self) -> Result<Vec<EgressEntry>, Error> {
        let rows = egress_rule::Entity::find()
            .filter(egress_rule::Column::Tenant.eq(self.id.uuid()))
            .order_by_asc(egress_rule::Column::Id)
            .all(self.store.read())
            .await
            .doing("listing egress rules")?;
        rows.into_iter().map(view).collect()
    }

    /// What cells of this flow may connect to: the tenant's rules and the flow's. Those for a node
    /// are for the caller to choose from.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn egress_for(&self, flow: FlowId) -> Result<Vec<EgressEntry>, Error> {
        let for_flow =
            egress_rule::Column::Flow.is_null().or(egress_rule::Column::Flow.eq(flow.uuid()));
        let rows = egress_rule::Entity::find()
            .filter(egress_rule::Column::Tenant.eq(self.id.uuid()))
            .filter(for_flow)
            .order_by_asc(egress_rule::Column::Id)
            .all(self.store.read())
            .await
            .doing("reading egress rules")?;
        rows.into_iter().map(view).collect()
    }

    /// Replaces the destination of a rule.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Duplicate`] when the destination has another rule.
    pub async fn update_egress_rule(
        &self,
        id: Uuid,
        rule: EgressRule,
    ) -> Result<EgressEntry, Error> {
        const DOING: &str = "changing an egress rule";
        storable("host", &rule.host)?;
        let not_found = || Error::NotFound { what: "egress rule" };
        let tx = self.store.begin(DOING).await?;
        self.lock(&tx).await.map_err(|error| match error {
            Error::NotFound { .. } => not_found(),
            other => other,
        })?;
        let mut row = egress_rule::Entity::find_by_id(id)
            .filter(egress_rule::Column::Tenant.eq(self.id.uuid()))
            .one(&tx)
            .await
            .doing(DOING)?
            .ok_or_else(not_found)?;
        let mut changed = row.clone().into_active_model();
        row.host = rule.host.to_lowercase();
        row.port = i64::from(rule.port);
        self.check_free(&tx, &row).await?;
        changed.host = Set(row.host);
        changed.port = Set(row.port);
        changed.private = Set(rule.private);
        changed.tcp = Set(rule.tcp);
        let row = changed.update(&tx).await.doing(DOING)?;
        tx.commit().await.doing(DOING)?;
        view(row)
    }

    /// Deletes a rule.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn delete_egress_rule(&self, id: Uuid) -> Result<(), Error> {
        const DOING: &str = "deleting an egress rule";
        let tx = self.store.begin(DOING).await?;
        let deleted = egress_rule::Entity::delete_many()
            .filter(egress_rule::Column::Id.eq(id))
            .filter(egress_rule::Column::Tenant.eq(self.id.uuid()))
            .exec(&tx)
            .await
            .doing(DOING)?;
        if deleted.rows_affected == 0 {
            return Err(Error::NotFound { what: "egress rule" });
        }
        tx.commit().await.doing(DOING)
    }

    /// One rule per destination, flow and node. A unique index would not do: to it, two missing flows differ. The
    /// caller holds the tenant's lock.
    async fn check_free(
        &self,
        tx: &DatabaseTransaction,
        row: &egress_rule::Model,
    ) -> Result<(), Error> {
        use egress_rule::Column;
        let flow = match row.flow {
            Some(flow) => Column::Flow.eq(flow),
            None => Column::Flow.is_null(),
        };
        let node = match &row.node {
            Some(node) => Column::Node.eq(node),
            None => Column::Node.is_null(),
        };
        let taken = egress_rule::Entity::find()
            .filter(
                Condition::all()
                    .add(Column::Tenant.eq(self.id.uuid()))
                    .add(flow)
                    .add(node)
                    .add(Column::Host.eq(&row.host))
                    .add(Column::Port.eq(row.port))
                    .add(Column::Id.ne(row.id)),
            )
            .one(tx)
            .await
            .doing("looking for an egress rule")?;
        match taken {
            Some(_) => Err(Error::Duplicate { field: "destination" }),
            None => Ok(()),
        }
    }
}

fn view(row: egress_rule::Model) -> Result<EgressEntry, Error> {
    let port =
        u16::try_from(row.port).map_err(|_| Error::Corrupt { what: "port of an egress rule" })?;
    Ok(EgressEntry {
        id: row.id,
        flow: row.flow.map(FlowId),
        node: row.node,
        rule: EgressRule { host: row.host, port, private: row.private, tcp: row.tcp },
        created: Timestamp(row.created),
    })
}
