//! Every route with every kind of wrong credentials, and the right ones.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use domain::time::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::world::{World, as_caller, key};
use crate::Api;
use crate::auth::PUBLIC_ROUTES;

/// A path of the template that names nothing that exists.
fn concrete(path: &str) -> String {
    let parts = path.split('/').map(|part| match part.starts_with('{') {
        true => Uuid::nil().to_string(),
        false => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("/")
}

fn bare(method: &Method, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method.clone()).uri(path).header("content-type", "application/json")
}

#[tokio::test]
async fn no_route_answers_without_credentials() {
    let world = World::new().await;
    let (admin, store) = (&world.admin, &world.store);
    let expired_key = key(store, admin.tenant, admin.user, &[], Some(Timestamp(1))).await;
    let revoked_key = key(store, admin.tenant, admin.user, &[], None).await;
    let keys = store.tenant(admin.tenant).api_keys(None).await.unwrap();
    store.tenant(admin.tenant).revoke_api_key(keys.last().unwrap().id).await.unwrap();
    let auth = store.auth();
    let expired = auth.create_session(admin.user, Duration::ZERO).await.unwrap();
    let revoked = auth.create_session(admin.user, Duration::from_secs(60)).await.unwrap();
    auth.revoke_session(revoked.expose()).await.unwrap();
    for (method, template) in Api::routes() {
        if PUBLIC_ROUTES.contains(&(method.clone(), template)) {
            continue;
        }
        for path in [concrete(template), concrete(template).trim_end_matches('/').to_owned()] {
            let place = format!("{method} {path}");
            let none = world.send(bare(&method, &path).body(Body::empty()).unwrap()).await;
            assert_eq!(none.status, StatusCode::FORBIDDEN, "{place}");
            for wrong in ["sk-wrong", &expired_key, &revoked_key] {
                let request = bare(&method, &path).header("x-api-key", wrong);
                let answer = world.send(request.body(Body::empty()).unwrap()).await;
                assert_eq!(answer.status, StatusCode::FORBIDDEN, "{place} with {wrong}");
            }
            let only_keys =
                ["/api/v1/run/", "/api/v1/webhook/"].iter().any(|route| path.starts_with(route));
            let refused = if only_keys { StatusCode::FORBIDDEN } else { StatusCode::UNAUTHORIZED };
            for token in ["wrong", expired.expose(), revoked.expose()] {
                for (header, value) in [
                    ("authorization", format!("Bearer {token}")),
                    ("cookie", format!("a=b; access_token_lf={token}")),
                ] {
                    let request = bare(&method, &path).header(header, value);
                    let answer = world.send(request.body(Body::empty()).unwrap()).await;
                    assert_eq!(answer.status, refused, "{place} with {header} {token}");
                }
            }
        }
    }
    let unknown = world.send(bare(&Method::GET, "/admin").body(Body::empty()).unwrap()).await;
    assert_eq!(unknown.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn each_family_refuses_in_its_own_words() {
    let world = World::new().await;
    let ask = |method: Method, path: &'static str, name: &'static str, value: String| {
        let request = bare(&method, path).header(name, value).body(Body::empty()).unwrap();
        world.send(request)
    };
    let none = |method, path| ask(method, path, "accept", "*/*".to_owned());
    let run = "/api/v1/run/echo";
    insta::assert_snapshot!(none(Method::POST, run).await.text(), @r#"403 {"detail":"An API key must be passed as query or header"}"#);
    let wrong = ask(Method::POST, run, "x-api-key", "sk-no".to_owned()).await;
    insta::assert_snapshot!(wrong.text(), @r#"403 {"detail":"Invalid or missing API key"}"#);
    let bearer =
        ask(Method::POST, run, "authorization", format!("Bearer {}", world.admin.key)).await;
    insta::assert_snapshot!(bearer.text(), @r#"403 {"detail":"An API key must be passed as query or header"}"#);
    insta::assert_snapshot!(none(Method::GET, "/api/v1/flows/").await.text(), @r#"403 {"detail":"No authentication credentials provided"}"#);
    let bearer = ask(Method::GET, "/api/v1/flows/", "authorization", "Bearer x".to_owned()).await;
    insta::assert_snapshot!(bearer.text(), @r#"401 {"detail":"Invalid token"}"#);
    insta::assert_snapshot!(none(Method::GET, "/api/flowcell/v1/runs").await.text(), @r#"403 {"error":{"code":"credentials_missing","message":"this needs credentials","action":"send an API key in the header x-api-key"}}"#);
    let bearer =
        ask(Method::GET, "/api/flowcell/v1/me", "authorization", "Bearer x".to_owned()).await;
    insta::assert_snapshot!(bearer.text(), @r#"401 {"error":{"code":"credentials_invalid","message":"the session is unknown, revoked or expired","action":"use a key that is valid, or log in again"}}"#);
}

#[tokio::test]
async fn public_routes_are_public_and_everything_is_marked() {
    let world = World::new().await;
    for path in ["/health", "/healthz", "/health_check", "/readyz", "/api/v1/version"] {
        let answer = world.send(bare(&Method::GET, path).body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
    }
    let request = bare(&Method::GET, "/health").header("x-request-id", "abc-1");
    let answer = world.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.headers["x-request-id"], "abc-1");
    insta::assert_snapshot!(answer.text(), @r#"200 {"status":"ok"}"#);
    insta::assert_snapshot!(world.get("/nowhere").await.text(), @r#"404 {"detail":"Not Found"}"#);
    let wrong = world.get("/api/v1/run/x").await;
    insta::assert_snapshot!(wrong.text(), @r#"405 {"detail":"Method Not Allowed"}"#);
    assert_eq!(wrong.headers["allow"], "POST");
    insta::assert_snapshot!(world.get("/api/flowcell/v1/x").await.text(), @r#"404 {"error":{"code":"route_not_found","message":"there is nothing at this path","action":"check the path"}}"#);
}

async fn log_in(world: &World, form: String) -> super::world::Answer {
    let request = Request::builder()
        .method(Method::POST)
        .uri("/api/v1/login")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(form))
        .unwrap();
    world.send(request).await
}

#[tokio::test]
async fn a_login_opens_a_session_and_a_logout_ends_it() {
    let world = World::new().await;
    let wrong = log_in(&world, "username=admin&password=nope".to_owned()).await;
    insta::assert_snapshot!(wrong.text(), @r#"401 {"detail":"Incorrect username or password"}"#);
    let missing = log_in(&world, "username=admin".to_owned()).await;
    insta::assert_snapshot!(missing.text(), @r#"422 {"detail":[{"type":"missing","loc":["body","password"],"msg":"Field required"}]}"#);
    let big = log_in(&world, format!("username=admin&password={}", "x".repeat(20_000))).await;
    insta::assert_snapshot!(big.text(), @r#"413 {"detail":"the body is too large"}"#);
    let answer =
        log_in(&world, format!("username={}&password={}", world.username, world.password)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(answer.json()["token_type"], "bearer");
    let cookie = answer.headers["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=lax"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let whoami = |name: &'static str, value: String, origin: &'static str| {
        let request = bare(&Method::GET, "/api/v1/users/whoami").header(name, value);
        let request = request.header("host", "flows.test").header("origin", origin);
        world.send(request.body(Body::empty()).unwrap())
    };
    let bearer = format!("Bearer {token}");
    let answer = whoami("authorization", bearer.clone(), "https://evil.test").await;
    assert_eq!(answer.json()["username"], "admin");
    assert_eq!(whoami("cookie", cookie.clone(), "https://flows.test").await.status, StatusCode::OK);
    let foreign = whoami("cookie", cookie, "https://evil.test").await;
    assert_eq!(foreign.status, StatusCode::FORBIDDEN);
    let request = bare(&Method::POST, "/api/v1/logout").header("authorization", &bearer);
    let out = world.send(request.body(Body::empty()).unwrap()).await;
    insta::assert_snapshot!(out.text(), @r#"200 {"message":"Logout successful"}"#);
    let gone = whoami("authorization", bearer, "https://flows.test").await;
    assert_eq!(gone.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn logins_are_throttled() {
    let world = World::new().await;
    let mut last = None;
    for _ in 0..11 {
        last = Some(log_in(&world, "username=eve&password=guess".to_owned()).await);
    }
    let last = last.unwrap();
    assert_eq!(last.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(last.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn scopes_bound_a_key() {
    let world = World::new().await;
    let (admin, store) = (&world.admin, &world.store);
    let mut reader = admin.clone();
    reader.key = key(store, admin.tenant, admin.user, &["read"], None).await;
    let ask = |method, path: &'static str| {
        world.send(as_caller(&reader, method, path, Body::from(json!({"name": "x"}).to_string())))
    };
    assert_eq!(ask(Method::GET, "/api/v1/flows/").await.status, StatusCode::OK);
    for (method, path) in [
        (Method::POST, "/api/v1/api_key/"),
        (Method::POST, "/api/v1/run/x"),
        (Method::GET, "/api/flowcell/v1/runs"),
    ] {
        assert_eq!(ask(method, path).await.status, StatusCode::FORBIDDEN, "{path}");
    }
}

#[tokio::test]
async fn a_key_in_the_query_counts() {
    let world = World::new().await;
    let path = format!("/api/v1/users/whoami?x-api-key={}", world.admin.key);
    let answer = world.send(bare(&Method::GET, &path).body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn a_panic_is_an_opaque_500() {
    let world = World::new().await;
    let panics = async || -> &'static str { panic!("secret detail") };
    let routes = axum::Router::new()
        .route("/health", axum::routing::get(panics))
        .route("/api/flowcell/v1/panic", axum::routing::get(panics));
    let router = crate::edge::around(routes, &world.api.0);
    for (path, part) in [
        ("/health", r#"{"detail":"something failed here, reference "#),
        ("/api/flowcell/v1/panic", r#"{"error":{"code":"internal","message":"something failed "#),
    ] {
        let request = world.request(Method::GET, path, Body::empty());
        let answer = tower::ServiceExt::oneshot(router.clone(), request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = axum::body::to_bytes(answer.into_body(), 10_000).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(body.starts_with(part) && !body.contains("secret"), "{body}");
    }
}
