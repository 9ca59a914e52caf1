//! What the container engine still has of the cluster.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result};
use bollard::Docker;
use bollard::query_parameters::ListContainersOptions;
use tokio::time::Instant;

const LABEL: &str = "flowcell.cluster";
const GONE_WITHIN: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(200);

/// Connects to the engine at `unix://…`.
pub(crate) fn connect(docker_host: &str) -> Result<Docker> {
    let docker = Docker::connect_with_unix(docker_host, 30, bollard::API_DEFAULT_VERSION);
    docker.with_context(|| format!("connecting to the engine at {docker_host}"))
}

/// The containers of a cluster that do not go by themselves.
pub(crate) async fn left(docker: &Docker, cluster: &str) -> Result<Vec<String>> {
    let until = Instant::now() + GONE_WITHIN;
    loop {
        let left = containers(docker, cluster).await?;
        if left.is_empty() || Instant::now() > until {
            return Ok(left);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// All containers of a cluster, stopped ones included.
async fn containers(docker: &Docker, cluster: &str) -> Result<Vec<String>> {
    let filters = HashMap::from([("label".to_owned(), vec![format!("{LABEL}={cluster}")])]);
    let options = ListContainersOptions { all: true, filters: Some(filters), ..Default::default() };
    let found = docker.list_containers(Some(options)).await.context("listing containers")?;
    let name = |names: Option<Vec<String>>| names.unwrap_or_default().join(" ");
    Ok(found.into_iter().map(|container| name(container.names)).collect())
}
