//! Whose a container is. Labels never change, so what was seen once is known.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Deserialize;

use crate::create::{Kind, LABEL_CLUSTER, LABEL_KIND, LABEL_USER};
use crate::engine::{Engine, Failure};
use crate::peer::Peer;
use crate::refusal::Refusal;

/// Containers that are remembered; those forgotten are looked up again.
const KNOWN_MAX: usize = 16_384;

/// A container of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) id: String,
    pub(crate) kind: Kind,
    pub(crate) user: u32,
    /// Whether it was made and not started, when it was looked at.
    pub(crate) is_unstarted: bool,
}

#[derive(Debug)]
pub(crate) struct Containers {
    cluster: String,
    known: Mutex<HashMap<String, Owned>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    state: State,
    config: Labelled,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    status: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Labelled {
    #[serde(default)]
    labels: Option<HashMap<String, String>>,
}

impl Containers {
    pub(crate) fn new(cluster: String) -> Self {
        Self { cluster, known: Mutex::default() }
    }

    /// One that was just made.
    pub(crate) fn remember(&self, id: String, kind: Kind, peer: Peer) {
        let mut known = self.lock();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        let owned = Owned { id: id.clone(), kind, user: peer.user, is_unstarted: true };
        known.insert(id, owned);
    }

    /// A container that this worker has made; any other does not exist for it.
    pub(crate) async fn own(
        &self,
        engine: &Engine,
        id: &str,
        peer: Peer,
    ) -> Result<Owned, Failure> {
        let known = self.lock().get(id).cloned();
        let owned = match known {
            Some(owned) => owned,
            None => self.look(engine, id).await?,
        };
        if owned.user == peer.user { Ok(owned) } else { Err(missing(id).into()) }
    }

    /// A container that this worker may remove: its own, or one of the cluster that was never
    /// started, which may be an ended worker's.
    pub(crate) async fn removable(
        &self,
        engine: &Engine,
        id: &str,
        peer: Peer,
    ) -> Result<Owned, Failure> {
        let known = self.lock().remove(id);
        if let Some(owned) = known.filter(|owned| owned.user == peer.user) {
            return Ok(owned);
        }
        let owned = self.look(engine, id).await?;
        let may = owned.user == peer.user || owned.is_unstarted;
        if may { Ok(owned) } else { Err(missing(id).into()) }
    }

    async fn look(&self, engine: &Engine, id: &str) -> Result<Owned, Failure> {
        let found = engine.get::<Inspected>(&format!("/containers/{id}/json")).await?;
        let found = found.ok_or_else(|| missing(id))?;
        let labels = found.config.labels.unwrap_or_default();
        let label = |name: &str| labels.get(name).map(String::as_str);
        if label(LABEL_CLUSTER) != Some(&self.cluster) {
            return Err(missing(id).into());
        }
        let user = label(LABEL_USER).and_then(|user| user.parse().ok());
        let kind = label(LABEL_KIND).and_then(Kind::of);
        let (Some(user), Some(kind)) = (user, kind) else { return Err(missing(id).into()) };
        let is_unstarted = found.state.status == "created";
        Ok(Owned { id: found.id, kind, user, is_unstarted })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Owned>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn missing(id: &str) -> Refusal {
    Refusal::missing("container", format!("No such container: {id} is none that this worker made"))
}
