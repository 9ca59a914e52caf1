//! The socket, who may use it, and what is cleaned up.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Deserialize;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::containers::Containers;
use crate::create::{LABEL_CLUSTER, Rules};
use crate::engine::{Engine, Failure};
use crate::images::Images;
use crate::peer::Peer;
use crate::proxy::Proxy;
use crate::slots::{self, Slots};
use crate::{Config, Error};

/// Connections at once: every container has one that waits for its end.
const CONNECTIONS_MAX: usize = 8_192;
/// A head that does not come.
const HEAD_MAX: Duration = Duration::from_secs(30);
/// Folders of containers that are gone are removed this often.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// After an error that will not go away at once, such as no free descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// A gate that listens.
#[derive(Debug)]
pub struct Gate {
    listener: UnixListener,
    users: Vec<u32>,
    proxy: Arc<Proxy>,
}

impl Gate {
    /// Makes the folders and listens. Needs root's rights over files: it gives folders away.
    ///
    /// # Errors
    /// [`Error`], when a file, folder or socket cannot be made.
    pub fn open(config: Config) -> Result<Self, Error> {
        if config.users.is_empty() {
            return Err(Error::Config("name the users that workers run as (--user)".into()));
        }
        if config.users.contains(&0) {
            tracing::warn!(
                "a worker that is root owns what this gate keeps from it: for tests only"
            );
        }
        let slots = Slots::open(&config.binds, &config.users)?;
        let listener = listen(&config.listen)?;
        let (cluster, oci_runtimes) = (config.cluster, config.oci_runtimes);
        let rules = Rules { cluster: cluster.clone(), oci_runtimes, wheels: config.wheels };
        let proxy = Proxy {
            engine: Engine::new(config.docker),
            rules,
            images: Images::new(config.images),
            containers: Containers::new(cluster),
            slots,
            layer_bytes_max: config.layer_bytes_max,
        };
        Ok(Self { listener, users: config.users, proxy: Arc::new(proxy) })
    }

    /// Serves until it is told to stop. Calls that are under way end then.
    pub async fn serve(self, stop: CancellationToken) {
        let _sweep = AbortOnDropHandle::new(tokio::spawn(sweep(self.proxy.clone())));
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be accepted");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let Some(peer) = self.admit(&stream) else { continue };
            let Ok(permit) = room.clone().try_acquire_owned() else {
                tracing::warn!(peer.user, "refused: too many connections");
                continue;
            };
            let (proxy, stop) = (self.proxy.clone(), stop.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = converse(proxy, peer, stream) => {}
                }
                drop(permit);
            });
        }
    }

    fn admit(&self, stream: &UnixStream) -> Option<Peer> {
        let peer = Peer::of(stream).ok()?;
        if self.users.contains(&peer.user) {
            return Some(peer);
        }
        tracing::warn!(peer.user, "refused: no worker runs as this user (--user)");
        None
    }
}

/// Who may connect is decided by the user at the other end, not by the file's mode.
fn listen(path: &Path) -> Result<UnixListener, Error> {
    let at = |doing| move |source| Error::Io { doing, path: path.to_owned(), source };
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(at("removing the old socket")(error));
        }
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(at("listening on"))?;
    let mode = Permissions::from_mode(0o666);
    std::fs::set_permissions(path, mode).map_err(at("opening the socket for workers"))?;
    Ok(listener)
}

async fn converse(proxy: Arc<Proxy>, peer: Peer, stream: UnixStream) {
    let service = service_fn(move |request| {
        let proxy = proxy.clone();
        async move { Ok::<_, Infallible>(Box::pin(proxy.answer(peer, request)).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, peer.user, "a connection ended");
    }
}

/// Removes the folders whose container is gone.
async fn sweep(proxy: Arc<Proxy>) {
    let mut ticks = interval(SWEEP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let kept = proxy.slots.kept();
        if kept.is_empty() {
            continue;
        }
        match alive(&proxy).await {
            Ok(alive) => {
                let gone = kept.into_iter().filter(|(slot, _)| !alive.contains(slot));
                gone.for_each(|(_, path)| slots::remove(&path));
            }
            Err(error) => tracing::warn!(%error, "containers cannot be listed"),
        }
    }
}

/// The slots of the cluster that have a container.
async fn alive(proxy: &Proxy) -> Result<HashSet<String>, Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Listed {
        labels: HashMap<String, String>,
    }
    let filters = serde_json::json!({
        "label": [format!("{LABEL_CLUSTER}={}", proxy.rules.cluster)]
    });
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("all", "true")
        .append_pair("filters", &filters.to_string())
        .finish();
    let listed: Option<Vec<Listed>> =
        proxy.engine.get(&format!("/containers/json?{query}")).await?;
    let slots = listed.unwrap_or_default().into_iter();
    Ok(slots.filter_map(|mut found| found.labels.remove("flowcell.slot")).collect())
}
