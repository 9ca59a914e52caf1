//! Small disks for Postgres and NATS that can be filled: memory file systems in a mount namespace
//! of a process of ours. They go with that process, however this one ends.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::unistd::Uid;

use crate::child::Child;
use crate::command::Program;
use crate::fault::Server;

/// Postgres' own files are 40 MB, and two segments of its log 32 more.
const POSTGRES_MEGABYTES: u32 = 384;
const NATS_MEGABYTES: u32 = 192;

const MOUNTED_WITHIN: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(20);

const CHUNK_BYTES: usize = 64 * 1024;

#[derive(Debug)]
pub(crate) struct Disks {
    keeper: Child,
    home: PathBuf,
}

/// Why there are no disks that can be filled, if so.
pub(crate) fn unavailable() -> Option<&'static str> {
    (!Uid::effective().is_root()).then_some("needs root, for a small disk of its own")
}

impl Disks {
    /// Mounts both.
    pub(crate) async fn mount(home: &Path) -> Result<Self> {
        let mut script = String::from("set -e\n");
        for (server, megabytes) in
            [(Server::Postgres, POSTGRES_MEGABYTES), (Server::Nats, NATS_MEGABYTES)]
        {
            let folder = folder(home, server);
            fs::create_dir(&folder)?;
            script.push_str(&format!(
                "mount -t tmpfs -o size={megabytes}m,mode=0711 drill '{}'\n",
                folder.display()
            ));
        }
        script
            .push_str(&format!("touch '{}'\nexec sleep infinity", home.join("mounted").display()));
        let words = ["unshare", "--mount", "--propagation=private", "--", "sh", "-c"];
        let program = Program::new(words.into_iter().map(str::to_owned).chain([script]));
        let mut keeper = Child::new(program.start(&home.join("logs/disks.log"))?);
        wait_mounted(&mut keeper, &home.join("mounted")).await?;
        Ok(Self { keeper, home: home.to_owned() })
    }

    /// The process that sees them.
    pub(crate) fn keeper(&self) -> u32 {
        self.keeper.id()
    }

    /// A path below a disk, as this process reaches it.
    pub(crate) fn outside(&self, path: &Path) -> PathBuf {
        let path = path.strip_prefix("/").unwrap_or(path);
        PathBuf::from(format!("/proc/{}/root", self.keeper.id())).join(path)
    }

    /// Writes until nothing more can be written.
    pub(crate) fn fill(&self, server: Server) -> Result<()> {
        let mut ballast = File::create(self.ballast(server)).context("filling a disk")?;
        let mut chunk = CHUNK_BYTES;
        while chunk > 0 {
            if ballast.write_all(&vec![0; chunk]).is_err() {
                chunk /= 2;
            }
        }
        Ok(())
    }

    /// Makes room again.
    pub(crate) fn free(&self, server: Server) -> Result<()> {
        fs::remove_file(self.ballast(server)).context("making room on a disk")
    }

    fn ballast(&self, server: Server) -> PathBuf {
        self.outside(&folder(&self.home, server)).join("ballast")
    }
}

/// Where a server's disk is, or its folder when there are no disks.
pub(crate) fn folder(home: &Path, server: Server) -> PathBuf {
    home.join(match server {
        Server::Postgres => "postgres",
        Server::Nats => "nats",
    })
}

async fn wait_mounted(keeper: &mut Child, mark: &Path) -> Result<()> {
    let until = tokio::time::Instant::now() + MOUNTED_WITHIN;
    while !mark.exists() {
        if let Some(status) = keeper.ended() {
            bail!(
                "small disks could not be mounted ({status}): see logs/disks.log, or leave them out with --no-disks"
            );
        }
        if tokio::time::Instant::now() > until {
            bail!("mounting small disks takes too long");
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}
