//! Which containers may be made: cells, builds, layers and zygotes, as `worker` makes them.
//!
//! A field is refused unless it says what it has to say. What decides about system calls and `/proc`
//! is not taken from the request at all: the gate writes its own.

mod host;

use std::path::{Path, PathBuf};

use zygote::launch::{HIDDEN, READ_ONLY};
use zygote::lockdown::{CELL_GROUP, user_of};

use crate::body::{Create, Mount, Texts};
use crate::peer::Peer;
use crate::refusal::{Refusal, must};

/// Whose containers share an engine.
pub(crate) const LABEL_CLUSTER: &str = "flowcell.cluster";
pub(crate) const LABEL_KIND: &str = "flowcell.kind";
const LABEL_WORKER: &str = "flowcell.worker";
const LABEL_EPOCH: &str = "flowcell.epoch";
const LABEL_SLOT: &str = "flowcell.slot";
/// The user whose process asked for it. The gate adds it.
pub(crate) const LABEL_USER: &str = "flowcell.user";

/// Where a cell finds its folder, and the file of names in it.
const FOLDER: &str = "/run/flowcell";
const HOSTS: &str = "/etc/hosts";
/// Where a build finds the operator's wheels.
const WHEELS: &str = "/srv/wheels";
/// The first process of a hollow cell.
const CELL_INIT: [&str; 2] = ["/opt/flowcell/bin/flowcell-cell", "init"];
const ZYGOTE: [&str; 3] = ["/opt/flowcell/bin/python", "-m", "flowcell_runner.zygote"];

/// What containers there are. Launchers of `native` cells are not among them: the engine's lists
/// of system calls do not hold for these, and they may write control groups of the whole host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Cell,
    Zygote,
    Build,
    Layer,
}

impl Kind {
    pub(crate) fn of(label: &str) -> Option<Self> {
        Some(match label {
            "cell" => Self::Cell,
            "zygote" => Self::Zygote,
            "build" => Self::Build,
            "layer" => Self::Layer,
            _ => return None,
        })
    }

    /// What comes before the slot in a container's name.
    fn prefix(self) -> &'static str {
        match self {
            Self::Cell => "flowcell-",
            Self::Zygote => "flowcell-zygote-",
            Self::Build => "flowcell-build-",
            Self::Layer => "flowcell-layer-",
        }
    }

    /// Whether images with packages of flows will do. Nothing of these may ever have rights.
    pub(crate) fn may_be_packaged(self) -> bool {
        self == Self::Cell
    }
}

/// What every container has to be like.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) cluster: String,
    pub(crate) oci_runtimes: Vec<String>,
    pub(crate) wheels: Option<PathBuf>,
}

/// What a container is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checked {
    pub(crate) kind: Kind,
    /// 16 hexadecimal digits.
    pub(crate) slot: String,
    /// The folder that it is to see.
    pub(crate) folder: Option<PathBuf>,
}

impl Rules {
    /// Checks everything but the image and the folder, and puts in what is the gate's to say.
    pub(crate) fn check(
        &self,
        body: &mut Create,
        name: &str,
        peer: Peer,
    ) -> Result<Checked, Refusal> {
        let (kind, slot) = self.labels(&mut body.labels, peer)?;
        must(name == format!("{}{slot}", kind.prefix()), "name", "the name follows from the slot")?;
        must(body.network_disabled, "network", "cells have no network")?;
        must(!body.tty, "tty", "cells have no terminal")?;
        must(body.hostname.as_deref().is_none_or(|name| name == "cell"), "hostname", "is `cell`")?;
        self.program(body, kind, &slot)?;
        self.host(&body.host_config, kind, user_number(&slot))?;
        let folder = self.mounts(&body.host_config.mounts, kind)?;
        let is_hollow = body.entrypoint.is_some();
        seal(body, kind, is_hollow);
        Ok(Checked { kind, slot, folder })
    }

    fn labels(&self, labels: &mut Texts, peer: Peer) -> Result<(Kind, String), Refusal> {
        let known = [LABEL_CLUSTER, LABEL_KIND, LABEL_WORKER, LABEL_EPOCH, LABEL_SLOT];
        let all =
            labels.0.len() == known.len() && known.iter().all(|name| labels.get(name).is_some());
        must(all, "labels", "a container has the five labels of a worker, and no others")?;
        let ours = labels.get(LABEL_CLUSTER) == Some(&self.cluster);
        must(ours, "cluster", "this gate is for another cluster (worker.cluster)")?;
        must(
            labels.get(LABEL_KIND) != Some("launcher"),
            "native",
            "`native` cells need rights over the whole host: use the backend `zygote` or `warm`",
        )?;
        let kind = labels.get(LABEL_KIND).and_then(Kind::of);
        let kind = kind.ok_or_else(|| Refusal::new("labels", "no such kind of container"))?;
        let slot = labels.get(LABEL_SLOT).unwrap_or_default().to_owned();
        let digits = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        must(slot.len() == 16 && slot.chars().all(digits), "labels", "a slot has 16 digits")?;
        labels.0.insert(LABEL_USER.to_owned(), peer.user.to_string());
        Ok((kind, slot))
    }

    /// Which program runs, as whom, with which streams.
    fn program(&self, body: &Create, kind: Kind, slot: &str) -> Result<(), Refusal> {
        let user = body.user.as_deref();
        let entrypoint: Option<Vec<&str>> =
            body.entrypoint.as_ref().map(|words| words.iter().map(String::as_str).collect());
        let entrypoint = entrypoint.as_deref();
        let streams = (body.attach_stdin, body.attach_stdout, body.open_stdin);
        match kind {
            Kind::Cell | Kind::Build => {
                let own = format!("{}:{CELL_GROUP}", user_number(slot));
                must(user == Some(&own), "user", "a cell has the user of its slot")?;
                let hollow = kind == Kind::Cell && entrypoint == Some(&CELL_INIT);
                must(entrypoint.is_none() || hollow, "program", "no other program runs in a cell")
            }
            Kind::Zygote => {
                must(user == Some("0:0"), "user", "a zygote gives its rights up by itself")?;
                must(entrypoint == Some(&ZYGOTE), "program", "a zygote runs the zygote")?;
                must(streams == (false, false, false), "streams", "nobody writes to a zygote")
            }
            Kind::Layer => {
                must(user.is_none() && entrypoint.is_none(), "program", "a layer runs nothing")?;
                must(streams == (false, false, false), "streams", "a layer has no streams")
            }
        }
    }

    /// The folder that a container sees: the same for every mount.
    fn mounts(&self, mounts: &[Mount], kind: Kind) -> Result<Option<PathBuf>, Refusal> {
        let bound = mounts.iter().all(|mount| mount.kind == "bind");
        must(bound, "mounts", "mounts are binds of folders")?;
        let at = |target: &str| mounts.iter().find(|mount| mount.target == target);
        let count = |with_wheels: bool| if with_wheels { 3 } else { 2 };
        let wheels = at(WHEELS).filter(|_| kind == Kind::Build);
        let expected = match kind {
            Kind::Layer => 0,
            Kind::Zygote => 2,
            Kind::Cell | Kind::Build => count(wheels.is_some()),
        };
        must(mounts.len() == expected, "mounts", "a mount that no worker asks for")?;
        if kind == Kind::Layer {
            return Ok(None);
        }
        let folder = at(FOLDER).filter(|mount| is_fenced(mount));
        let folder = folder.ok_or_else(|| {
            Refusal::new("mounts", format!("its folder is at {FOLDER}, for reading only"))
        })?;
        let source = Path::new(&folder.source);
        if kind == Kind::Zygote {
            let groups = at(zygote::serve::CGROUP_MOUNTS);
            let good = groups.is_some_and(|groups| {
                groups.source == "/sys/fs/cgroup" && groups.bind_options.is_none()
            });
            must(good, "mounts", "a zygote sees the control groups, and its folder")?;
            return Ok(Some(source.to_owned()));
        }
        let names = at(HOSTS).filter(|mount| is_fenced(mount));
        let names = names.is_some_and(|names| Path::new(&names.source) == source.join("hosts"));
        must(names, "mounts", "a cell's /etc/hosts is the file in its folder")?;
        if let Some(wheels) = wheels {
            let allowed = self.wheels.as_deref() == Some(Path::new(&wheels.source));
            must(allowed && is_fenced(wheels), "mounts", "these are not the wheels (--wheels)")?;
        }
        Ok(Some(source.to_owned()))
    }
}

/// A mount that nothing can be written to, and that hides what is mounted later.
fn is_fenced(mount: &Mount) -> bool {
    mount.read_only && mount.bind_options.as_ref().is_some_and(|o| o.propagation == "rprivate")
}

/// The user of a slot's cell.
fn user_number(slot: &str) -> u32 {
    u64::from_str_radix(slot, 16).map_or(u32::MAX, user_of)
}

/// Puts the gate's own lists in the place of those that came.
fn seal(body: &mut Create, kind: Kind, is_hollow: bool) {
    if matches!(kind, Kind::Cell | Kind::Build) {
        let profile =
            if is_hollow { seccomp::docker_stub_profile() } else { seccomp::docker_profile() };
        let host = &mut body.host_config;
        host.security_opt = vec!["no-new-privileges:true".into(), format!("seccomp={profile}")];
        let hidden = HIDDEN.iter().map(|name| format!("/proc/{name}"));
        let devices = ["/sys/firmware", "/sys/devices/virtual/powercap"].map(str::to_owned);
        host.masked_paths = Some(hidden.chain(devices).collect());
        host.readonly_paths = Some(READ_ONLY.iter().map(|name| format!("/proc/{name}")).collect());
    }
}

/// Puts the folder that the gate keeps in the place of the worker's.
pub(crate) fn rebind(body: &mut Create, folder: &Path) {
    for mount in &mut body.host_config.mounts {
        match mount.target.as_str() {
            FOLDER => mount.source = folder.to_string_lossy().into_owned(),
            HOSTS => mount.source = folder.join("hosts").to_string_lossy().into_owned(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
