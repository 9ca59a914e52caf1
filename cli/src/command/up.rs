//! `flowcell up`: everything in one process.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use prometheus_client::registry::Registry;
use service::drain::Drain;
use store::seal::KeyEncryptionKey;
use store::{FirstUser, NewApiKey, Store};
use tokio::net::TcpListener;

use super::serve::{Health, admin, answer, work};
use super::{reap, tenant};
use crate::args::UpArguments;
use crate::credentials::Credentials;
use crate::exit::Exit;
use crate::output;
use crate::settings::Settings;

/// How long the other parts get after that.
const END_WAIT: Duration = Duration::from_secs(10);

/// How long running cells get to finish after the first signal.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn execute(arguments: UpArguments) -> Result<Exit> {
    let mut settings = Settings::load(arguments.config.as_deref())?;
    if let Some(listen) = arguments.listen {
        settings.api.listen = listen;
    }
    if let Some(slots) = arguments.slots {
        settings.worker.slots = slots;
    }
    let telemetry = service::telemetry::init(&settings.telemetry, "flowcell")?;
    settings.trace(&telemetry.tracer());
    let data = arguments.data.path();
    private_folder(&data)?;
    let _only_one = lock(&data)?;

    let listener = TcpListener::bind(settings.api.listen)
        .await
        .with_context(|| format!("cannot listen on {}", settings.api.listen))?;
    let url = format!("http://{}", listener.local_addr()?);
    let store = open_store(&data).await?.with_objects(settings.payloads.open()?);
    let bus = bus::memory(bus::memory::Settings::new(data.join("events"))).await?;
    let credentials = first_start(&store, &data, &url).await?;

    embed(&mut settings.worker, &data);
    let own = settings.admin.map(|address| address.to_string());
    settings.worker.egress.deny_endpoints.extend(own);
    // Two stages: what makes work ends first, while the scheduler still takes reports.
    let (core, drain) = (Drain::new(), Drain::new());
    let scheduler = scheduler::Scheduler::new(store.clone(), bus.clone(), settings.scheduler);
    let mut figures = Registry::default();
    scheduler.expose(&mut figures);
    scheduler.start(&core).await?;
    let reaper = reap::program(arguments.config.as_deref());
    let worker = worker::Worker::open(settings.worker, bus.clone(), reaper).await?;
    let cells = worker.handle();
    drain.spawn("worker", work(worker, drain.clone()));
    let health =
        Health { store: Some(store.clone()), bus: bus.clone(), worker: Some(cells.clone()) };
    let api = api::Api::new(store.clone(), bus.clone(), settings.api);
    cells.expose(&mut figures);
    api.expose(&mut figures);
    admin(settings.admin, health, figures, &drain);
    drain.spawn("api", answer(api, listener, drain.clone()));
    credentials.write(&data)?;
    output::note(format_args!("flowcell answers at {url}"));
    output::note(format_args!("  credentials for clients: {}", Credentials::file(&data).display()));

    drain.wait_for_signal().await?;
    cells.drain(PATIENCE).await;
    let all = drain.finish(END_WAIT).await & core.finish(END_WAIT).await;
    bus.close().await;
    store.close().await?;
    Ok(if all { Exit::Done } else { Exit::Failed })
}

/// The embedded worker: sockets and names of its own, so that two servers can share an engine.
pub(super) fn embed(worker: &mut worker::Config, data: &Path) {
    let defaults = worker::Config::default();
    if worker.socket_dir == defaults.socket_dir {
        worker.socket_dir = data.join("sockets");
    }
    if worker.name == defaults.name {
        worker.name = format!("up-{:08x}", stable_hash(data));
    }
}

/// The same number for the same folder, whatever process asks.
fn stable_hash(path: &Path) -> u32 {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    // FNV-1a: short, and only has to tell folders apart.
    path.as_os_str()
        .as_encoded_bytes()
        .iter()
        .fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

fn private_folder(data: &Path) -> Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data)
        .and_then(|()| std::fs::set_permissions(data, std::fs::Permissions::from_mode(0o700)))
        .with_context(|| format!("cannot use {} as data folder", data.display()))
}

/// One server per data folder: two would run each other's cells.
fn lock(data: &Path) -> Result<std::fs::File> {
    let path = data.join("lock");
    let file =
        std::fs::File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    if file.try_lock().is_err() {
        anyhow::bail!(
            "another flowcell uses {}; stop it, or give another --data-dir",
            data.display()
        );
    }
    Ok(file)
}

/// The database of an installation that was started before.
pub(super) async fn open_existing(data: &Path) -> Result<Store> {
    let database = data.join("flowcell.db");
    if !database.exists() {
        anyhow::bail!(
            "there is no {}: start `flowcell up` once, or name its --data-dir; for a cluster, give \
             --config",
            database.display()
        );
    }
    open_store(data).await
}

async fn open_store(data: &Path) -> Result<Store> {
    let (key, database) = (data.join("key"), data.join("flowcell.db"));
    if database.exists() && !key.exists() {
        anyhow::bail!(
            "{} is gone, and without it the variables in {} cannot be read; restore it from a \
             backup, or start with a new --data-dir",
            key.display(),
            database.display()
        );
    }
    let key = KeyEncryptionKey::load_or_create(&key)?;
    let url = format!("sqlite://{}", database.display());
    let settings = store::Settings { url, connections_max: 8 };
    let store = Store::connect(&settings, key).await?;
    store.migrate().await?;
    Ok(store)
}

/// On the first start an administrator and an API key are made and shown once; afterwards the key
/// in the credentials file goes on being used.
async fn first_start(store: &Store, data: &Path, url: &str) -> Result<Credentials> {
    let url = url.to_owned();
    if let Some(first) = store.auth().bootstrap("admin").await? {
        show(&first, data)?;
        let api_key = first.api_key.expose().to_owned();
        let credentials = Credentials { url, api_key };
        // Kept before anything else can fail: the key is shown only once.
        credentials.write(data)?;
        return Ok(credentials);
    }
    match Credentials::read(data) {
        Some(known) => Ok(Credentials { url, ..known }),
        // Keys are not stored in clear. Whoever may write this folder may have a new one.
        None => Ok(Credentials { url, api_key: new_key(store).await? }),
    }
}

async fn new_key(store: &Store) -> Result<String> {
    for tenant in store.tenants().await? {
        let tenant = store.tenant(tenant.id);
        if let Some(admin) = tenant.users().await?.into_iter().find(|user| user.is_superuser) {
            let new = NewApiKey {
                user: admin.id,
                name: "flowcell up".to_owned(),
                scopes: Vec::new(),
                expires: None,
            };
            return Ok(tenant.create_api_key(new).await?.secret.expose().to_owned());
        }
    }
    anyhow::bail!("the database has no administrator")
}

fn show(first: &FirstUser, data: &Path) -> Result<()> {
    let file = data.join("admin.txt");
    let text = tenant::secrets(first) + "\n";
    crate::credentials::write_private(&file, &text)?;
    output::note(format_args!(
        "first start: an administrator was made (kept in {})",
        file.display()
    ));
    for line in text.lines() {
        output::note(format_args!("  {line}"));
    }
    Ok(())
}
