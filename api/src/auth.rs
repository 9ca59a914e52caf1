//! Who is asking. One layer stands before the whole tree; what it lets through without
//! credentials is listed in [`PUBLIC_ROUTES`] and nowhere else.

pub(crate) mod throttle;

use axum::extract::{FromRequestParts, MatchedPath, Query, Request, State};
use axum::http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::error::{Accepts, Error};

/// Everything that is answered without credentials.
pub(crate) const PUBLIC_ROUTES: [(Method, &str); 6] = [
    (Method::GET, "/health"),
    (Method::GET, "/health_check"),
    (Method::GET, "/healthz"),
    (Method::GET, "/readyz"),
    (Method::GET, "/api/v1/version"),
    (Method::POST, "/api/v1/login"),
];

/// The cookie that holds a session's token, under Langflow's name.
pub(crate) const COOKIE_NAME: &str = "access_token_lf";

const KEY_NAME: &str = "x-api-key";

/// Most bytes of a credential; ours have less than 64, Langflow's tokens a few hundred.
const CREDENTIAL_BYTES_MAX: usize = 4096;

/// The caller, proven. A handler that takes it cannot be reached without credentials.
#[derive(Clone, Debug)]
pub(crate) struct Principal(pub(crate) store::Principal);

/// A caller who may do everything on this installation.
#[derive(Clone, Debug)]
pub(crate) struct Superuser(pub(crate) store::Principal);

impl std::ops::Deref for Principal {
    type Target = store::Principal;

    fn deref(&self) -> &store::Principal {
        &self.0
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Principal {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let missing = Error::CredentialsMissing(Accepts::All);
        parts.extensions.get::<Self>().cloned().ok_or(missing)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Superuser {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let Principal(principal) = Principal::from_request_parts(parts, state).await?;
        if !principal.is_superuser {
            return Err(Error::Forbidden("only a superuser may do this"));
        }
        Ok(Self(principal))
    }
}

/// Lets public routes through, and everything else with a [`Principal`].
pub(crate) async fn layer(State(app): State<App>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let route = parts.extensions.get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let route = route.unwrap_or_default();
    if !is_public(&parts.method, &route) {
        match authenticate(&app, &parts, &route).await {
            Ok(principal) => drop(parts.extensions.insert(Principal(principal))),
            Err(error) => return error.into_response(),
        }
    }
    next.run(Request::from_parts(parts, body)).await
}

/// The session token of a request, wherever it is.
pub(crate) fn session_token(headers: &HeaderMap) -> Option<String> {
    bearer(headers).or_else(|| cookie(headers))
}

fn is_public(method: &Method, route: &str) -> bool {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    PUBLIC_ROUTES.iter().any(|(public, path)| public == method && *path == route)
}

/// As in Langflow, what runs a flow by its name takes keys and no sessions.
fn accepts(route: &str) -> Accepts {
    if route.starts_with("/api/v1/run/") {
        Accepts::Keys
    } else if route.starts_with("/api/v1/webhook/") {
        Accepts::Webhook
    } else {
        Accepts::All
    }
}

async fn authenticate(app: &App, request: &Parts, route: &str) -> Result<store::Principal, Error> {
    let accepts = accepts(route);
    let only_keys = accepts != Accepts::All;
    let key = api_key(&request.uri, &request.headers);
    let (bearer, cookie) = (bearer(&request.headers), cookie(&request.headers));
    let by_cookie = bearer.is_none();
    let token = bearer.or(cookie).filter(|_| !only_keys);
    let auth = app.store.auth();
    let mut principal = None;
    if let Some(token) = &token {
        principal = auth.session(token).await?;
        if principal.is_some() && by_cookie {
            check_origin(request)?;
        }
    }
    if let (None, Some(key)) = (&principal, &key) {
        principal = auth.authenticate_key(key).await?;
    }
    match principal {
        Some(principal) => {
            check_scopes(&principal, &request.method, route)?;
            Ok(principal)
        }
        None if key.is_some() => Err(Error::KeyInvalid(accepts)),
        None if token.is_some() => Err(Error::SessionInvalid),
        None => Err(Error::CredentialsMissing(accepts)),
    }
}

/// A key with scopes may do what they name and nothing else: `run` starts and follows runs,
/// `read` reads, `write` does the rest.
fn check_scopes(principal: &store::Principal, method: &Method, route: &str) -> Result<(), Error> {
    const RUNS: [&str; 3] = ["/api/v1/run/", "/api/v1/webhook/", "/api/flowcell/v1/runs"];
    let is_run = RUNS.iter().any(|prefix| route.starts_with(prefix));
    let needed = match *method {
        _ if is_run => "run",
        Method::GET | Method::HEAD => "read",
        _ => "write",
    };
    if principal.scopes.is_empty() || principal.scopes.iter().any(|scope| scope == needed) {
        return Ok(());
    }
    Err(Error::Forbidden("this key's scopes do not cover this"))
}

/// A browser sends cookies along whoever wrote the page, so a page of another origin is refused.
fn check_origin(request: &Parts) -> Result<(), Error> {
    let header = |name| request.headers.get(name).and_then(|value| value.to_str().ok());
    let Some(origin) = header(ORIGIN) else { return Ok(()) };
    let host = header(HOST).or_else(|| request.uri.host());
    match origin.split_once("://") {
        Some((_, authority)) if Some(authority) == host => Ok(()),
        _ => Err(Error::Forbidden("a page of another origin may not use this session")),
    }
}

/// Langflow looks at the query first.
fn api_key(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let query = Query::<Vec<(String, String)>>::try_from_uri(uri).ok();
    let in_query = query.and_then(|Query(pairs)| {
        pairs.into_iter().find(|(name, _)| name == KEY_NAME).map(|(_, value)| value)
    });
    let in_header = || headers.get(KEY_NAME)?.to_str().ok().map(str::to_owned);
    in_query.filter(|key| !key.is_empty()).or_else(in_header).and_then(credential)
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned()).and_then(credential)
}

fn cookie(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';'));
    let value = pairs.find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == COOKIE_NAME).then(|| value.trim_matches('"').to_owned())
    })?;
    credential(value)
}

fn credential(value: String) -> Option<String> {
    (1..=CREDENTIAL_BYTES_MAX).contains(&value.len()).then_some(value)
}
