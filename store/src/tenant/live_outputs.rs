//! Outputs of components that proved to be live although their types travel.

use std::collections::BTreeSet;

use domain::flow::Graph;
use domain::id::{FlowId, VersionId};
use domain::plan::{OutputRef, code_digests, observed};
use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};

use super::Tenant;
use crate::clock;
use crate::entity::{flow, live_output};
use crate::error::{Doing, Error};
use crate::json::storable;

/// An output of all components with the same code.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LiveOutput {
    /// The SHA-256 of the code, in hexadecimal.
    pub code: String,
    /// The output's name.
    pub output: String,
}

/// Hashes per statement, far below SQLite's 32,766 parameters.
const CODES_MAX: usize = 1_000;

impl Tenant {
    /// The outputs of a graph that the tenant's runs have shown to be live.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn observed(&self, graph: &Graph) -> Result<BTreeSet<OutputRef>, Error> {
        let known = self.live_outputs(&code_digests(graph)).await?;
        Ok(observed(graph, known.iter().map(|known| (&*known.code, &*known.output))))
    }

    /// What is known of components with these hashes.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn live_outputs(&self, codes: &[String]) -> Result<Vec<LiveOutput>, Error> {
        let mut found = Vec::new();
        for codes in codes.chunks(CODES_MAX) {
            let rows: Vec<(String, String)> = live_output::Entity::find()
                .select_only()
                .column(live_output::Column::Code)
                .column(live_output::Column::Output)
                .filter(live_output::Column::Tenant.eq(self.id.uuid()))
                .filter(live_output::Column::Code.is_in(codes))
                .into_tuple()
                .all(self.store.read())
                .await
                .doing("reading live outputs")?;
            found.extend(rows.into_iter().map(|(code, output)| LiveOutput { code, output }));
        }
        Ok(found)
    }

    /// Remembers that an output gives live values, of this type for one, and has the flow planned
    /// anew before its next run if it still runs this version.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a foreign flow.
    pub async fn remember_live_output(
        &self,
        (flow, version): (FlowId, VersionId),
        output: LiveOutput,
        value_type: String,
    ) -> Result<(), Error> {
        const DOING: &str = "remembering a live output";
        storable("output", &output.output)?;
        storable("type", &value_type)?;
        let tx = self.store.begin(DOING).await?;
        self.flow_row(&tx, flow, None).await?;
        let row = live_output::ActiveModel {
            tenant: Set(self.id.uuid()),
            code: Set(output.code),
            output: Set(output.output),
            value_type: Set(value_type),
            created: Set(clock::now().millis()),
        };
        use live_output::Column;
        live_output::Entity::insert(row)
            .on_conflict_do_nothing_on([Column::Tenant, Column::Code, Column::Output])
            .exec_without_returning(&tx)
            .await
            .doing(DOING)?;
        flow::Entity::update_many()
            .col_expr(flow::Column::CurrentVersion, Option::<uuid::Uuid>::None.into())
            .filter(flow::Column::Id.eq(flow.uuid()))
            .filter(flow::Column::CurrentVersion.eq(version.uuid()))
            .exec(&tx)
            .await
            .doing(DOING)?;
        tx.commit().await.doing(DOING)
    }
}
