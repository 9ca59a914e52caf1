//! `zygote`: a container with nothing in it but a first process of ours, and a forked runner that
//! enters it.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::net::UnixStream;
use zygote::message::Step;

use super::made::{Booted, Made, first_frame};
use super::zygotes::{Fate, Zygote, first_process};
use super::{CELL_SOCKET, Inner};
use crate::sandbox::connection::Connection;
use crate::sandbox::slot::Lifeline;
use crate::sandbox::{Error, SlotId};

impl Inner {
    /// From a created hollow container to a child inside it that is ready.
    pub(super) async fn inhabit(
        &self,
        made: &mut Made,
        zygote: &Arc<Zygote>,
    ) -> Result<Booted, Error> {
        self.start(&made.container).await?;
        let (stream, process) = meet(made).await?;
        settle(made.id, stream, &process, zygote, self.limits.open_files).await
    }
}

/// Forks a runner into the cell of that process and waits until it is ready.
pub(super) async fn settle(
    id: SlotId,
    stream: UnixStream,
    process: &OwnedFd,
    zygote: &Arc<Zygote>,
    open_files: u32,
) -> Result<Booted, Error> {
    let (mut child, socket) = zygote.fork(id, process, open_files).await?;
    let mut connection = Connection::new(socket);
    let ready = tokio::select! {
        biased;
        ready = first_frame(&mut connection) => ready?,
        fate = child.fate() => return Err(stillborn(fate)),
    };
    let cgroup = child.group().await;
    let lifeline = Lifeline::socket(stream);
    Ok(Booted { ready, connection, cgroup, lifeline, child: Some(child) })
}

/// Accepts the cell's first process, which gives us a descriptor of itself: nobody else can be
/// taken for it, whatever numbers processes get.
async fn meet(made: &mut Made) -> Result<(UnixStream, OwnedFd), Error> {
    let io = |source| Error::Io { doing: "meeting the cell's first process", source };
    let stream = made.accept().await?;
    made.dir.unlink(CELL_SOCKET).map_err(io)?;
    let process = first_process(&stream).await.map_err(io)?;
    Ok((stream, process))
}

/// Why there is no runner although a child was asked for.
fn stillborn(fate: Option<Fate>) -> Error {
    match fate {
        Some(Fate::Failed { doing, error }) => Error::Engine { doing, reason: error.to_string() },
        Some(Fate::Ended(status)) => match Step::of_exit_code(status) {
            Some(step) => Error::Engine { doing: step.doing(), reason: "in the child".into() },
            None => Error::Exited { exit_code: Some(status.into()), stderr: String::new() },
        },
        None => Error::Exited { exit_code: None, stderr: " (its zygote is gone)".into() },
    }
}
