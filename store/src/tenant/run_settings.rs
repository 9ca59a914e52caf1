//! Everything that is set for a run which is about to be accepted, in one query.

use domain::admission::{FlowSettings, TenantSettings};
use domain::id::FlowId;
use domain::limits::{Overrides, TenantLimits};
use sea_orm::{ColumnTrait, EntityTrait, JoinType, QueryFilter, QuerySelect};

use super::Tenant;
use super::{admission, limits};
use crate::entity::{flow, flow_limits, tenant_limits};
use crate::error::{Doing, Error};

/// What is set for a flow and its tenant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunSettings {
    /// Limits of the cells of the tenant.
    pub tenant_limits: TenantLimits,
    /// Limits of the cells of the flow.
    pub flow_limits: Overrides,
    /// How the tenant's runs take their turn.
    pub tenant: TenantSettings,
    /// How the flow's runs take theirs, and on which terms its nodes run.
    pub flow: FlowSettings,
}

/// The columns of [`RunSettings`], each absent where there is no row.
type Columns = (Option<String>, Option<String>, Option<String>, Option<String>, Option<String>);

impl Tenant {
    /// What is set for a flow that is about to run, and for its tenant. Nothing is set for a flow
    /// that does not exist.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn run_settings(&self, flow: FlowId) -> Result<RunSettings, Error> {
        let of_tenant = flow::Entity::belongs_to(tenant_limits::Entity)
            .from(flow::Column::Tenant)
            .to(tenant_limits::Column::Tenant);
        let of_flow = flow::Entity::belongs_to(flow_limits::Entity)
            .from((flow::Column::Tenant, flow::Column::Id))
            .to((flow_limits::Column::Tenant, flow_limits::Column::Flow));
        let found: Option<Columns> = flow::Entity::find_by_id(flow.uuid())
            .select_only()
            .column(tenant_limits::Column::Limits)
            .column(tenant_limits::Column::Maximum)
            .column(tenant_limits::Column::Admission)
            .column(flow_limits::Column::Limits)
            .column(flow_limits::Column::Admission)
            .join(JoinType::LeftJoin, of_tenant.into())
            .join(JoinType::LeftJoin, of_flow.into())
            .filter(flow::Column::Tenant.eq(self.id.uuid()))
            .into_tuple()
            .one(self.store.read())
            .await
            .doing("reading the settings of a run")?;
        let Some((cells, maximum, tenant, of_flow, flow)) = found else {
            return Ok(RunSettings::default());
        };
        Ok(RunSettings {
            tenant_limits: TenantLimits {
                limits: limits::known_optional(cells.as_deref())?,
                maximum: limits::known_optional(maximum.as_deref())?,
            },
            flow_limits: limits::known_optional(of_flow.as_deref())?,
            tenant: admission::read(Some(tenant))?,
            flow: admission::read(Some(flow))?,
        })
    }
}
