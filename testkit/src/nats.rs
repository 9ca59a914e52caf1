//! A private `nats-server` with JetStream, per test.

use std::ffi::OsString;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// How long a server may take to answer; a loaded machine is slow, not broken.
const START_WITHIN: Duration = Duration::from_secs(20);

/// A running server; killed when dropped, its data with it.
#[derive(Debug)]
pub struct Server {
    child: Option<Child>,
    port: u16,
    config: String,
    dir: TempDir,
}

/// The program: `FLOWCELL_NATS_SERVER`, else on `PATH`, else where `scripts/lib/nats.sh` puts it.
#[must_use]
pub fn program() -> Option<PathBuf> {
    let named = std::env::var_os("FLOWCELL_NATS_SERVER").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("nats-server"));
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))
        .map(|cache| cache.join("flowcell/nats-server"));
    named.into_iter().chain(on_path).chain(cache).find(|program| program.is_file())
}

impl Server {
    /// A server without users.
    ///
    /// # Errors
    /// When there is no `nats-server` here, or it does not start.
    pub async fn start() -> Result<Self> {
        Self::start_with("").await
    }

    /// A server with more lines in its configuration.
    ///
    /// # Errors
    /// When there is no `nats-server` here, or it does not start.
    pub async fn start_with(config: &str) -> Result<Self> {
        let mut server = Self {
            child: None,
            port: free_port()?,
            config: config.to_owned(),
            dir: tempfile::tempdir()?,
        };
        server.resume().await?;
        Ok(server)
    }

    /// So many servers that are one.
    ///
    /// # Errors
    /// When there is no `nats-server` here, or one does not start.
    pub async fn cluster(count: usize) -> Result<Vec<Self>> {
        let ports = (0..count).map(|_| free_port()).collect::<Result<Vec<u16>>>()?;
        let routes: Vec<String> =
            ports.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect();
        let routes = &routes.join(", ");
        let starts = ports.iter().map(|port| async move {
            let config = format!(
                "server_name: \"n{port}\"\n\
                 cluster {{ name: test, listen: \"127.0.0.1:{port}\", routes: [{routes}] }}\n\
                 lame_duck_grace_period: \"1s\"\nlame_duck_duration: \"30s\""
            );
            Self::start_with(&config).await
        });
        futures::future::try_join_all(starts).await
    }

    /// Tells it to go: it asks its clients to leave, and ends.
    ///
    /// # Errors
    /// When it does not run.
    pub fn leave(&self) -> Result<()> {
        let pid = self.child.as_ref().context("it does not run")?.id();
        let program = program().context("no nats-server")?;
        let told = Command::new(program).arg("--signal").arg(format!("ldm={pid}")).status()?;
        if told.success() { Ok(()) } else { bail!("it was not told: {told}") }
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Where it listens, without the scheme.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills it, as `kill -9` does; its data stays.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again on the same port with the same data.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn resume(&mut self) -> Result<()> {
        let program = program()
            .context("no nats-server: source scripts/lib/nats.sh and call ensure_nats_server")?;
        let file = self.dir.path().join("server.conf");
        let store = self.dir.path().join("store");
        std::fs::write(
            &file,
            format!(
                "listen: \"127.0.0.1:{}\"\njetstream {{ store_dir: {:?} }}\n{}\n",
                self.port,
                store.display().to_string(),
                self.config
            ),
        )?;
        let log = File::options().create(true).append(true).open(self.log_file())?;
        let arguments: [OsString; 2] = ["-c".into(), file.into()];
        let child = Command::new(&program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        self.child = Some(child);
        self.wait().await
    }

    /// Kills it and starts it again.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill();
        self.resume().await
    }

    /// Deletes its data, as a lost disk does. It must not run.
    ///
    /// # Errors
    /// When the data cannot be deleted.
    pub fn wipe(&self) -> Result<()> {
        Ok(std::fs::remove_dir_all(self.dir.path().join("store"))?)
    }

    /// What it wrote.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.dir.path().join("server.log")
    }

    /// A server greets with its `INFO` once it is ready for clients.
    async fn wait(&mut self) -> Result<()> {
        let until = Instant::now() + START_WITHIN;
        while Instant::now() < until {
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait()?
            {
                bail!("nats-server ended with {status}:\n{}", self.log());
            }
            if let Ok(mut stream) = TcpStream::connect(self.address()).await {
                let mut greeting = [0; 4];
                let read = stream.read_exact(&mut greeting);
                if let Ok(Ok(_)) = tokio::time::timeout(Duration::from_secs(1), read).await
                    && &greeting == b"INFO"
                {
                    return Ok(());
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bail!("nats-server does not answer:\n{}", self.log())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Another process may take the port before the server does; the test then fails and says so.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
