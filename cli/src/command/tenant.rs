//! `flowcell tenant add|list`: an operator's commands, on the database itself.

use anyhow::Result;
use domain::time::Timestamp;
use serde_json::json;
use store::{FirstUser, Store};

use super::{serve, up};
use crate::args::{InstallationArguments, TenantCommand};
use crate::exit::Exit;
use crate::output;
use crate::settings::Settings;

pub(crate) async fn execute(command: TenantCommand) -> Result<Exit> {
    match command {
        TenantCommand::Add { name, user, installation } => {
            let store = open(&installation).await?;
            let user = user.unwrap_or_else(|| name.clone());
            show(&store.auth().add_tenant(&name, &user).await?)?;
        }
        TenantCommand::List { json, installation } => {
            list(&open(&installation).await?, json).await?;
        }
    }
    Ok(Exit::Done)
}

async fn open(installation: &InstallationArguments) -> Result<Store> {
    match installation.config.as_deref() {
        Some(file) => serve::open(&Settings::load(Some(file))?).await,
        None => up::open_existing(&installation.data.path()).await,
    }
}

/// A first user's secrets, a line each.
pub(super) fn secrets(first: &FirstUser) -> String {
    format!(
        "user     {}\npassword {}\nAPI key  {}",
        first.username,
        first.password.expose(),
        first.api_key.expose()
    )
}

/// The one time that these are shown.
pub(super) fn show(first: &FirstUser) -> Result<()> {
    if let Err(error) = output::line(secrets(first)) {
        anyhow::bail!(
            "the user {} was made, and its password was not shown: {error}",
            first.username
        );
    }
    output::note("a user was made; keep the lines above, they are not shown again");
    Ok(())
}

async fn list(store: &Store, json: bool) -> Result<()> {
    for tenant in store.tenants().await? {
        let (id, Timestamp(created)) = (tenant.id.to_string(), tenant.created);
        output::line(if json {
            json!({"id": id, "name": tenant.name, "created_ms": created}).to_string()
        } else {
            format!("{id}  {}", tenant.name)
        })?;
    }
    Ok(())
}
