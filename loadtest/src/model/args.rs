//! The command line of `flowcell-model`.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use super::{Config, Model, Script, Timing};
use crate::ApiKey;

/// A scripted server which speaks OpenAI's API. The same request always gets the same answer.
#[derive(Debug, clap::Parser)]
#[command(name = "flowcell-model", version)]
pub struct Cli {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Write the port here, once it is bound.
    #[arg(long, value_name = "FILE")]
    port_file: Option<PathBuf>,
    /// JSON file with the answers; without it every question gets the same pleasant reply.
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// Milliseconds before the first token.
    #[arg(long, default_value_t = 0, value_name = "MS")]
    first_token_ms: u64,
    /// Milliseconds between tokens.
    #[arg(long, default_value_t = 0, value_name = "MS")]
    token_ms: u64,
    /// Ask every request for this key.
    #[arg(long, env = "FLOWCELL_MODEL_API_KEY", hide_env_values = true, value_name = "KEY")]
    api_key: Option<ApiKey>,
    /// Length of embeddings unless the request names one.
    #[arg(long, default_value_t = 1_536, value_name = "N")]
    embedding_dimensions: usize,
    /// How many requests `GET /recorded` remembers.
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    recorded_max: usize,
}

impl Cli {
    /// Reads the script and checks the options.
    pub fn config(&self) -> anyhow::Result<Config> {
        let script = self.script.as_deref().map(Script::read).transpose()?.unwrap_or_default();
        Ok(Config {
            script,
            timing: Timing {
                first_token: Duration::from_millis(self.first_token_ms),
                token: Duration::from_millis(self.token_ms),
            },
            api_key: self.api_key.clone(),
            embedding_dimensions: self.embedding_dimensions,
            recorded_max: self.recorded_max,
        })
    }
}

/// Serves until interrupted or terminated.
pub async fn run(cli: &Cli, config: Config) -> anyhow::Result<()> {
    let model = Model::bind(cli.listen, config).await?;
    let handle = model.handle();
    // Flushed, because whoever waits for this line reads it through a pipe.
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "listening on {}", handle.url()).context("writing to stdout")?;
    stdout.flush().context("writing to stdout")?;
    drop(stdout);
    if let Some(file) = &cli.port_file {
        write_port(file, handle.address().port())?;
    }
    let stopper = handle.clone();
    let waiting = tokio::spawn(async move {
        terminated().await;
        stopper.stop();
    });
    let served = model.serve().await;
    waiting.abort();
    served
}

/// Written beside and renamed, so that no reader sees half a number.
fn write_port(file: &Path, port: u16) -> anyhow::Result<()> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".new");
    std::fs::write(&beside, format!("{port}\n"))
        .and_then(|()| std::fs::rename(&beside, file))
        .with_context(|| format!("writing the port to {}", file.display()))
}

/// Either signal; a signal that cannot be listened for never comes.
async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminate = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signals) => {
                signals.recv().await;
            }
            Err(error) => {
                tracing::warn!(%error, "cannot listen for SIGTERM");
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = terminate => {}
        interrupted = tokio::signal::ctrl_c() => {
            if let Err(error) = interrupted {
                tracing::warn!(%error, "cannot listen for SIGINT");
            }
        }
    }
}
