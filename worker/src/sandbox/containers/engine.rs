//! The calls to the engine, with its traps: versions, removals that are under way, streams that
//! never end.

use std::pin::Pin;
use std::time::Duration;

use bollard::Docker;
use bollard::container::{AttachContainerResults, LogOutput};
use bollard::errors::Error as Engine;
use bollard::models::{ContainerCreateBody, ContainerUpdateBody};
use bollard::query_parameters::{
    AttachContainerOptions, CreateContainerOptions, InspectContainerOptions,
    RemoveContainerOptions, StartContainerOptions, WaitContainerOptions,
};
use domain::limits::CellLimits;
use futures::{Stream, StreamExt};
use tokio::io::AsyncWrite;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{End, Inner, REMOVE_MAX};
use crate::sandbox::Error;

/// What is kept of a runner's standard error while it starts.
const STDERR_BYTES_MAX: usize = 2_000;

/// How long the engine may take to begin an answer.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// Connects to the engine and agrees on the version of its API.
pub(crate) async fn connect(host: &str) -> Result<Docker, Error> {
    let unreachable = |error: Engine| Error::EngineUnreachable { reason: error.to_string() };
    let docker =
        Docker::connect_with_unix(host, ANSWER_MAX.as_secs(), bollard::API_DEFAULT_VERSION)
            .map_err(unreachable)?;
    timeout(ANSWER_MAX, docker.negotiate_version())
        .await
        .unwrap_or(Err(Engine::RequestTimeoutError))
        .map_err(unreachable)
}

impl Inner {
    pub(super) async fn create(
        &self,
        name: &str,
        body: ContainerCreateBody,
    ) -> Result<String, Error> {
        let image = body.image.clone().unwrap_or_default();
        let options = CreateContainerOptions {
            name: Some(name.to_owned()),
            ..CreateContainerOptions::default()
        };
        match self.docker.create_container(Some(options), body).await {
            Ok(created) => Ok(created.id),
            Err(Engine::DockerResponseServerError { status_code: 404, .. }) => {
                Err(Error::ImageMissing { image })
            }
            Err(error) => Err(failed("creating the container", error)),
        }
    }

    /// Opens standard input and error. Before the start, or the first output would be lost.
    pub(super) async fn attach(
        &self,
        container: &str,
        stdin: bool,
    ) -> Result<(Input, StderrTail), Error> {
        let options = AttachContainerOptions {
            stream: true,
            stdin,
            stderr: true,
            ..AttachContainerOptions::default()
        };
        let AttachContainerResults { output, input } = self
            .docker
            .attach_container(container, Some(options))
            .await
            .map_err(|error| failed("attaching to the container", error))?;
        Ok((input, StderrTail::follow(output)))
    }

    pub(super) async fn start(&self, container: &str) -> Result<(), Error> {
        self.docker
            .start_container(container, None::<StartContainerOptions>)
            .await
            .map_err(|error| failed("starting the container", error))
    }

    /// The image that a container was made of, by its digest.
    pub(super) async fn image_of(&self, container: &str) -> Result<String, Error> {
        let doing = "looking at the container";
        let options = None::<InspectContainerOptions>;
        let inspected = self.docker.inspect_container(container, options).await;
        let image = inspected.map_err(|error| failed(doing, error))?.image;
        image.ok_or_else(|| Error::Engine { doing, reason: "it has no image".into() })
    }

    /// The first process, in this host's numbers.
    pub(super) async fn pid(&self, container: &str) -> Option<i64> {
        let inspected =
            self.docker.inspect_container(container, None::<InspectContainerOptions>).await.ok()?;
        inspected.state?.pid.filter(|pid| *pid > 0)
    }

    pub(super) async fn update(
        &self,
        container: &str,
        update: ContainerUpdateBody,
        limits: &CellLimits,
    ) -> Result<(), Error> {
        let changes_memory = update.memory.is_some();
        match self.docker.update_container(container, update).await {
            Ok(()) => Ok(()),
            // The kernel refuses a limit below what is in use.
            Err(Engine::DockerResponseServerError { message, .. }) if changes_memory => {
                Err(Error::MemoryTooSmall { memory_bytes: limits.memory_bytes, reason: message })
            }
            Err(error) => Err(failed("updating the container's limits", error)),
        }
    }

    /// Kills and removes a container, and waits until it is gone.
    pub(super) async fn remove(&self, container: &str, mut end: watch::Receiver<Option<End>>) {
        let removed = timeout(REMOVE_MAX, async {
            if remove(&self.docker, container).await == Removal::UnderWay {
                // The wait ends when it is gone.
                let _ = end.wait_for(Option::is_some).await;
            }
        });
        if removed.await.is_err() {
            tracing::warn!(container.id = %container, "container was not removed in time");
        }
    }
}

/// What came of a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removal {
    /// It was asked for, or could not be: the log says why, and the next sweep tries again.
    Asked,
    /// Somebody else is already removing it.
    UnderWay,
    /// The engine knows no such container. One that was killed while it removed a container by
    /// itself may go on listing it until its next start.
    NotThere,
}

/// Kills and removes.
pub(crate) async fn remove(docker: &Docker, container: &str) -> Removal {
    let options = RemoveContainerOptions { force: true, v: true, link: false };
    match docker.remove_container(container, Some(options)).await {
        Ok(()) => Removal::Asked,
        Err(Engine::DockerResponseServerError { status_code: 404, .. }) => Removal::NotThere,
        Err(Engine::DockerResponseServerError { status_code: 409, .. }) => Removal::UnderWay,
        Err(error) => {
            tracing::warn!(container.id = %container, %error, "removing a container failed");
            Removal::Asked
        }
    }
}

/// Follows a container to its removal. The stream of an attach may never end, this one does.
pub(super) fn watch_end(docker: Docker, container: String, sender: watch::Sender<Option<End>>) {
    tokio::spawn(async move {
        let options = WaitContainerOptions { condition: "removed".into() };
        let mut waiting = Box::pin(docker.wait_container(&container, Some(options)));
        let exit_code = match waiting.next().await {
            Some(Ok(response)) => Some(response.status_code),
            Some(Err(Engine::DockerContainerWaitError { code, .. })) => Some(code),
            Some(Err(_)) | None => None,
        };
        // Nobody may be left who wants to know.
        let _ = sender.send(Some(End { exit_code }));
    });
}

/// A container's standard input.
pub(super) type Input = Pin<Box<dyn AsyncWrite + Send>>;

type Output = Pin<Box<dyn Stream<Item = Result<LogOutput, Engine>> + Send>>;

/// Collects the end of a starting runner's standard error. Dropped when the runner is ready: from
/// then on nobody reads, and output beyond the engine's small buffer blocks whoever writes it.
#[derive(Debug)]
pub(super) struct StderrTail {
    task: JoinHandle<()>,
    text: watch::Receiver<String>,
}

impl StderrTail {
    fn follow(mut output: Output) -> Self {
        let (sender, text) = watch::channel(String::new());
        let task = tokio::spawn(async move {
            while let Some(Ok(piece)) = output.next().await {
                let piece = String::from_utf8_lossy(&piece.into_bytes()).into_owned();
                sender.send_modify(|tail| keep_end(tail, &piece));
            }
        });
        Self { task, text }
    }

    /// What was written; waits a moment for what is still under way.
    pub(super) async fn finish(mut self) -> String {
        let _ = timeout(Duration::from_millis(200), &mut self.task).await;
        self.text.borrow().trim().to_owned()
    }
}

impl Drop for StderrTail {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) fn keep_end(tail: &mut String, piece: &str) {
    tail.push_str(piece);
    let excess = tail.len().saturating_sub(STDERR_BYTES_MAX);
    let cut = (excess..=tail.len()).find(|index| tail.is_char_boundary(*index)).unwrap_or(0);
    tail.drain(..cut);
}

pub(super) fn failed(doing: &'static str, error: Engine) -> Error {
    match error {
        Engine::DockerResponseServerError { message, .. } => {
            Error::Engine { doing, reason: message }
        }
        Engine::RequestTimeoutError => {
            Error::EngineUnreachable { reason: format!("{doing} got no answer in time") }
        }
        other => Error::EngineUnreachable { reason: format!("{doing}: {other}") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_text_is_kept_at_character_boundaries() {
        let mut tail = String::new();
        keep_end(&mut tail, &"ä".repeat(STDERR_BYTES_MAX));
        assert!(tail.len() <= STDERR_BYTES_MAX);
        keep_end(&mut tail, "x");
        assert!(tail.len() <= STDERR_BYTES_MAX && tail.ends_with("äx"));
    }
}
