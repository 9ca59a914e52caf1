//! What every test needs: a store, a bus, two tenants, and requests in one line.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, Response, StatusCode};
use bus::Bus;
use domain::id::{FlowId, RunId, TenantId, UserId};
use domain::time::Timestamp;
use serde_json::{Value, json};
use store::seal::KeyEncryptionKey;
use store::{NewApiKey, NewUser, Secret, Settings, Store};
use testkit::database::Database;
use tower::ServiceExt;

use crate::{Api, Config};

/// One tenant's way in.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) tenant: TenantId,
    pub(super) user: UserId,
    pub(super) key: String,
}

pub(super) struct World {
    pub(super) api: Api,
    pub(super) store: Store,
    pub(super) bus: Bus,
    /// A superuser of the tenant `default`.
    pub(super) admin: Caller,
    pub(super) username: String,
    pub(super) password: String,
    /// An ordinary user of another tenant.
    pub(super) other: Caller,
    _events_dir: tempfile::TempDir,
    _database: Database,
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no json: {}", self.body))
    }

    /// Status and body, for snapshots.
    pub(super) fn text(&self) -> String {
        format!("{} {}", self.status.as_u16(), self.body)
    }
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with(Config::default()).await
    }

    pub(super) async fn with(config: Config) -> Self {
        let database = Database::sqlite().unwrap();
        let settings = Settings { url: database.url().to_owned(), connections_max: 4 };
        let store = Store::connect(&settings, KeyEncryptionKey::generate()).await.unwrap();
        store.migrate().await.unwrap();
        let events_dir = tempfile::tempdir().unwrap();
        let bus = bus::memory(bus::memory::Settings::new(events_dir.path())).await.unwrap();
        let first = store.auth().bootstrap("admin").await.unwrap().unwrap();
        let admin = Caller {
            tenant: first.tenant,
            user: first.user,
            key: first.api_key.expose().to_owned(),
        };
        let other = other(&store).await;
        Self {
            api: Api::new(store.clone(), bus.clone(), config),
            store,
            bus,
            admin,
            username: first.username,
            password: first.password.expose().to_owned(),
            other,
            _events_dir: events_dir,
            _database: database,
        }
    }

    pub(super) fn router(&self) -> Router {
        self.api.router()
    }

    pub(super) async fn respond(&self, request: Request<Body>) -> Response<Body> {
        self.router().oneshot(request).await.unwrap()
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.respond(request).await;
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = to_bytes(response.into_body(), 64 * 1024 * 1024);
        let bytes = tokio::time::timeout(Duration::from_secs(20), bytes).await.unwrap().unwrap();
        Answer { status, headers, body: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path, Body::empty())).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path, Body::from(body.to_string()))).await
    }

    pub(super) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::PUT, path, Body::from(body.to_string()))).await
    }

    pub(super) async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::PATCH, path, Body::from(body.to_string()))).await
    }

    pub(super) async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path, Body::empty())).await
    }

    /// A request of the admin.
    pub(super) fn request(&self, method: Method, path: &str, body: Body) -> Request<Body> {
        as_caller(&self.admin, method, path, body)
    }

    /// Stores the flow of most captures: ChatInput, Prompt, ChatOutput.
    pub(super) async fn echo_flow(&self) -> FlowId {
        let answer = self.post("/api/v1/flows/", &echo_body("echo")).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        answer.json()["id"].as_str().unwrap().parse().unwrap()
    }

    /// Starts a durable run of the flow named.
    pub(super) async fn start(&self, flow: &str) -> RunId {
        let answer = self.post("/api/flowcell/v1/runs", &json!({"flow": flow})).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.body);
        answer.json()["id"].as_str().unwrap().parse().unwrap()
    }
}

pub(super) fn as_caller(caller: &Caller, method: Method, path: &str, body: Body) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("x-api-key", &caller.key)
        .header("content-type", "application/json")
        .body(body)
        .unwrap()
}

pub(super) fn echo_body(name: &str) -> Value {
    json!({"name": name, "endpoint_name": format!("{name}-ep"), "data": echo_data()})
}

pub(super) fn echo_data() -> Value {
    testkit::flows::graph(&[
        ("ChatInput-aaaaa", &[]),
        ("Prompt-bbbbb", &["ChatInput-aaaaa"]),
        ("ChatOutput-ccccc", &["Prompt-bbbbb"]),
    ])
}

async fn other(store: &Store) -> Caller {
    let tenant = store.create_tenant("other").await.unwrap();
    let rows = store.tenant(tenant);
    let new = NewUser {
        username: "mallory".to_owned(),
        password: Secret::new("correct horse battery staple"),
        is_superuser: false,
    };
    let user = rows.create_user(new).await.unwrap().id;
    let key = key(store, tenant, user, &[], None).await;
    Caller { tenant, user, key }
}

/// A new key of a user.
pub(super) async fn key(
    store: &Store,
    tenant: TenantId,
    user: UserId,
    scopes: &[&str],
    expires: Option<Timestamp>,
) -> String {
    let scopes = scopes.iter().map(ToString::to_string).collect();
    let new = NewApiKey { user, name: "test".to_owned(), scopes, expires };
    let created = store.tenant(tenant).create_api_key(new).await.unwrap();
    created.secret.expose().to_owned()
}
