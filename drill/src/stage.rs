//! A cluster on this machine without faults and without workers, for whoever measures one: real
//! Postgres and NATS that write to disk, APIs and schedulers as processes, all on loopback.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::Instant;

use crate::build::Builds;
use crate::cluster::{Setup, init, migrate, shown_key};
use crate::command::{Program, nats_program};
use crate::fault::Service;
use crate::home::Home;
use crate::memory::{family_bytes, resident_bytes};
use crate::part::Part;
use crate::postgres;
use crate::servers::{Ports, Servers, free_port};

const READY_WITHIN: Duration = Duration::from_secs(60);
const STOP_WITHIN: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);

/// The worker whose settings are used by all that pretend to be one.
const WORKER: &str = "worker-1";

/// What to start.
#[derive(Clone, Debug)]
pub struct Cast {
    /// The program.
    pub flowcell: PathBuf,
    /// A `nats-server`; where none is named, the machine's.
    pub nats_server: Option<PathBuf>,
    /// How many APIs.
    pub apis: usize,
    /// How many schedulers.
    pub schedulers: usize,
    /// Settings of Postgres, `name=value` each.
    pub postgres_settings: Vec<String>,
    /// Variables of the environment of APIs and schedulers.
    pub environment: Vec<(String, String)>,
}

/// A running cluster; everything ends with the value.
#[derive(Debug)]
pub struct Stage {
    servers: Servers,
    parts: Vec<Arc<Part>>,
    apis: Vec<SocketAddr>,
    api_key: String,
    flowcell: PathBuf,
    environment: Vec<(String, String)>,
    settings: PathBuf,
    nats_port: u16,
    /// Last: the folder goes when nothing runs in it any more.
    home: Home,
}

/// How a worker reaches NATS.
#[derive(Clone)]
pub struct WorkerAccess {
    /// The server.
    pub url: String,
    /// The user.
    pub user: String,
    /// The user's password.
    pub password: String,
}

impl std::fmt::Debug for WorkerAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerAccess").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Stage {
    /// Starts everything, and waits until it is ready.
    ///
    /// # Errors
    /// When a part is missing on this machine or does not start.
    pub async fn start(cast: &Cast) -> Result<Self> {
        let home = Home::new(None)?;
        let nats = nats_program(cast.nats_server.as_deref())?;
        let ports = Ports { postgres: free_port()?, nats: free_port()? };
        let setup = Setup {
            builds: Builds::new(&cast.flowcell, None)?,
            nats: nats.clone(),
            home: home.path().to_owned(),
            image: String::new(),
            docker_host: String::new(),
            with_disks: false,
            faketime: None,
            with_engine: false,
        };
        let settings = home.path().join("settings");
        init(&setup, &settings, ports)?;
        fs::create_dir(home.path().join("nats"))?;
        let postgres = &cast.postgres_settings;
        let servers = Servers::start(home.path(), &settings, ports, &nats, None, postgres).await?;
        let api_key = migrate(&setup, &settings)?;
        let mut stage = Self {
            servers,
            parts: Vec::new(),
            apis: Vec::new(),
            api_key,
            flowcell: cast.flowcell.clone(),
            environment: cast.environment.clone(),
            settings,
            nats_port: ports.nats,
            home,
        };
        let mut ready = Vec::new();
        for (service, count) in [(Service::Scheduler, cast.schedulers), (Service::Api, cast.apis)] {
            for instance in 1..=count {
                ready.push(stage.add(service, instance)?);
            }
        }
        for address in ready {
            wait_ready(address).await?;
        }
        Ok(stage)
    }

    /// Where the APIs listen.
    #[must_use]
    pub fn apis(&self) -> &[SocketAddr] {
        &self.apis
    }

    /// The administrator's API key.
    #[must_use]
    pub fn api_key(&self) -> &str {
        &self.api_key
    }

    /// How a worker reaches NATS.
    ///
    /// # Errors
    /// When its settings cannot be read.
    pub fn worker_access(&self) -> Result<WorkerAccess> {
        let password = fs::read_to_string(self.settings.join(WORKER).join("nats-password"))?;
        Ok(WorkerAccess {
            url: format!("nats://127.0.0.1:{}", self.nats_port),
            user: WORKER.to_owned(),
            password: password.trim().to_owned(),
        })
    }

    /// Makes a tenant, as an operator does; returns an API key of its own.
    ///
    /// # Errors
    /// When `flowcell tenant add` fails.
    pub fn add_tenant(&self, name: &str) -> Result<String> {
        let config = self.settings.join("control/flowcell.toml").display().to_string();
        let flowcell = self.flowcell.display().to_string();
        let words = [flowcell.as_str(), "tenant", "add", name, "--config", &config];
        let printed = Program::new(words).output().context("adding a tenant")?;
        shown_key(&printed).context("`flowcell tenant add` printed no API key")
    }

    /// Resident memory of each process, in bytes; of Postgres, that of its processes together.
    #[must_use]
    pub fn memory(&self) -> BTreeMap<String, u64> {
        let parts = self.parts.iter().chain([self.servers.nats()]);
        let resident = |part: &Arc<Part>| Some((part.name.clone(), resident_bytes(part.id()?)?));
        let postgres = self.servers.postgres();
        let family = postgres.id().and_then(family_bytes).map(|sum| (postgres.name.clone(), sum));
        parts.filter_map(resident).chain(family).collect()
    }

    /// Ends everything in order.
    ///
    /// # Errors
    /// When a process cannot be ended.
    pub async fn stop(self) -> Result<()> {
        for part in self.parts.iter().rev() {
            part.stop(STOP_WITHIN).await?;
        }
        self.servers.stop().await
    }

    /// Starts one process; returns where it says whether it is ready.
    fn add(&mut self, service: Service, instance: usize) -> Result<SocketAddr> {
        let name = format!("{service}-{instance}");
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let config = self.settings.join("control/flowcell.toml").display().to_string();
        let words =
            [self.flowcell.display().to_string(), service.to_string(), "--config".into(), config];
        let listen = match service {
            Service::Api => "FLOWCELL_CONFIG__API__LISTEN",
            _ => "FLOWCELL_CONFIG__ADMIN",
        };
        let mut program = Program::new(words).env(listen, address.to_string());
        program.environment.extend(self.environment.iter().cloned());
        let log = self.home.logs().join(format!("{name}.log"));
        self.parts.push(Part::start(name, program, log)?);
        if service == Service::Api {
            self.apis.push(address);
        }
        Ok(address)
    }

    /// Where the database is.
    #[must_use]
    pub fn database_url(&self) -> String {
        self.servers.database.url(postgres::NAME)
    }
}

async fn wait_ready(address: SocketAddr) -> Result<()> {
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
    let until = Instant::now() + READY_WITHIN;
    loop {
        let answer = http.get(format!("http://{address}/readyz")).send().await;
        if answer.is_ok_and(|answer| answer.status().is_success()) {
            return Ok(());
        }
        if Instant::now() > until {
            bail!("nothing is ready at {address}");
        }
        tokio::time::sleep(LOOK).await;
    }
}
