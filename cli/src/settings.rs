//! The configuration of every server command, and what is opened from it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bus::nats::{Credentials, Role};
use domain::runtime::Runtimes;
use serde::Deserialize;
use service::telemetry;
use service::trace::Tracer;
use store::seal::KeyEncryptionKey;
use store::{Objects, Store};

/// `flowcell.toml`. Every part may be left out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// The database of a cluster.
    pub(crate) database: Database,
    /// The bus of a cluster.
    pub(crate) bus: BusSettings,
    /// Where the operator's endpoint listens (`/healthz`, `/readyz`, `/metrics`); nowhere by
    /// default. `flowcell api` and `flowcell up` answer health questions on their own address.
    pub(crate) admin: Option<SocketAddr>,
    /// Logs and traces.
    pub(crate) telemetry: telemetry::Settings,
    /// The images that flows run in; the API and the schedulers read the same.
    pub(crate) runtimes: Runtimes,
    /// Where the bodies of payloads are put; the API and the schedulers read the same.
    pub(crate) payloads: Payloads,
    /// How long runs are kept; the API and the schedulers read the same.
    pub(crate) retention: domain::retention::Settings,
    /// The API.
    pub(crate) api: api::Config,
    /// The scheduler.
    pub(crate) scheduler: scheduler::Config,
    /// The worker.
    pub(crate) worker: worker::Config,
}

/// Payloads: results and event logs that are too large for a row.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Payloads {
    /// `"database"`, `{ folder = "/path" }` or `{ s3 = { bucket = "…", … } }`.
    pub(crate) store: store::PayloadStore,
}

impl Payloads {
    /// Opens what holds the bodies; nothing for the database.
    pub(crate) fn open(&self) -> Result<Option<Objects>> {
        Objects::open(&self.store).context("payloads.store cannot be used")
    }
}

/// The database of a cluster.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Database {
    /// `postgres://user@host/database`. The password may stand in `password_file` instead.
    pub(crate) url: String,
    /// A file whose content is the password; keeps it out of this file and of the environment.
    pub(crate) password_file: Option<PathBuf>,
    /// Most connections of this process.
    pub(crate) connections_max: u32,
    /// The key-encryption key: a file of 32 bytes, mode 0600, the same for every process.
    pub(crate) key_file: PathBuf,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: String::new(),
            password_file: None,
            connections_max: 8,
            key_file: PathBuf::from("/etc/flowcell/key"),
        }
    }
}

/// The bus of a cluster.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BusSettings {
    /// NATS servers: `nats://host:4222`, separated by commas.
    pub(crate) url: String,
    /// The user's name.
    pub(crate) user: Option<String>,
    /// A file whose content is the user's password.
    pub(crate) password_file: Option<PathBuf>,
    /// Certificates of authorities to trust besides the system's.
    pub(crate) tls_ca_file: Option<PathBuf>,
    /// First part of every subject and stream name.
    pub(crate) prefix: String,
    /// Replicas of every stream: 1, or 3 on a NATS cluster.
    pub(crate) replicas: usize,
}

impl Default for BusSettings {
    fn default() -> Self {
        Self {
            url: "nats://127.0.0.1:4222".to_owned(),
            user: None,
            password_file: None,
            tls_ca_file: None,
            prefix: "fc".to_owned(),
            replicas: 1,
        }
    }
}

impl Settings {
    /// Reads the file (if one is named) and the environment.
    pub(crate) fn load(file: Option<&Path>) -> Result<Self> {
        let mut settings: Self = service::config::load(file)?;
        settings.runtimes.validate()?;
        settings.retention.validate()?;
        settings.api.runtimes.clone_from(&settings.runtimes);
        settings.scheduler.runtimes.clone_from(&settings.runtimes);
        settings.api.retention.clone_from(&settings.retention);
        settings.scheduler.retention.clone_from(&settings.retention);
        Ok(settings)
    }

    /// Every part of the process sends its spans this way.
    pub(crate) fn trace(&mut self, tracer: &Tracer) {
        self.api.tracer = tracer.clone();
        self.scheduler.tracer = tracer.clone();
        self.worker.tracer = tracer.clone();
    }

    /// Where a process of the cluster may be found that no cell may reach, as far as this file
    /// tells: `host:port`.
    pub(crate) fn own_endpoints(&self) -> Vec<String> {
        let urls = self.bus.url.split(',').map(|url| (url, 4222));
        let urls = urls.chain([(self.database.url.as_str(), 5432)]);
        let found = urls.filter_map(|(url, default_port)| {
            let url = reqwest::Url::parse(url.trim()).ok()?;
            Some(format!("{}:{}", url.host_str()?, url.port().unwrap_or(default_port)))
        });
        found.chain(self.admin.map(|address| address.to_string())).collect()
    }
}

impl Database {
    /// Opens the database of a cluster, whose schema must be current unless it is to be migrated.
    pub(crate) async fn open(&self) -> Result<Store> {
        if self.url.is_empty() {
            anyhow::bail!(
                "no database is configured: set database.url in the configuration file, or \
                 FLOWCELL_CONFIG__DATABASE__URL"
            );
        }
        let key = KeyEncryptionKey::load(&self.key_file).context("the key-encryption key")?;
        let mut url = self.url.clone();
        if let Some(file) = &self.password_file {
            url = with_password(&url, &secret(file)?)?;
        }
        let settings = store::Settings { url, connections_max: self.connections_max };
        Store::connect(&settings, key).await.context("cannot open the database")
    }
}

impl BusSettings {
    /// Connects to the bus of a cluster.
    pub(crate) async fn open(&self, role: Role) -> Result<bus::Bus> {
        let mut settings = bus::nats::Settings::new(self.url.clone());
        settings.credentials = match (&self.user, &self.password_file) {
            (Some(user), Some(file)) => {
                Credentials::Password { user: user.clone(), password: secret(file)? }
            }
            (None, None) => Credentials::None,
            _ => anyhow::bail!("bus.user and bus.password_file go together"),
        };
        settings.tls_ca_file.clone_from(&self.tls_ca_file);
        settings.prefix.clone_from(&self.prefix);
        settings.replicas = self.replicas;
        settings.role = role;
        bus::nats(settings).await.with_context(|| format!("cannot use NATS at {}", self.url))
    }
}

fn secret(file: &Path) -> Result<String> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read the secret in {}", file.display()))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// Puts a password into a database URL.
fn with_password(url: &str, password: &str) -> Result<String> {
    let mut url = reqwest::Url::parse(url).context("database.url is not a URL")?;
    if url.set_password(Some(password)).is_err() {
        anyhow::bail!("database.url names no host");
    }
    Ok(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn a_password_is_escaped_into_the_url() {
        let url = with_password("postgres://fc@db:5432/flowcell", "a/b@c").unwrap();
        assert_eq!(url, "postgres://fc:a%2Fb%40c@db:5432/flowcell");
    }

    #[test]
    fn the_cluster_s_endpoints_are_known() {
        let mut settings = Settings::default();
        settings.bus.url = "nats://a:4223, tls://[::1]".to_owned();
        settings.database.url = "postgres://fc@db/flowcell".to_owned();
        settings.admin = Some("0.0.0.0:9000".parse().unwrap());
        assert_eq!(settings.own_endpoints(), ["a:4223", "[::1]:4222", "db:5432", "0.0.0.0:9000"]);
    }

    #[test]
    fn an_empty_configuration_is_valid() {
        Settings::load(None).unwrap();
    }

    #[test]
    fn runtimes_are_known_to_the_api_and_the_scheduler() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("flowcell.toml");
        let images = "[runtimes.images]\n\"1.12\" = \"a\"\n\"1.13\" = \"b\"\n";
        std::fs::write(&file, images).unwrap();
        let settings = Settings::load(Some(&file)).unwrap();
        assert_eq!(settings.runtimes.images.len(), 2);
        assert_eq!(settings.api.runtimes, settings.runtimes);
        assert_eq!(settings.scheduler.runtimes, settings.runtimes);
        std::fs::write(&file, "[runtimes]\ndefault = \"1.9\"\n").unwrap();
        let error = Settings::load(Some(&file)).unwrap_err();
        assert!(error.to_string().contains("runtimes.default is 1.9"), "{error}");
        assert_eq!(Exit::from_error(&error), Exit::BadConfiguration);
    }

    #[test]
    fn a_retry_policy_may_name_only_some() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("flowcell.toml");
        std::fs::write(&file, "[api.retry]\nattempts_max = 9\n").unwrap();
        let retry = Settings::load(Some(&file)).unwrap().api.retry;
        assert_eq!((retry.attempts_max, retry.backoff_ms_max), (9, 10_000));
    }

    #[test]
    fn a_table_of_limits_may_name_only_some() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("flowcell.toml");
        std::fs::write(&file, "[api.cell]\ncpu_ms = 5\n[worker.caps]\npids = 9\n").unwrap();
        let settings = Settings::load(Some(&file)).unwrap();
        assert_eq!((settings.api.cell.cpu_ms, settings.api.cell.pids), (5, 128));
        assert_eq!((settings.worker.caps.pids, settings.worker.caps.cpu_millis), (9, 16_000));
    }
}
