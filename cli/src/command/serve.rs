//! `flowcell api|scheduler|worker|migrate`: the parts of a cluster, one process each.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bus::nats::Role;
use futures::FutureExt;
use futures::future::BoxFuture;
use prometheus_client::registry::Registry;
use service::admin::{Readiness, Subject};
use service::drain::Drain;
use store::Store;
use tokio::net::TcpListener;

use super::{reap, tenant};
use crate::args::ServiceArguments;
use crate::exit::Exit;
use crate::output;
use crate::settings::Settings;

/// How long a process gets to end after the first signal.
const PATIENCE: Duration = Duration::from_secs(30);

/// The bus user that workers have, and whose inbox they use.
const WORKER_USER: &str = "worker";

pub(crate) async fn api(arguments: ServiceArguments) -> Result<Exit> {
    let mut settings = Settings::load(arguments.config.as_deref())?;
    let telemetry = service::telemetry::init(&settings.telemetry, "flowcell-api")?;
    settings.trace(&telemetry.tracer());
    let listener = TcpListener::bind(settings.api.listen)
        .await
        .with_context(|| format!("cannot listen on {}", settings.api.listen))?;
    let store = open(&settings).await?;
    let bus = settings.bus.open(Role::Owner).await?;
    let drain = Drain::new();
    let health = Health { store: Some(store.clone()), bus: bus.clone(), worker: None };
    let api = api::Api::new(store, bus, settings.api);
    let mut figures = Registry::default();
    api.expose(&mut figures);
    admin(settings.admin, health, figures, &drain);
    tracing::info!(address = %listener.local_addr()?, "the API listens");
    drain.spawn("api", answer(api, listener, drain.clone()));
    end(&drain).await
}

/// Runs an API until the process drains; one that ends by itself fails the process.
pub(crate) async fn answer(api: api::Api, listener: TcpListener, drain: Drain) {
    if let Err(error) = Box::pin(api.serve(listener, drain.token())).await {
        tracing::error!(error = %error, "the API ended");
        drain.fail();
    }
}

pub(crate) async fn scheduler(arguments: ServiceArguments) -> Result<Exit> {
    let mut settings = Settings::load(arguments.config.as_deref())?;
    let telemetry = service::telemetry::init(&settings.telemetry, "flowcell-scheduler")?;
    settings.trace(&telemetry.tracer());
    let store = open(&settings).await?;
    let bus = settings.bus.open(Role::Owner).await?;
    let drain = Drain::new();
    let health = Health { store: Some(store.clone()), bus: bus.clone(), worker: None };
    let scheduler = scheduler::Scheduler::new(store, bus.clone(), settings.scheduler);
    let mut figures = Registry::default();
    scheduler.expose(&mut figures);
    admin(settings.admin, health, figures, &drain);
    scheduler.start(&drain).await?;
    tracing::info!("the scheduler works");
    let exit = end(&drain).await;
    // What was answered last leaves, too.
    bus.close().await;
    exit
}

pub(crate) async fn worker(arguments: ServiceArguments) -> Result<Exit> {
    let mut settings = Settings::load(arguments.config.as_deref())?;
    let telemetry = service::telemetry::init(&settings.telemetry, "flowcell-worker")?;
    settings.trace(&telemetry.tracer());
    let user = settings.bus.user.clone().unwrap_or_else(|| WORKER_USER.to_owned());
    let bus = settings.bus.open(Role::Worker { user }).await?;
    let drain = Drain::new();
    let reaper = reap::program(arguments.config.as_deref());
    let mut config = settings.worker.clone();
    config.egress.deny_endpoints.extend(settings.own_endpoints());
    let worker = worker::Worker::open(config, bus.clone(), reaper).await?;
    let handle = worker.handle();
    let health = Health { store: None, bus, worker: Some(handle.clone()) };
    let mut figures = Registry::default();
    handle.expose(&mut figures);
    admin(settings.admin, health, figures, &drain);
    drain.spawn("worker", work(worker, drain.clone()));
    tracing::info!("the worker works");
    drain.wait_for_signal().await?;
    handle.drain(PATIENCE).await;
    end(&drain).await
}

/// Runs a worker until it is drained; one that ends by itself fails the process.
pub(crate) async fn work(worker: worker::Worker, drain: Drain) {
    if let Err(error) = Box::pin(worker.run()).await {
        tracing::error!(error = %error, "the worker ended");
        drain.fail();
    }
}

pub(crate) async fn migrate(arguments: ServiceArguments) -> Result<Exit> {
    let settings = Settings::load(arguments.config.as_deref())?;
    let store = settings.database.open().await?;
    store.migrate().await.context("the database could not be migrated")?;
    output::note("the database schema is current");
    if let Some(first) = store.auth().bootstrap("admin").await? {
        tenant::show(&first)?;
    }
    Ok(Exit::Done)
}

pub(super) async fn open(settings: &Settings) -> Result<Store> {
    let store = settings.database.open().await?.with_objects(settings.payloads.open()?);
    if !store.schema_is_current().await? {
        anyhow::bail!("the database schema is not current: run `flowcell migrate` first");
    }
    Ok(store)
}

async fn end(drain: &Drain) -> Result<Exit> {
    drain.wait_for_signal().await?;
    Ok(if drain.finish(PATIENCE).await { Exit::Done } else { Exit::Failed })
}

/// Serves the operator's endpoint, where one is configured.
pub(crate) fn admin(address: Option<SocketAddr>, health: Health, figures: Registry, drain: &Drain) {
    let Some(address) = address else { return };
    let (health, figures, stop) = (Arc::new(health), Arc::new(figures), drain.token());
    drain.spawn("operator's endpoint", async move {
        if let Err(error) = service::admin::serve(address, health, figures, stop).await {
            tracing::error!(error = %error, %address, "the operator's endpoint ended");
        }
    });
}

/// What the operator's endpoint of a process looks at.
pub(crate) struct Health {
    pub(crate) store: Option<Store>,
    pub(crate) bus: bus::Bus,
    pub(crate) worker: Option<worker::Handle>,
}

impl Subject for Health {
    fn readiness(&self) -> BoxFuture<'_, Vec<Readiness>> {
        async {
            let mut parts = Vec::new();
            if let Some(store) = &self.store {
                let problem = store.check().await.err().map(|error| error.to_string());
                parts.push(Readiness { name: "database", problem });
            }
            let problem = self.bus.healthy().await.err().map(|error| error.to_string());
            parts.push(Readiness { name: "bus", problem });
            if let Some(worker) = &self.worker {
                parts.push(Readiness { name: "sandbox", problem: trouble(worker) });
            }
            parts
        }
        .boxed()
    }
}

/// Why a worker cannot get work, if so.
fn trouble(worker: &worker::Handle) -> Option<String> {
    let health = worker.health();
    let failed = health.pool.iter().find_map(|shelf| shelf.failure.clone());
    (!health.taking_work).then(|| failed.unwrap_or_else(|| "it is draining".to_owned()))
}
