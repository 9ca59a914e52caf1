//! Makes a fault and undoes it.

use anyhow::Result;
use nix::sys::signal::Signal;
use tokio::time::sleep;

use crate::child::Ended;
use crate::clock::Shift;
use crate::cluster::{Cluster, DRAIN_WITHIN};
use crate::fault::{Fault, Planned, Server, Trouble};
use crate::servers::Store;

/// Returns once what caused the fault is over: a process that was ended has been started again. What
/// it returns should not have happened.
pub(crate) async fn inject(cluster: &Cluster, planned: Planned) -> Result<Option<String>> {
    let Planned { fault, instance, lasts, .. } = planned;
    let servers = &cluster.servers;
    match fault {
        Fault::Kill(service) => {
            let part = cluster.part(service, instance)?;
            part.kill()?;
            sleep(lasts).await;
            part.resume()?;
        }
        Fault::Restart(service) => {
            let part = cluster.part(service, instance)?;
            let ended = part.stop(DRAIN_WITHIN).await?;
            sleep(lasts).await;
            part.resume()?;
            return Ok(trouble_at_end(&part.name, ended));
        }
        Fault::Roll(service, to) => {
            let part = cluster.part(service, instance)?;
            let ended = part.stop(DRAIN_WITHIN).await?;
            part.become_program(cluster.builds.program(to));
            sleep(lasts).await;
            part.resume()?;
            return Ok(trouble_at_end(&part.name, ended));
        }
        Fault::ClockJump(service) => {
            for shift in [Shift::Ahead, Shift::Behind] {
                cluster.set_clock((service, instance), shift).await?;
                sleep(lasts / 2).await;
            }
            cluster.set_clock((service, instance), Shift::None).await?;
        }
        Fault::EngineKilled => cluster.engine()?.kill(lasts).await?,
        Fault::Freeze(service) => {
            let part = cluster.part(service, instance)?;
            part.signal(Signal::SIGSTOP)?;
            sleep(lasts).await;
            part.signal(Signal::SIGCONT)?;
        }
        Fault::Link(service, server, trouble) => {
            cluster.set_link((service, instance), server, Some(trouble))?;
            sleep(lasts).await;
            cluster.set_link((service, instance), server, None)?;
        }
        Fault::PostgresFailover => {
            cluster.set_links(Server::Postgres, Some(Trouble::Cut));
            sleep(lasts).await;
            cluster.set_links(Server::Postgres, None);
        }
        Fault::NatsKilled => servers.kill_nats(lasts, Store::Kept).await?,
        Fault::NatsWiped => servers.kill_nats(lasts, Store::Lost).await?,
        Fault::PostgresCrashed => servers.crash_postgres(lasts).await?,
        Fault::DiskFull(server) => servers.fill_disk(server, lasts).await?,
    }
    Ok(None)
}

/// A process that drains may fail when what it depends on is broken at the same time; one that
/// does not end is a defect in any case.
fn trouble_at_end(name: &str, ended: Option<Ended>) -> Option<String> {
    match ended {
        Some(Ended::Killed) => {
            Some(format!("{name} did not end within {} s of SIGTERM", DRAIN_WITHIN.as_secs()))
        }
        Some(Ended::ByItself(_)) | None => None,
    }
}
