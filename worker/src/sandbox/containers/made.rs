//! A container from its creation to its becoming a slot.

use std::time::Instant;

use bollard::models::ContainerCreateBody;
use proto::frame::{FromRunner, Ready};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use super::Inner;
use super::engine::watch_end;
use super::zygotes::Child;
use crate::sandbox::cgroup::Cgroup;
use crate::sandbox::connection::Connection;
use crate::sandbox::slot::{End, Lifeline, SlotDir};
use crate::sandbox::{Error, Slot, SlotId, SlotSpec};

/// A container that exists and was not started, with a socket in its directory that we listen on.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) id: SlotId,
    pub(super) container: String,
    pub(super) dir: SlotDir,
    pub(super) listener: UnixListener,
    /// Its removal.
    pub(super) gone: watch::Receiver<Option<End>>,
}

/// What a container has once its runner is ready.
pub(super) struct Booted {
    pub(super) ready: Ready,
    pub(super) connection: Connection,
    pub(super) cgroup: Option<Cgroup>,
    pub(super) lifeline: Lifeline,
    pub(super) child: Option<Child>,
}

impl Made {
    /// Why it ended before it was ready; pending as long as it has not.
    pub(super) async fn ended(&mut self) -> Error {
        let ended = self.gone.wait_for(Option::is_some).await;
        let exit_code = ended.ok().and_then(|end| end.and_then(|end| end.exit_code));
        Error::Exited { exit_code, stderr: String::new() }
    }

    /// The first that connects; an error when the container ends before.
    pub(super) async fn accept(&mut self) -> Result<UnixStream, Error> {
        let mut gone = self.gone.clone();
        let accepted = tokio::select! {
            biased;
            accepted = self.listener.accept() => Some(accepted),
            _ = gone.wait_for(Option::is_some) => None,
        };
        match accepted {
            Some(Ok((stream, _))) => Ok(stream),
            Some(Err(source)) => Err(Error::Io { doing: "accepting a connection", source }),
            None => Err(self.ended().await),
        }
    }

    pub(super) fn into_slot(self, spec: &SlotSpec, booted: Booted) -> Slot {
        let end = booted.child.as_ref().map_or_else(|| self.gone.clone(), Child::end);
        Slot {
            id: self.id,
            spec: spec.clone(),
            container: self.container,
            ready: booted.ready,
            since: Instant::now(),
            dir: self.dir,
            connection: Some(booted.connection),
            proxy: None,
            cgroup: booted.cgroup,
            end,
            gone: self.gone,
            lifeline: Some(booted.lifeline),
            _child: booted.child,
        }
    }
}

impl Inner {
    /// Makes the directory, listens, and has the engine create the container.
    pub(super) async fn make(
        &self,
        id: SlotId,
        name: &str,
        socket: &str,
        body: impl FnOnce(&SlotDir) -> ContainerCreateBody,
    ) -> Result<Made, Error> {
        let io = |source| Error::Io { doing: "making the slot's socket", source };
        let dir = SlotDir::create(&self.root, id).map_err(io)?;
        let listener = dir.listen(socket).map_err(io)?;
        let container = self.create(name, body(&dir)).await?;
        let (sender, gone) = watch::channel(None);
        watch_end(self.docker.clone(), container.clone(), sender);
        Ok(Made { id, container, dir, listener, gone })
    }

    /// Removes what did not become a slot.
    pub(super) async fn discard(&self, made: Made, why: Error) -> Error {
        self.remove(&made.container, made.gone).await;
        why
    }
}

/// The first frame of a runner has to be `ready`.
pub(super) async fn first_frame(connection: &mut Connection) -> Result<Ready, Error> {
    match connection.next().await {
        Some(Ok(received)) => match received.frame {
            FromRunner::Ready(ready) => Ok(ready),
            _ => Err(Error::Handshake { found: "another frame".into() }),
        },
        Some(Err(error)) => Err(Error::Handshake { found: error.to_string() }),
        // The runner's end says more than the end of its connection.
        None => std::future::pending().await,
    }
}
