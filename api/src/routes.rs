//! Every route, as data: what is served is this table and nothing else, and the test of
//! authentication walks it.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};

use crate::app::App;
use crate::config::Config;
use crate::error::Error;
use crate::flowcell::{
    admission, connections, egress, events, limits, logs, me, pausing, plan, rerun, resume,
    retention, runs, runtime, standing, ws,
};
use crate::langflow::{
    api_keys, files, flows, knowledge_bases, login, messages, meta, projects, run, upload,
    variables, webhook, workflows,
};

/// How large a body a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyMax {
    /// A form of two fields.
    Form,
    /// [`Config::request_bytes_max`].
    Request,
    /// [`Config::flow_bytes_max`].
    Flow,
    /// A form around a file of [`Config::files`].
    File,
}

/// One route.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    body: BodyMax,
    handler: MethodRouter<App>,
}

/// The table. A path that ends in `/` is also served without.
pub(crate) fn table() -> Vec<Route> {
    let mut table = langflow();
    table.extend(langflow_files());
    table.extend(flowcell());
    table
}

fn langflow() -> Vec<Route> {
    vec![
        get("/health", meta::health),
        get("/healthz", meta::health),
        get("/health_check", meta::health_check),
        get("/readyz", meta::health_check),
        get("/api/v1/version", meta::version),
        post("/api/v1/login", login::login).takes(BodyMax::Form),
        post("/api/v1/logout", login::logout),
        get("/api/v1/users/whoami", login::whoami),
        post("/api/v1/run/{flow}", run::run),
        post("/api/v1/run/{flow}/", run::redirect),
        post("/api/v1/webhook/{flow}", webhook::receive),
        post("/api/v2/workflows", workflows::start),
        get("/api/v2/workflows", workflows::status),
        post("/api/v2/workflows/stop", workflows::stop),
        get("/api/v2/workflows/pending", workflows::pending),
        post("/api/v2/workflows/{job}/resume", workflows::resume),
        post("/api/v1/flows/", flows::create).takes(BodyMax::Flow),
        get("/api/v1/flows/", flows::list),
        post("/api/v1/flows/upload/", upload::upload).takes(BodyMax::Flow),
        get("/api/v1/flows/{id}", flows::get),
        patch("/api/v1/flows/{id}", flows::update).takes(BodyMax::Flow),
        delete("/api/v1/flows/{id}", flows::delete),
        get("/api/v1/projects/", projects::list),
        post("/api/v1/projects/", projects::create),
        get("/api/v1/folders/", projects::redirect),
        post("/api/v1/folders/", projects::redirect),
        get("/api/v1/variables/", variables::list),
        post("/api/v1/variables/", variables::create),
        patch("/api/v1/variables/{id}", variables::update),
        delete("/api/v1/variables/{id}", variables::delete),
        get("/api/v1/knowledge_bases/", knowledge_bases::list),
        post("/api/v1/knowledge_bases/", knowledge_bases::create),
        delete("/api/v1/knowledge_bases/", knowledge_bases::delete_several),
        get("/api/v1/knowledge_bases/{name}", knowledge_bases::get),
        delete("/api/v1/knowledge_bases/{name}", knowledge_bases::delete),
        get("/api/v1/api_key/", api_keys::list),
        post("/api/v1/api_key/", api_keys::create),
        delete("/api/v1/api_key/{id}", api_keys::delete),
        get("/api/v1/monitor/messages", messages::list),
        delete("/api/v1/monitor/messages", messages::delete),
        get("/api/v1/monitor/messages/sessions", messages::sessions),
        delete("/api/v1/monitor/messages/session/{session}", messages::delete_session),
    ]
}

fn langflow_files() -> Vec<Route> {
    use files::{v1, v2};
    vec![
        post("/api/v1/files/upload/{flow}", v1::upload).takes(BodyMax::File),
        get("/api/v1/files/download/{flow}/{file}", v1::download),
        get("/api/v1/files/images/{flow}/{file}", v1::image),
        get("/api/v1/files/list/{flow}", v1::list),
        delete("/api/v1/files/delete/{flow}/{file}", v1::delete),
        post("/api/v2/files/", v2::upload).takes(BodyMax::File),
        get("/api/v2/files/", v2::list),
        delete("/api/v2/files/", v2::delete_all),
        post("/api/v2/files/batch/", v2::download_batch),
        delete("/api/v2/files/batch/", v2::delete_batch),
        get("/api/v2/files/{id}", v2::download),
        put("/api/v2/files/{id}", v2::rename),
        delete("/api/v2/files/{id}", v2::delete),
    ]
}

fn flowcell() -> Vec<Route> {
    vec![
        get("/api/flowcell/v1/me", me::get),
        get("/api/flowcell/v1/runs", runs::list),
        post("/api/flowcell/v1/runs", runs::start),
        get("/api/flowcell/v1/runs/{id}", runs::get),
        get("/api/flowcell/v1/runs/{id}/explain", standing::get),
        post("/api/flowcell/v1/runs/{id}/cancel", runs::cancel),
        post("/api/flowcell/v1/runs/{id}/resume", resume::post),
        post("/api/flowcell/v1/runs/{id}/rerun", rerun::rerun),
        post("/api/flowcell/v1/runs/{id}/redrive", rerun::redrive),
        post("/api/flowcell/v1/runs/{id}/dismiss", rerun::dismiss),
        post("/api/flowcell/v1/runs/{id}/pause", pausing::pause),
        post("/api/flowcell/v1/runs/{id}/unpause", pausing::unpause),
        get("/api/flowcell/v1/runs/{id}/events", events::get),
        get("/api/flowcell/v1/runs/{id}/ws", ws::get),
        get("/api/flowcell/v1/runs/{id}/connections", connections::get),
        get("/api/flowcell/v1/runs/{id}/logs", logs::get),
        get("/api/flowcell/v1/flows/{flow}/plan", plan::get),
        get("/api/flowcell/v1/flows/{flow}/runtime", runtime::get),
        put("/api/flowcell/v1/flows/{flow}/requirements", runtime::put_requirements),
        get("/api/flowcell/v1/flows/{flow}/limits", limits::get_flow),
        put("/api/flowcell/v1/flows/{flow}/limits", limits::put_flow),
        delete("/api/flowcell/v1/flows/{flow}/limits", limits::delete_flow),
        get("/api/flowcell/v1/limits", limits::get),
        put("/api/flowcell/v1/limits", limits::put),
        delete("/api/flowcell/v1/limits", limits::delete),
        get("/api/flowcell/v1/admission", admission::get),
        put("/api/flowcell/v1/admission", admission::put),
        get("/api/flowcell/v1/flows/{flow}/admission", admission::get_flow),
        put("/api/flowcell/v1/flows/{flow}/admission", admission::put_flow),
        get("/api/flowcell/v1/keys/{key}/admission", admission::get_key),
        put("/api/flowcell/v1/keys/{key}/admission", admission::put_key),
        get("/api/flowcell/v1/retention", retention::get),
        put("/api/flowcell/v1/retention", retention::put),
        delete("/api/flowcell/v1/retention", retention::delete),
        get("/api/flowcell/v1/egress", egress::list),
        post("/api/flowcell/v1/egress", egress::allow),
        delete("/api/flowcell/v1/egress", egress::forbid),
    ]
}

/// The router of the table, without what surrounds it.
pub(crate) fn router(config: &Config) -> Router<App> {
    let mut router = Router::new();
    for route in table() {
        let bytes_max = match route.body {
            BodyMax::Form => 16 * 1024,
            BodyMax::Request => config.request_bytes_max,
            BodyMax::Flow => config.flow_bytes_max,
            BodyMax::File => files::body_bytes_max(&config.files),
        };
        let handler = route.handler.layer(DefaultBodyLimit::max(bytes_max));
        if let Some(short) = route.path.strip_suffix('/').filter(|path| !path.ends_with('}')) {
            router = router.route(short, handler.clone());
        }
        router = router.route(route.path, handler);
    }
    router
        .fallback(async || Error::RouteNotFound)
        .method_not_allowed_fallback(async || Error::MethodNotAllowed)
}

impl Route {
    fn new<H, T>(method: Method, filter: MethodFilter, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        Self { method, path, body: BodyMax::Request, handler: on(filter, handler) }
    }

    fn takes(mut self, body: BodyMax) -> Self {
        self.body = body;
        self
    }
}

fn get<H: Handler<T, App>, T: 'static>(path: &'static str, handler: H) -> Route {
    Route::new(Method::GET, MethodFilter::GET, path, handler)
}

fn post<H: Handler<T, App>, T: 'static>(path: &'static str, handler: H) -> Route {
    Route::new(Method::POST, MethodFilter::POST, path, handler)
}

fn put<H: Handler<T, App>, T: 'static>(path: &'static str, handler: H) -> Route {
    Route::new(Method::PUT, MethodFilter::PUT, path, handler)
}

fn patch<H: Handler<T, App>, T: 'static>(path: &'static str, handler: H) -> Route {
    Route::new(Method::PATCH, MethodFilter::PATCH, path, handler)
}

fn delete<H: Handler<T, App>, T: 'static>(path: &'static str, handler: H) -> Route {
    Route::new(Method::DELETE, MethodFilter::DELETE, path, handler)
}
