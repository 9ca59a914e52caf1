//! What happens to one request.

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::body::{Commit, Create, Update};
use crate::containers::{Containers, Owned};
use crate::create::{Kind, LABEL_CLUSTER, Rules, rebind};
use crate::engine::{Body, Engine, Failure, collect, empty, full};
use crate::images::{Images, Origin, RUNTIMES, is_tag};
use crate::peer::Peer;
use crate::refusal::{Refusal, must};
use crate::route::{self, Call, Route, Streams};
use crate::slots::Slots;

/// A description of a container, with a list of system calls in it.
const CREATE_BYTES_MAX: usize = 512 * 1024;
const SMALL_BYTES_MAX: usize = 64 * 1024;
const LABEL_RUNTIME: [(&str, &str); 1] = [("flowcell.image", "runtime")];
const LABEL_RUNTIME_CLUSTER: &str = "flowcell.runtime.cluster";
const LABEL_RUNTIME_BASE: &str = "flowcell.runtime.base";

/// Everything that requests are judged by.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) engine: Engine,
    pub(crate) rules: Rules,
    pub(crate) images: Images,
    pub(crate) containers: Containers,
    pub(crate) slots: Slots,
    pub(crate) layer_bytes_max: u64,
}

/// What the engine says of a container that it has made.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    id: String,
}

impl Proxy {
    /// Answers a request, whatever becomes of it.
    pub(crate) async fn answer(&self, peer: Peer, request: Request<Incoming>) -> Response<Body> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        match self.judge(peer, request).await {
            Ok(answer) => answer,
            Err(Failure::Refused(refusal)) => {
                tracing::warn!(
                    rule = refusal.rule, reason = %refusal.said, %method, path, peer.user, "refused"
                );
                said(refusal.status, &format!("docker-gate: {refusal}"))
            }
            Err(Failure::Engine(error)) => {
                tracing::warn!(%error, %method, path, "the engine does not answer");
                said(
                    StatusCode::BAD_GATEWAY,
                    &format!("docker-gate: no answer of the engine: {error}"),
                )
            }
        }
    }

    async fn judge(
        &self,
        peer: Peer,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Failure> {
        let uri = request.uri();
        let route = route::read(request.method(), uri.path(), uri.query().unwrap_or_default())?;
        let Route { version: v, call } = route;
        match call {
            Call::About(path) => self.pass(Method::GET, format!("{v}{path}"), empty()).await,
            Call::Create { name } => self.create(&v, &name, peer, request).await,
            Call::List { all, labels } => {
                let labels = filters(labels, &[(LABEL_CLUSTER, self.rules.cluster.as_str())]);
                let path = format!("{v}/containers/json?all={all}&{labels}");
                self.pass(Method::GET, path, empty()).await
            }
            Call::ListImages { labels } => {
                let own = [LABEL_RUNTIME[0], (LABEL_RUNTIME_CLUSTER, self.rules.cluster.as_str())];
                let path = format!("{v}/images/json?{}", filters(labels, &own));
                self.pass(Method::GET, path, empty()).await
            }
            Call::InspectImage { name } => {
                self.images.origin(&self.engine, &name).await?;
                self.pass(Method::GET, format!("{v}/images/{name}/json"), empty()).await
            }
            Call::RemoveImage { name } => {
                let packaged = self.images.named(&name)? == Origin::Runtime;
                must(packaged, "image", "only images with packages of flows are removed")?;
                let ours = Images::is_ours(&self.engine, &name, &self.rules.cluster).await?;
                must(ours, "image", "this image is of another cluster, or gone")?;
                self.pass(Method::DELETE, format!("{v}/images/{name}"), empty()).await
            }
            Call::Commit { id, repository, tag } => {
                self.commit(&v, (&id, &repository, &tag), peer, request).await
            }
            Call::Remove { id, force } => {
                let Owned { id, .. } = self.containers.removable(&self.engine, &id, peer).await?;
                let path = format!("{v}/containers/{id}?v=true&force={force}");
                self.pass(Method::DELETE, path, empty()).await
            }
            Call::Inspect { id } => {
                let id = self.containers.own(&self.engine, &id, peer).await?.id;
                self.pass(Method::GET, format!("{v}/containers/{id}/json"), empty()).await
            }
            Call::Wait { id, condition } => {
                let id = self.containers.own(&self.engine, &id, peer).await?.id;
                let path = format!("{v}/containers/{id}/wait?condition={condition}");
                self.pass(Method::POST, path, empty()).await
            }
            Call::Start { id } => {
                let owned = self.containers.own(&self.engine, &id, peer).await?;
                must(owned.kind != Kind::Layer, "layer", "a layer is never started")?;
                let path = format!("{v}/containers/{}/start", owned.id);
                self.pass(Method::POST, path, empty()).await
            }
            Call::Update { id } => self.update(&v, &id, peer, request).await,
            Call::Attach { id, streams } => self.attach(&v, &id, streams, peer, request).await,
            Call::Upload { id } => self.upload(&v, &id, peer, request).await,
        }
    }

    async fn create(
        &self,
        version: &str,
        name: &str,
        peer: Peer,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Failure> {
        let mut body: Create = read(request, CREATE_BYTES_MAX).await?;
        let checked = self.rules.check(&mut body, name, peer)?;
        let origin = self.images.origin(&self.engine, &body.image).await?;
        let good = origin == Origin::Runner
            || (checked.kind.may_be_packaged() && body.entrypoint.is_none());
        must(good, "image", "packages of a flow run in `warm` cells only")?;
        let adopted = match &checked.folder {
            Some(folder) => Some(self.slots.adopt(folder, &checked.slot, peer)?),
            None => None,
        };
        if let Some(adopted) = &adopted {
            rebind(&mut body, adopted.path());
        }
        let path = format!("{version}/containers/create?name={name}");
        let answer = self.send(Method::POST, path, json(&body)?).await?;
        let status = answer.status();
        let bytes = collect(answer.into_body(), SMALL_BYTES_MAX).await.map_err(Failure::Engine)?;
        if status == StatusCode::CREATED {
            let created: Created = serde_json::from_slice(&bytes).map_err(Failure::engine)?;
            self.containers.remember(created.id, checked.kind, peer);
            if let Some(adopted) = adopted {
                adopted.keep();
            }
        }
        let answer = Response::builder().status(status).header(CONTENT_TYPE, "application/json");
        answer.body(full(bytes)).map_err(Failure::engine)
    }

    async fn update(
        &self,
        version: &str,
        id: &str,
        peer: Peer,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Failure> {
        let owned = self.containers.own(&self.engine, id, peer).await?;
        must(owned.kind == Kind::Cell, "update", "only a cell's limits change")?;
        let body: Update = read(request, SMALL_BYTES_MAX).await?;
        let Update { cpu_shares, memory, memory_swap, pids_limit, nano_cpus } = &body;
        let given = [cpu_shares, memory, memory_swap, pids_limit, nano_cpus];
        let positive = given.into_iter().flatten().all(|limit| *limit > 0);
        must(positive && memory == memory_swap, "limits", "a limit is above zero, without swap")?;
        let path = format!("{version}/containers/{}/update", owned.id);
        self.pass(Method::POST, path, json(&body)?).await
    }

    async fn upload(
        &self,
        version: &str,
        id: &str,
        peer: Peer,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Failure> {
        let owned = self.containers.own(&self.engine, id, peer).await?;
        must(owned.kind == Kind::Layer, "archive", "files are put into layers only")?;
        let bytes_max = usize::try_from(self.layer_bytes_max).unwrap_or(usize::MAX);
        let body = Limited::new(request.into_body(), bytes_max).boxed();
        let path = format!("{version}/containers/{}/archive?path=/", owned.id);
        self.pass(Method::PUT, path, body).await
    }

    async fn commit(
        &self,
        version: &str,
        (id, repository, tag): (&str, &str, &str),
        peer: Peer,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Failure> {
        let owned = self.containers.own(&self.engine, id, peer).await?;
        must(owned.kind == Kind::Layer, "commit", "images are made of layers only")?;
        must(repository == RUNTIMES && is_tag(tag), "commit", "it is named as a runtime")?;
        let body: Commit = read(request, SMALL_BYTES_MAX).await?;
        let labels = &body.labels;
        let good = labels.0.len() == 3
            && LABEL_RUNTIME.iter().all(|(name, value)| labels.get(name) == Some(value))
            && labels.get(LABEL_RUNTIME_CLUSTER) == Some(&self.rules.cluster)
            && labels.get(LABEL_RUNTIME_BASE).is_some();
        must(good, "labels", "it has the labels of a runtime of this cluster")?;
        let path = format!("{version}/commit?container={}&repo={repository}&tag={tag}", owned.id);
        self.pass(Method::POST, path, json(&body)?).await
    }

    /// Joins the two connections, once the engine has agreed.
    async fn attach(
        &self,
        version: &str,
        id: &str,
        streams: Streams,
        peer: Peer,
        mut request: Request<Incoming>,
    ) -> Result<Response<Body>, Failure> {
        let owned = self.containers.own(&self.engine, id, peer).await?;
        let input = !streams.stdin || matches!(owned.kind, Kind::Cell | Kind::Build);
        must(input, "attach", "only cells and builds have an input")?;
        let Streams { stdin, stdout, stderr } = streams;
        let path = format!(
            "{version}/containers/{}/attach?stream=true&stdin={stdin}&stdout={stdout}&stderr={stderr}",
            owned.id
        );
        let asked = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "tcp")
            .body(empty())
            .map_err(Failure::engine)?;
        let mut answer = self.engine.send(asked).await?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(handed_on(answer));
        }
        let (worker, engine) = (hyper::upgrade::on(&mut request), hyper::upgrade::on(&mut answer));
        tokio::spawn(async move {
            if let (Ok(worker), Ok(engine)) = tokio::join!(worker, engine) {
                let (mut worker, mut engine) = (TokioIo::new(worker), TokioIo::new(engine));
                // However it ends: both are closed, and the container's input with them.
                let _ = tokio::io::copy_bidirectional(&mut worker, &mut engine).await;
            }
        });
        let (parts, _) = answer.into_parts();
        Ok(Response::from_parts(parts, empty()))
    }

    async fn pass(
        &self,
        method: Method,
        path: String,
        body: Body,
    ) -> Result<Response<Body>, Failure> {
        Ok(handed_on(self.send(method, path, body).await?))
    }

    async fn send(
        &self,
        method: Method,
        path: String,
        body: Body,
    ) -> Result<Response<Incoming>, Failure> {
        let request = Request::builder().method(method).uri(path);
        let request = request.header(CONTENT_TYPE, "application/json").body(body);
        self.engine.send(request.map_err(Failure::engine)?).await
    }
}

/// A body in a form that has been understood.
async fn read<T: DeserializeOwned>(
    request: Request<Incoming>,
    bytes_max: usize,
) -> Result<T, Failure> {
    let bytes = collect(request.into_body(), bytes_max).await;
    let bytes =
        bytes.map_err(|error| Refusal::new("body", format!("it cannot be read: {error}")))?;
    let parsed = serde_json::from_slice(&bytes);
    Ok(parsed.map_err(|error| Refusal::new("body", format!("no worker sends this: {error}")))?)
}

fn json(body: &impl serde::Serialize) -> Result<Body, Failure> {
    serde_json::to_vec(body).map(full).map_err(Failure::engine)
}

/// A filter by these labels, whatever others were asked for.
fn filters(mut labels: Vec<String>, forced: &[(&str, &str)]) -> String {
    labels.extend(forced.iter().map(|(name, value)| format!("{name}={value}")));
    let filters = serde_json::json!({ "label": labels }).to_string();
    form_urlencoded::Serializer::new(String::new()).append_pair("filters", &filters).finish()
}

/// The engine's answer as it comes. How it is framed is between us and the worker.
fn handed_on(answer: Response<Incoming>) -> Response<Body> {
    let (mut parts, body) = answer.into_parts();
    parts.headers.remove(CONNECTION);
    parts.headers.remove(TRANSFER_ENCODING);
    Response::from_parts(parts, body.map_err(Into::into).boxed())
}

/// An error in the engine's own form.
fn said(status: StatusCode, message: &str) -> Response<Body> {
    let body = serde_json::json!({ "message": message }).to_string();
    let mut answer = Response::new(full(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}
