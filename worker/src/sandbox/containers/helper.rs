//! A privileged container of this worker: started, and connected to us over a socket of its own.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use bollard::models::ContainerCreateBody;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::timeout;
use zygote::channel;
use zygote::message::Answer;

use super::made::Made;
use super::{Inner, Known, explain};
use crate::sandbox::slot::{End, SlotDir};
use crate::sandbox::{Error, SlotId};

/// A zygote or launcher that has connected.
#[derive(Debug)]
pub(super) struct Helper {
    pub(super) container: String,
    /// By its digest: a name may stand for another image tomorrow.
    pub(super) image: String,
    /// To wait for its answers with.
    pub(super) reading: UnixStream,
    /// To send it requests with.
    pub(super) control: UnixStream,
    pub(super) gone: watch::Receiver<Option<End>>,
    pub(super) dir: SlotDir,
    pub(super) known: Known,
}

impl Helper {
    /// Starts one and waits until it connects to `socket` in its directory.
    pub(super) async fn start(
        inner: &Arc<Inner>,
        kind: &str,
        socket: &str,
        body: impl FnOnce(SlotId, &SlotDir) -> ContainerCreateBody,
    ) -> Result<Self, Error> {
        let id = SlotId::random();
        let known = Known::enter(inner, id);
        let body = |dir: &SlotDir| body(id, dir);
        let mut made = inner.make(id, &format!("flowcell-{kind}-{id}"), socket, body).await?;
        let (_input, stderr) = inner.attach(&made.container, false).await?;
        let after_ms = inner.pool.ready_ms_max;
        let met = tokio::select! {
            met = timeout(inner.pool.ready_max(), meet(inner, &mut made)) => met
                .unwrap_or(Err(Error::NotReady { after_ms, stderr: String::new() })),
            () = inner.house.closed.cancelled() => Err(Error::Died),
        };
        let (image, control) = match met {
            Ok(found) => found,
            Err(error) => {
                let error = explain(error, stderr).await;
                return Err(inner.discard(made, error).await);
            }
        };
        let io = |source| Error::Io { doing: "using a helper's socket", source };
        let (reading, control) = doubled(control).map_err(io)?;
        let Made { container, dir, gone, .. } = made;
        Ok(Self { container, image, reading, control, gone, dir, known })
    }
}

async fn meet(inner: &Inner, made: &mut Made) -> Result<(String, UnixStream), Error> {
    inner.start(&made.container).await?;
    let stream = made.accept().await?;
    Ok((inner.image_of(&made.container).await?, stream))
}

/// The next answer, with its descriptors; `None` when the other side is gone.
pub(super) async fn receive(stream: &UnixStream) -> io::Result<Option<(Answer, Vec<OwnedFd>)>> {
    let read = || channel::receive(stream.as_fd());
    let Some((bytes, descriptors)) = stream.async_io(Interest::READABLE, read).await? else {
        return Ok(None);
    };
    let answer = Answer::decode(&bytes)
        .map_err(|malformed| io::Error::new(io::ErrorKind::InvalidData, malformed))?;
    Ok(Some((answer, descriptors)))
}

/// Two handles of one socket: one to wait for reading with, one for writing.
fn doubled(stream: UnixStream) -> io::Result<(UnixStream, UnixStream)> {
    let stream = stream.into_std()?;
    let copy = stream.try_clone()?;
    Ok((UnixStream::from_std(stream)?, UnixStream::from_std(copy)?))
}
