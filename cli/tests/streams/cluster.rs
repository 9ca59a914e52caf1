//! Two API processes, and what workers and schedulers would do to their runs.

use std::collections::BTreeMap;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bus::Bus;
use bytes::Bytes;
use domain::id::RunId;
use domain::run::Event;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use proto::event::{RunEvent, RunEventKind};
use serde_json::{Value, json};
use store::seal::KeyEncryptionKey;
use store::{Store, Transition};
use testkit::database::Database;
use testkit::nats::Server;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

const KEY: [u8; 32] = [7; 32];

/// How long a process may take until it answers; a loaded machine is slow, not broken.
const START_WITHIN: Duration = Duration::from_secs(60);

/// What shells give a process unless somebody asks for more: an API serves more streams than that.
const FILES_SOFT: u32 = 256;

pub(crate) struct Cluster {
    pub(crate) addresses: Vec<String>,
    /// Where each tells its figures.
    admins: Vec<String>,
    pub(crate) key: String,
    store: Store,
    bus: Bus,
    apis: Vec<Child>,
    _home: tempfile::TempDir,
    _nats: Server,
    _database: Database,
}

impl Cluster {
    pub(crate) async fn start() -> Arc<Self> {
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
        let (database, nats) =
            (Database::postgres().await.unwrap(), Server::start().await.unwrap());
        let settings = store::Settings { url: database.url().to_owned(), connections_max: 8 };
        let key = KeyEncryptionKey::from_bytes(KEY);
        let store = Store::connect(&settings, key).await.unwrap();
        store.migrate().await.unwrap();
        let first = store.auth().bootstrap("admin").await.unwrap().unwrap();
        let bus = bus::nats(bus::nats::Settings::new(nats.url())).await.unwrap();
        let home = tempfile::tempdir().unwrap();
        let mut cluster = Self {
            addresses: Vec::new(),
            admins: Vec::new(),
            key: first.api_key.expose().to_owned(),
            store,
            bus,
            apis: Vec::new(),
            _home: home,
            _nats: nats,
            _database: database,
        };
        for name in ["a", "b"] {
            let (address, admin) = (free_address(), free_address());
            let configuration = cluster.configuration(name, &address, &admin);
            cluster.apis.push(api(&configuration));
            cluster.addresses.push(address);
            cluster.admins.push(admin);
        }
        for address in &cluster.addresses {
            ready(address).await;
        }
        Arc::new(cluster)
    }

    fn configuration(&self, name: &str, address: &str, admin: &str) -> std::path::PathBuf {
        let home = self._home.path();
        let key_file = home.join("key");
        if !key_file.exists() {
            let mut options = std::fs::OpenOptions::new();
            let file = options.write(true).create_new(true).mode(0o600).open(&key_file);
            std::io::Write::write_all(&mut file.unwrap(), &KEY).unwrap();
        }
        let text = format!(
            "admin = {admin:?}\n[api]\nlisten = {address:?}\n[database]\nurl = {:?}\nkey_file = {key_file:?}\n\
             [bus]\nurl = {:?}\n",
            self._database.url(),
            self._nats.url(),
        );
        let file = home.join(format!("{name}.toml"));
        std::fs::write(&file, text).unwrap();
        file
    }

    /// Resident memory of the APIs, in KiB.
    pub(crate) fn api_kib(&self) -> u64 {
        let pids = self.apis.iter().map(|api| api.id().unwrap());
        pids.map(|pid| status(pid, "VmRSS:").unwrap()).sum()
    }

    /// A request of the only user.
    pub(crate) fn get(&self, replica: usize, path: &str) -> reqwest::RequestBuilder {
        let url = format!("http://{}{path}", self.addresses[replica]);
        client().get(url).header("x-api-key", &self.key)
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let url = format!("http://{}{path}", self.addresses[0]);
        let post = client().post(url).header("x-api-key", &self.key).json(body);
        let answer = post.send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
        answer.json().await.unwrap()
    }

    pub(crate) async fn make_flow(&self) {
        let data = testkit::flows::graph(&[("ChatInput-aaaaa", &[])]);
        self.post("/api/v1/flows/", &json!({"name": "hollow", "data": data})).await;
    }

    pub(crate) async fn run(&self) -> RunId {
        let answer = self.post("/api/flowcell/v1/runs", &json!({"flow": "hollow"})).await;
        answer["id"].as_str().unwrap().parse().unwrap()
    }

    /// What a worker does with the tokens of a cell: entry `n` of the log says `n`.
    pub(crate) async fn publish(&self, run: RunId, numbers: std::ops::Range<u64>, padding: usize) {
        let entries = numbers.map(|number| {
            let kind = RunEventKind::Langflow {
                cell: "C".to_owned(),
                attempt: 1,
                event: "token".to_owned(),
                data: json!({"number": number, "padding": "x".repeat(padding)}),
            };
            (number.to_string(), entry(kind))
        });
        self.bus.append(run, entries.collect()).await.unwrap();
    }

    /// What a scheduler does at a run's end.
    pub(crate) async fn end(&self, run: RunId) {
        let record = self.store.engine().load(run).await.unwrap().unwrap();
        let mut state = record.run;
        let open = state.tasks.iter().map(|task| Event::TaskCancelled { task: task.index });
        let events: Vec<Event> = open.chain([Event::RunCancelled]).collect();
        events.iter().for_each(|event| state.apply(event));
        let transition = Transition::new(record.version, state, events, store::now());
        self.store.engine().commit(transition).await.unwrap();
        let last = vec![("end".to_owned(), entry(RunEventKind::RunCancelled))];
        self.bus.append(run, last).await.unwrap();
    }

    /// What a scheduler does a minute later: the log is in the store, and the bus has none.
    pub(crate) async fn archive(&self, run: RunId) {
        let log = self.bus.snapshot(run).await.unwrap().join(&b'\n');
        self.store.engine().archive_event_log(run, &log).await.unwrap();
        self.bus.forget(run).await.unwrap();
    }

    /// Streams that the replica's own figures call open.
    pub(crate) async fn open_streams(&self) -> u64 {
        let mut open = 0;
        for address in &self.admins {
            let answer = client().get(format!("http://{address}/metrics")).send().await.unwrap();
            let text = answer.text().await.unwrap();
            let lines = text.lines().filter(|line| line.starts_with("flowcell_event_streams{"));
            open += lines
                .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
                .sum::<u64>();
        }
        open
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for api in &mut self.apis {
            let _ = api.start_kill();
        }
    }
}

fn entry(kind: RunEventKind) -> Bytes {
    let event = RunEvent { at: store::now(), kind };
    Bytes::from(serde_json::to_vec(&event).unwrap())
}

/// One client for all: it opens a connection for each stream.
fn client() -> &'static reqwest::Client {
    static CLIENT: std::sync::OnceLock<reqwest::Client> = std::sync::OnceLock::new();
    CLIENT.get_or_init(|| reqwest::Client::builder().no_proxy().build().unwrap())
}

fn api(configuration: &Path) -> Child {
    let script = format!("ulimit -S -n {FILES_SOFT} && exec \"$0\" api --config \"$1\"");
    let log = std::fs::File::create(configuration.with_extension("log")).unwrap();
    Command::new("sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_flowcell")])
        .arg(configuration)
        .env_clear()
        .envs(
            std::env::var_os("PATH")
                .map(|path| ("PATH", path))
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

async fn ready(address: &str) {
    let until = tokio::time::Instant::now() + START_WITHIN;
    let url = format!("http://{address}/readyz");
    loop {
        if client().get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
            return;
        }
        assert!(tokio::time::Instant::now() < until, "no API at {address}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn free_address() -> String {
    let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    probe.local_addr().unwrap().to_string()
}

/// Waits for what all tasks have to do first; one that has failed would be waited for for ever.
pub(crate) async fn unless_one_fails<T: 'static>(
    tasks: &mut JoinSet<T>,
    wait: impl Future<Output = tokio::sync::BarrierWaitResult>,
) {
    tokio::pin!(wait);
    loop {
        tokio::select! {
            _ = &mut wait => return,
            ended = tasks.join_next() => drop(ended.expect("some are left").unwrap()),
        }
    }
}

/// A figure of `/proc/<pid>/status`.
fn status(pid: u32, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
