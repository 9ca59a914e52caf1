//! Throwaway containers that install packages: as hard as a cell's, without a runner, a task or a
//! secret. What they say on standard output is kept in a file without a name.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::query_parameters::AttachContainerOptions;
use futures::StreamExt;
use proto::connection::{Connection, ConnectionState};
use tokio::time::timeout;

use super::engine::{failed, keep_end};
use super::made::Made;
use super::{Containers, EXIT_CODE_MAX, Inner, Known, body};
use crate::config::RuntimesConfig;
use crate::sandbox::slot::SlotDir;
use crate::sandbox::{Error, SlotId};
use egress::{Policy, Proxy};

/// What is to be done, beside the socket; as `flowcell_builder` reads it.
const ORDER_FILE: &str = "build.json";
/// Certificates of authorities that the index needs.
const CERTIFICATES_FILE: &str = "ca.crt";
/// Nobody listens there: a container's directory has a socket in any case.
const SOCKET: &str = "build.sock";
/// Where packages wait before they are stored: not below the sockets, which may be in memory.
const ARCHIVES: &str = "/var/tmp";

/// What a container is to install.
pub(crate) struct BuildJob<'a> {
    /// The image with the installer.
    pub(crate) image: String,
    /// The order.
    pub(crate) order: Vec<u8>,
    /// Limits, certificates and wheels.
    pub(crate) config: &'a RuntimesConfig,
    /// The way to the index.
    pub(crate) egress: Option<Policy>,
    /// More on standard output ends it.
    pub(crate) output_bytes_max: u64,
    /// A longer time ends it.
    pub(crate) time_max: Duration,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Built {
    /// Its exit code, when it ended by itself and the engine told.
    pub(crate) exit_code: Option<i64>,
    /// Whether it was ended for its time.
    pub(crate) is_late: bool,
    /// Whether it was ended for its output.
    pub(crate) is_large: bool,
    /// Its standard output, at its beginning.
    pub(crate) output: File,
    /// The end of its standard error.
    pub(crate) stderr: String,
}

/// What was read until the container ended, or had to.
enum Heard {
    All,
    TooMuch,
}

impl Containers {
    /// Runs an installer to its end. Its container is gone afterwards.
    pub(crate) async fn build(&self, job: BuildJob<'_>) -> Result<Built, Error> {
        let inner = &self.inner;
        let id = SlotId::random();
        let _known = Known::enter(inner, id);
        let make = |dir: &SlotDir| body::build(inner, id, &job.image, dir, job.config);
        let made = inner.make(id, &format!("flowcell-build-{id}"), SOCKET, make).await?;
        match inner.install(&made, job).await {
            Ok(built) => {
                inner.remove(&made.container, made.gone.clone()).await;
                Ok(built)
            }
            Err(error) => Err(inner.discard(made, error).await),
        }
    }

    /// Makes an image of another one and an archive: the engine unpacks it, nothing runs.
    pub(crate) async fn layer(
        &self,
        base: &str,
        archive: File,
        (repository, tag): (&str, &str),
        labels: &[(&str, &str)],
    ) -> Result<(), Error> {
        let inner = &self.inner;
        let id = SlotId::random();
        let _known = Known::enter(inner, id);
        let body = body::layer(inner, id, base);
        let container = inner.create(&format!("flowcell-layer-{id}"), body).await?;
        let stored = inner.store(&container, archive, (repository, tag), labels).await;
        super::remove_container(&inner.docker, &container).await;
        stored
    }
}

impl Inner {
    async fn install(&self, made: &Made, job: BuildJob<'_>) -> Result<Built, Error> {
        let io = |source| Error::Io { doing: "preparing a build", source };
        write(&made.dir, ORDER_FILE, &job.order).map_err(io)?;
        if let Some(file) = &job.config.ca_file {
            let certificates = std::fs::read(file)
                .map_err(|source| Error::Io { doing: "reading worker.runtimes.ca_file", source })?;
            write(&made.dir, CERTIFICATES_FILE, &certificates).map_err(io)?;
        }
        // It ends with the container.
        let proxy = match job.egress {
            Some(policy) => Some(made.dir.open_egress(policy).map_err(io)?.0),
            None => None,
        };
        let options = AttachContainerOptions {
            stream: true,
            stdin: true,
            stdout: true,
            stderr: true,
            ..AttachContainerOptions::default()
        };
        let attached = self.docker.attach_container(&made.container, Some(options)).await;
        let attached = attached.map_err(|error| failed("attaching to the container", error))?;
        // The lifeline: it exits when we do.
        let (_input, mut said) = (attached.input, attached.output);
        let mut output = unnamed().map_err(io)?;
        let (mut stderr, mut left) = (String::new(), job.output_bytes_max);
        self.start(&made.container).await?;
        let listening = timeout(job.time_max, async {
            while let Some(Ok(piece)) = said.next().await {
                match piece {
                    LogOutput::StdOut { message } => {
                        let size = u64::try_from(message.len()).unwrap_or(u64::MAX);
                        let Some(rest) = left.checked_sub(size) else { return Ok(Heard::TooMuch) };
                        left = rest;
                        output.write_all(&message)?;
                    }
                    piece => {
                        keep_end(&mut stderr, &String::from_utf8_lossy(&piece.into_bytes()));
                    }
                }
            }
            Ok(Heard::All)
        });
        let (is_late, is_large) = match listening.await {
            Ok(heard) => (false, matches!(heard.map_err(io)?, Heard::TooMuch)),
            Err(_) => (true, false),
        };
        let mut end = made.gone.clone();
        let exit_code = match is_late || is_large {
            true => None,
            false => timeout(EXIT_CODE_MAX, end.wait_for(Option::is_some))
                .await
                .ok()
                .and_then(|end| end.ok().and_then(|end| *end))
                .and_then(|end| end.exit_code),
        };
        output.rewind().map_err(io)?;
        // The installer is only told that there is no way.
        for refusal in proxy.iter().flat_map(refusals) {
            keep_end(&mut stderr, &refusal);
        }
        Ok(Built { exit_code, is_late, is_large, output, stderr })
    }

    async fn store(
        &self,
        container: &str,
        archive: File,
        (repository, tag): (&str, &str),
        labels: &[(&str, &str)],
    ) -> Result<(), Error> {
        use bollard::models::ContainerConfig;
        use bollard::query_parameters::{CommitContainerOptions, UploadToContainerOptions};
        let options = UploadToContainerOptions {
            path: "/".to_owned(),
            ..UploadToContainerOptions::default()
        };
        let body = bollard::body_try_stream(chunks(archive));
        self.docker
            .upload_to_container(container, Some(options), body)
            .await
            .map_err(|error| failed("storing packages", error))?;
        let options = CommitContainerOptions {
            container: Some(container.to_owned()),
            repo: Some(repository.to_owned()),
            tag: Some(tag.to_owned()),
            ..CommitContainerOptions::default()
        };
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let config =
            ContainerConfig { labels: Some(labels.collect()), ..ContainerConfig::default() };
        self.docker
            .commit_container(options, config)
            .await
            .map_err(|error| failed("making an image", error))?;
        Ok(())
    }
}

/// Connections that were not made, and why.
fn refusals(proxy: &Proxy) -> BTreeSet<String> {
    let not_made = |connection: &Connection| {
        matches!(connection.state, ConnectionState::Refused | ConnectionState::Failed)
    };
    let line = |connection: Connection| {
        let Connection { host, port, reason, .. } = connection;
        format!("no connection to {host}:{port}: {}\n", reason.unwrap_or_default())
    };
    proxy.ledger().log().entries.into_iter().filter(not_made).map(line).collect()
}

/// A file that is gone when it is closed.
pub(crate) fn unnamed() -> io::Result<File> {
    let path = Path::new(ARCHIVES).join(format!("flowcell-build-{}", SlotId::random()));
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

/// A file that the container's user may read.
fn write(dir: &SlotDir, name: &str, content: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let path = dir.path().join(name);
    std::fs::write(&path, content)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644))
}

fn chunks(file: File) -> impl futures::Stream<Item = io::Result<bytes::Bytes>> + Send + 'static {
    futures::stream::unfold(file, async |mut file| {
        let read = tokio::task::spawn_blocking(move || {
            let mut chunk = vec![0; 256 * 1024];
            let length = file.read(&mut chunk);
            (
                file,
                length.map(|length| {
                    chunk.truncate(length);
                    chunk
                }),
            )
        });
        match read.await {
            Ok((_, Ok(chunk))) if chunk.is_empty() => None,
            Ok((file, Ok(chunk))) => Some((Ok(chunk.into()), file)),
            Ok((file, Err(error))) => Some((Err(error), file)),
            Err(_) => None,
        }
    })
}
