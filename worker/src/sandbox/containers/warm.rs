//! `warm`: the runner is the container's first process and imports everything there.

use proto::frame::Ready;
use tokio::time::timeout;

use super::made::{Booted, Made, first_frame};
use super::{CELL_SOCKET, Inner, explain};
use crate::sandbox::Error;
use crate::sandbox::cgroup::Cgroup;
use crate::sandbox::connection::Connection;
use crate::sandbox::slot::Lifeline;

impl Inner {
    /// From a created container to a runner that is ready.
    pub(super) async fn boot(&self, made: &mut Made) -> Result<Booted, Error> {
        let (input, stderr) = self.attach(&made.container, true).await?;
        let lifeline = Lifeline::input(input);
        self.start(&made.container).await?;
        let cgroup = self.pid(&made.container).await.and_then(Cgroup::of);
        let after_ms = self.pool.ready_ms_max;
        let shaken = timeout(self.pool.ready_max(), shake(made))
            .await
            .unwrap_or(Err(Error::NotReady { after_ms, stderr: String::new() }));
        match shaken {
            Ok((ready, connection)) => {
                Ok(Booted { ready, connection, cgroup, lifeline, child: None })
            }
            Err(error) => Err(explain(error, stderr).await),
        }
    }
}

/// Accepts the one connection and reads the one frame that makes a slot.
async fn shake(made: &mut Made) -> Result<(Ready, Connection), Error> {
    let io = |source| Error::Io { doing: "removing the runner's socket", source };
    let stream = made.accept().await?;
    made.dir.unlink(CELL_SOCKET).map_err(io)?;
    let mut connection = Connection::new(stream);
    let ready = tokio::select! {
        biased;
        ready = first_frame(&mut connection) => ready?,
        error = made.ended() => return Err(error),
    };
    Ok((ready, connection))
}
