//! The cluster under test: two of each of Flowcell's processes, each with links of its own to
//! Postgres and NATS.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bollard::Docker;
use tokio::time::Instant;

use crate::build::{Builds, Which};
use crate::child::Ended;
use crate::clock::{self, Clocks, Shift};
use crate::command::Program;
use crate::disk::Disks;
use crate::engine::OwnEngine;
use crate::fault::{Server, Service, Trouble};
use crate::link::Link;
use crate::part::{Exit, Part};
use crate::postgres;
use crate::servers::{Ports, Servers, free_port, nats_store};

/// Cells that a worker runs at once.
const SLOTS: u32 = 6;

/// A worker that was killed imports anew. A starved machine needs minutes for it, and an import that
/// is given up begins again from nothing.
const IMPORT_MS_MAX: &str = "900000";

/// Faults are much more frequent than anywhere else; what is tested is that they end.
const ATTEMPTS_MAX: u32 = 50;

/// Before the first fault nothing keeps a process from starting at once.
const STARTS_MAX: usize = 3;
const READY_WITHIN: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(100);

/// A worker lets its cells finish for half a minute, and then needs some time for itself.
pub(crate) const DRAIN_WITHIN: Duration = Duration::from_secs(90);

/// The programs and the place of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) builds: Builds,
    pub(crate) nats: PathBuf,
    pub(crate) home: PathBuf,
    pub(crate) image: String,
    pub(crate) docker_host: String,
    pub(crate) with_disks: bool,
    /// libfaketime, where clocks are to be set.
    pub(crate) faketime: Option<PathBuf>,
    pub(crate) with_engine: bool,
}

#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) servers: Servers,
    pub(crate) builds: Builds,
    clocks: Option<Clocks>,
    /// The engine of the second worker, where it is not the machine's. It ends after its worker.
    engine: Option<OwnEngine>,
    members: BTreeMap<(Service, u8), Member>,
    /// The label of its containers.
    pub(crate) label: String,
    pub(crate) api_key: String,
}

/// One of Flowcell's processes.
#[derive(Debug)]
struct Member {
    part: Arc<Part>,
    links: BTreeMap<Server, Link>,
    /// Where it says whether it is ready.
    health: SocketAddr,
}

impl Cluster {
    /// Starts everything, and waits until all of it is ready.
    pub(crate) async fn start(setup: &Setup, machine: &Docker) -> Result<Self> {
        let home = &setup.home;
        let ports = Ports { postgres: free_port()?, nats: free_port()? };
        let settings = home.join("settings");
        init(setup, &settings, ports)?;
        let disks = if setup.with_disks { Some(Disks::mount(home).await?) } else { None };
        if disks.is_none() {
            fs::create_dir(home.join("nats"))?;
        }
        let servers = Servers::start(home, &settings, ports, &setup.nats, disks, &[]).await?;
        let api_key = migrate(setup, &settings)?;
        let label = format!("drill-{}", std::process::id());
        let clocks =
            setup.faketime.clone().map(|library| Clocks::new(library, home)).transpose()?;
        let engine = match setup.with_engine {
            true => Some(OwnEngine::start(home, machine, &setup.image).await?),
            false => None,
        };
        let mut members = BTreeMap::new();
        let (clocks_of, engine_of) = (clocks.as_ref(), engine.as_ref());
        for service in [Service::Api, Service::Scheduler, Service::Worker] {
            for instance in 1..=2 {
                let wiring = Wiring {
                    setup,
                    settings: &settings,
                    ports,
                    label: &label,
                    clocks: clocks_of,
                    engine: engine_of.filter(|_| instance == 2),
                };
                members.insert((service, instance), wiring.start(service, instance).await?);
            }
        }
        let builds = setup.builds.clone();
        let cluster = Self { servers, builds, clocks, engine, members, label, api_key };
        cluster.wait_ready().await?;
        Ok(cluster)
    }

    /// Where the APIs listen.
    pub(crate) fn apis(&self) -> Vec<SocketAddr> {
        let apis = self.members.iter().filter(|((service, _), _)| *service == Service::Api);
        apis.map(|(_, member)| member.health).collect()
    }

    pub(crate) fn part(&self, service: Service, instance: u8) -> Result<&Arc<Part>> {
        self.members.get(&(service, instance)).map(|member| &member.part).context("no such process")
    }

    /// Troubles a link, or heals it.
    pub(crate) fn set_link(
        &self,
        (service, instance): (Service, u8),
        server: Server,
        trouble: Option<Trouble>,
    ) -> Result<()> {
        let member = self.members.get(&(service, instance)).context("no such process")?;
        member.links.get(&server).context("no such link")?.set(trouble);
        Ok(())
    }

    /// Sets the clock of a process, and where it can be seen waits until it goes by it.
    pub(crate) async fn set_clock(
        &self,
        (service, instance): (Service, u8),
        shift: Shift,
    ) -> Result<()> {
        let member = self.members.get(&(service, instance)).context("no such process")?;
        let clocks = self.clocks.as_ref().context("clocks cannot be set")?;
        clocks.set(&member.part.name, shift)?;
        match shift {
            Shift::Ahead => clock::shows_ahead(member.health).await,
            Shift::Behind | Shift::None => Ok(()),
        }
    }

    /// The engine that may be killed.
    pub(crate) fn engine(&self) -> Result<&OwnEngine> {
        self.engine.as_ref().context("the drill has no engine of its own")
    }

    /// Troubles every link to a server, or heals them.
    pub(crate) fn set_links(&self, server: Server, trouble: Option<Trouble>) {
        for link in self.members.values().filter_map(|member| member.links.get(&server)) {
            link.set(trouble);
        }
    }

    /// A client of the engine that may be killed.
    pub(crate) fn own_docker(&self) -> Option<&Docker> {
        self.engine.as_ref().map(OwnEngine::docker)
    }

    /// Ends the engine, after the workers.
    pub(crate) async fn stop_engine(&self) -> Result<()> {
        match &self.engine {
            Some(engine) => engine.stop().await,
            None => Ok(()),
        }
    }

    /// The ends of processes that nobody asked for.
    pub(crate) fn exits(&self) -> Vec<Exit> {
        let parts = self.members.values().flat_map(|member| member.part.exits());
        let engine = self.engine.iter().flat_map(OwnEngine::exits);
        parts.chain(self.servers.exits()).chain(engine).collect()
    }

    /// Ends Flowcell's processes in order; says which did not end as they should.
    pub(crate) async fn stop(&self) -> Result<Vec<String>> {
        let mut wrong = Vec::new();
        for service in [Service::Worker, Service::Api, Service::Scheduler] {
            let of_service = self.members.iter().filter(|((of, _), _)| *of == service);
            let stopping = of_service.map(|(_, member)| async {
                let ended = member.part.stop(DRAIN_WITHIN).await?;
                anyhow::Ok((member.part.name.clone(), ended))
            });
            for (name, ended) in futures::future::try_join_all(stopping).await? {
                match ended {
                    Some(Ended::ByItself(status)) if status.success() => {}
                    Some(Ended::ByItself(status)) => {
                        wrong.push(format!("{name} ended with {status}"))
                    }
                    Some(Ended::Killed) => wrong.push(format!("{name} did not end after SIGTERM")),
                    None => wrong.push(format!("{name} did not run at the end")),
                }
            }
        }
        Ok(wrong)
    }

    /// Waits until every process says that all it depends on answers.
    async fn wait_ready(&self) -> Result<()> {
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
        let until = Instant::now() + READY_WITHIN;
        for member in self.members.values() {
            let url = format!("http://{}/readyz", member.health);
            loop {
                let answer = http.get(&url).send().await;
                if answer.is_ok_and(|answer| answer.status().is_success()) {
                    break;
                }
                let ends = member.part.exits().len();
                if Instant::now() > until || ends >= STARTS_MAX {
                    bail!("{0} is not ready: see logs/{0}.log", member.part.name);
                }
                tokio::time::sleep(LOOK).await;
            }
        }
        Ok(())
    }
}

/// What a process is connected to.
struct Wiring<'a> {
    setup: &'a Setup,
    settings: &'a Path,
    ports: Ports,
    label: &'a str,
    clocks: Option<&'a Clocks>,
    /// Where it is not the machine's.
    engine: Option<&'a OwnEngine>,
}

impl Wiring<'_> {
    async fn start(&self, service: Service, instance: u8) -> Result<Member> {
        let name = format!("{service}-{instance}");
        let folder = if service == Service::Worker { name.as_str() } else { "control" };
        let config = self.settings.join(folder).join("flowcell.toml");
        let health = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let mut program = Program::new([
            self.setup.builds.program(self.setup.builds.first(instance)),
            service.to_string(),
            "--config".to_owned(),
            config.display().to_string(),
        ])
        .env("FLOWCELL_CONFIG__TELEMETRY__FILTER", "info");
        let mut links = BTreeMap::new();
        let nats = Link::open(SocketAddr::from(([127, 0, 0, 1], self.ports.nats))).await?;
        program = program.env("FLOWCELL_CONFIG__BUS__URL", format!("nats://{}", nats.address()));
        links.insert(Server::Nats, nats);
        if service != Service::Worker {
            let postgres = SocketAddr::from(([127, 0, 0, 1], self.ports.postgres));
            let postgres = Link::open(postgres).await?;
            let name = postgres::NAME;
            let url = format!("postgres://{name}@{}/{name}", postgres.address());
            program = program.env("FLOWCELL_CONFIG__DATABASE__URL", url);
            links.insert(Server::Postgres, postgres);
        }
        program = match service {
            Service::Api => program
                .env("FLOWCELL_CONFIG__API__LISTEN", health.to_string())
                .env("FLOWCELL_CONFIG__API__RETRY__ATTEMPTS_MAX", ATTEMPTS_MAX.to_string()),
            Service::Scheduler => program.env("FLOWCELL_CONFIG__ADMIN", health.to_string()),
            Service::Worker => {
                self.worker(program).env("FLOWCELL_CONFIG__ADMIN", health.to_string())
            }
        };
        if let Some(clocks) = self.clocks {
            program = clocks.give(&name, program)?;
        }
        let log = self.setup.home.join("logs").join(format!("{name}.log"));
        Ok(Member { part: Part::start(name, program, log)?, links, health })
    }

    fn worker(&self, program: Program) -> Program {
        let docker_host = self.engine.map_or(&self.setup.docker_host, |engine| &engine.host);
        let images = format!("[{{image={:?},size=3}}]", self.setup.image);
        program
            .env("FLOWCELL_CONFIG__WORKER__CLUSTER", self.label)
            .env("FLOWCELL_CONFIG__WORKER__DOCKER_HOST", docker_host)
            .env("FLOWCELL_CONFIG__WORKER__POOL__IMAGES", images)
            .env("FLOWCELL_CONFIG__WORKER__POOL__READY_MS_MAX", IMPORT_MS_MAX)
    }
}

/// Settings and secrets, made as an operator makes them, by the older build: a newer one has to read
/// them.
pub(crate) fn init(setup: &Setup, settings: &Path, ports: Ports) -> Result<()> {
    let words = [
        setup.builds.program(Which::Other),
        "init".to_owned(),
        settings.display().to_string(),
        "--workers=2".to_owned(),
        format!("--slots={SLOTS}"),
        format!("--postgres=postgres://{0}@127.0.0.1:{1}/{0}", postgres::NAME, ports.postgres),
        format!("--nats=nats://127.0.0.1:{}", ports.nats),
        format!("--nats-listen=127.0.0.1:{}", ports.nats),
        format!("--nats-store={}", nats_store(&setup.home).display()),
        format!("--socket-dir={}", setup.home.join("s").display()),
    ];
    Program::new(words).output().context("writing the settings")?;
    Ok(())
}

/// Makes the schema, in as many steps as there are builds; returns the administrator's key, which is
/// printed this once.
pub(crate) fn migrate(setup: &Setup, settings: &Path) -> Result<String> {
    let config = settings.join("control/flowcell.toml");
    let mut printed = String::new();
    for build in setup.builds.all() {
        let words = [
            setup.builds.program(build),
            "migrate".to_owned(),
            "--config".to_owned(),
            config.display().to_string(),
        ];
        printed += &Program::new(words).output().context("making the schema")?;
    }
    shown_key(&printed).context("`flowcell migrate` printed no API key")
}

/// The API key that a command shows this once.
pub(crate) fn shown_key(printed: &str) -> Option<String> {
    let key = printed.lines().find_map(|line| line.strip_prefix("API key"))?;
    Some(key.trim().to_owned())
}
