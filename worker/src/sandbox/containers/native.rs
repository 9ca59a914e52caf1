//! `native`: a cell that a launcher of ours makes, without the engine, and a forked runner that
//! enters it.

use std::sync::Arc;
use std::time::Instant;

use tokio::time::timeout;
use zygote::message::Step;

use super::hollow::settle;
use super::launchers::{Launched, Launcher};
use super::made::Booted;
use super::zygotes::{Child, Zygote, first_process};
use super::{Inner, LIFELINE_MAX};
use crate::sandbox::slot::{End, SlotDir};
use crate::sandbox::{Error, Slot, SlotId, SlotSpec};

impl Inner {
    /// A cell that exists in the kernel only: nothing of it is known to the engine.
    pub(super) async fn prepare_native(
        self: &Arc<Self>,
        id: SlotId,
        spec: &SlotSpec,
    ) -> Result<Slot, Error> {
        let zygote = self.house.zygote(self, &spec.image).await?;
        let launcher = self.house.launcher(self, &spec.image, &zygote).await?;
        let io = |source| Error::Io { doing: "making the slot's directory", source };
        let dir = SlotDir::create(&self.root, id).map_err(io)?;
        let after_ms = self.pool.ready_ms_max;
        let built = timeout(self.pool.ready_max(), self.build(id, spec, &launcher, &zygote)).await;
        let (booted, cell) =
            built.unwrap_or(Err(Error::NotReady { after_ms, stderr: String::new() }))?;
        let gone = cell.end();
        Ok(Slot {
            id,
            spec: spec.clone(),
            container: format!("native-{id}"),
            ready: booted.ready,
            since: Instant::now(),
            dir,
            connection: Some(booted.connection),
            proxy: None,
            cgroup: booted.cgroup,
            end: booted.child.as_ref().map_or_else(|| gone.clone(), Child::end),
            gone,
            lifeline: Some(booted.lifeline),
            _child: booted.child,
            cell: Some(cell),
        })
    }

    async fn build(
        &self,
        id: SlotId,
        spec: &SlotSpec,
        launcher: &Arc<Launcher>,
        zygote: &Arc<Zygote>,
    ) -> Result<(Booted, Launched), Error> {
        let (mut cell, stream) = launcher.launch(id, spec, &self.limits).await?;
        let mut end = cell.end();
        let settled = async {
            let met = |source| Error::Io { doing: "making the cell", source };
            let process = first_process(&stream).await.map_err(met)?;
            let booted = settle(id, stream, &process, zygote, self.limits.open_files).await?;
            Ok((booted, process))
        };
        let settled = tokio::select! {
            biased;
            settled = settled => settled,
            ended = end.wait_for(Option::is_some) => Err(stillborn(ended.ok().and_then(|e| *e))),
        };
        match settled {
            Ok((booted, process)) => {
                cell.met(process);
                Ok((booted, cell))
            }
            Err(error) => {
                // Its socket is closed by now. Its directory has to outlive it.
                let _ = timeout(LIFELINE_MAX, end.wait_for(Option::is_some)).await;
                Err(error)
            }
        }
    }
}

fn stillborn(end: Option<End>) -> Error {
    let exit_code = end.and_then(|end| end.exit_code);
    let step = exit_code.and_then(|code| i32::try_from(code).ok()).and_then(Step::of_exit_code);
    match step {
        Some(step) => Error::Engine { doing: step.doing(), reason: "in the launcher".into() },
        None => Error::Exited { exit_code, stderr: String::new() },
    }
}
