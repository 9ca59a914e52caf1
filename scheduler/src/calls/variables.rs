//! Variables that a component asks for by name.

use domain::plan::{Needs, needs, provider};
use proto::run::RunRequest;
use serde_json::{Value, json};
use store::{RunRecord, Tenant};

use super::{Answer, error, text};
use crate::assignment::credentials;
use crate::engine::Engine;
use crate::error::Error;
use crate::flow;

/// A variable whose name the cell's export did not show: only names that the cell's fields, chosen
/// models and knowledge bases need are answered.
pub(super) async fn get(
    engine: &Engine,
    tenant: &Tenant,
    record: &RunRecord,
    task: u32,
    args: &Value,
) -> Result<Answer, Error> {
    let Some(name) = text(args, "name").map(str::to_owned) else {
        return Ok(Err(error("invalid", "the call names no variable")));
    };
    let version = engine.catalog.version(record.flow_version).await?;
    let request: RunRequest = serde_json::from_value(record.request.clone())?;
    let listed = tenant.variables().await?;
    let Ok(graph) = flow::of_run(&version.graph, &request, &listed) else {
        return Ok(Err(error("refused", "the run's tweaks cannot be applied")));
    };
    let needs = version.plan(record)?.cell(task).map(|cell| needs(&graph, cell));
    let needs = needs.unwrap_or_default();
    let mut providers = needs.providers.iter().flat_map(|provider| &provider.variables);
    let is_named = needs.variables.contains(&name) || providers.any(|variable| *variable == name);
    if !is_named && !embeds(tenant, record, &needs, &name).await? {
        let message = format!("variable {name} is not one that this component's fields name");
        return Ok(Err(error("refused", message)));
    }
    match tenant.reveal(std::slice::from_ref(&name)).await {
        Ok(secrets) => Ok(match secrets.get(&name) {
            Some(secret) => {
                let is_secret = credentials(&listed).contains(&name);
                Ok(json!({ "value": secret.expose(), "secret": is_secret }))
            }
            None => Err(error("not_found", format!("{name} variable not found."))),
        }),
        Err(failed @ store::Error::Undecryptable { .. }) => {
            Ok(Err(error("refused", failed.to_string())))
        }
        Err(failed) => Err(failed.into()),
    }
}

/// Whether a knowledge base that the cell names is embedded with a model that needs the variable.
async fn embeds(
    tenant: &Tenant,
    record: &RunRecord,
    needs: &Needs,
    name: &String,
) -> Result<bool, Error> {
    let Some(user) = record.user else { return Ok(false) };
    for base in &needs.knowledge {
        let base = match tenant.knowledge_base(user, base).await {
            Ok(base) => base,
            Err(store::Error::NotFound { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        let chosen = base.configuration.pointer("/model_selection/provider");
        let chosen = chosen.and_then(Value::as_str).unwrap_or_default();
        if provider(chosen).variables.contains(name) {
            return Ok(true);
        }
    }
    Ok(false)
}
