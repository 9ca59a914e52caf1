//! `flowcell docker-gate`.

use std::time::Duration;

use anyhow::Result;
use gate::Gate;
use service::drain::Drain;
use service::telemetry;

use crate::args::GateArguments;
use crate::exit::Exit;

/// Connections that are cut end at once.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) async fn execute(arguments: GateArguments) -> Result<Exit> {
    let _telemetry = telemetry::init(&telemetry::Settings::default(), "flowcell-docker-gate")?;
    let config = arguments.config();
    let (listen, cluster) = (config.listen.clone(), config.cluster.clone());
    let gate = Gate::open(config)?;
    let drain = Drain::new();
    drain.spawn("gate", gate.serve(drain.token()));
    tracing::info!(listen = %listen.display(), cluster, "the gate to Docker is open for workers");
    drain.wait_for_signal().await?;
    Ok(if drain.finish(PATIENCE).await { Exit::Done } else { Exit::Failed })
}
