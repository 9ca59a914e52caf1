//! A private server that speaks S3, per test: moto's, in memory.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// How long a server may take to answer; a loaded machine is slow, not broken.
const START_WITHIN: Duration = Duration::from_secs(60);

/// A running server with one bucket, `flowcell`; killed when dropped, its objects with it.
#[derive(Debug)]
pub struct Server {
    child: Child,
    port: u16,
    dir: TempDir,
}

/// The program: `FLOWCELL_MOTO_SERVER`, else where `scripts/lib/moto.sh` puts it.
fn program() -> Option<PathBuf> {
    let named = std::env::var_os("FLOWCELL_MOTO_SERVER").map(PathBuf::from);
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))
        .map(|cache| cache.join("flowcell/tools/moto/bin/moto_server"));
    named.into_iter().chain(cache).find(|program| program.is_file())
}

impl Server {
    /// Starts it and makes the bucket.
    ///
    /// # Errors
    /// When there is no such program here, or it does not start.
    pub async fn start() -> Result<Self> {
        let program =
            program().context("no moto_server: source scripts/lib/moto.sh and call ensure_moto")?;
        let dir = tempfile::tempdir()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let log = File::create(dir.path().join("log"))?;
        let child = Command::new(&program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let mut server = Self { child, port, dir };
        server.make_bucket().await?;
        Ok(server)
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A file with credentials that it takes, as any.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn credentials_file(&self) -> Result<PathBuf> {
        let file = self.dir.path().join("credentials");
        std::fs::write(&file, "aws_access_key_id = id\naws_secret_access_key = secret\n")?;
        Ok(file)
    }

    async fn make_bucket(&mut self) -> Result<()> {
        let until = Instant::now() + START_WITHIN;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait()? {
                bail!("moto_server ended with {status}:\n{}", self.log());
            }
            match self.put("/flowcell").await {
                Ok(answer) if answer.contains(" 200 ") => return Ok(()),
                Ok(answer) => bail!("the bucket cannot be made: {answer}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        bail!("moto_server does not answer:\n{}", self.log())
    }

    async fn put(&self, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let request = format!(
            "PUT {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Length: 0\r\n\
             Connection: close\r\n\r\n",
            self.port
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer.lines().next().unwrap_or_default().to_owned())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
