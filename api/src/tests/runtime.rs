//! Which runtime a flow gets, and what its owner is told.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use domain::runtime::{Build, BuildState, Minor, Needs, Runtimes};
use serde_json::{Value, json};

use super::world::{World, as_caller, echo_body};
use crate::Config;

const RUNTIME: &str = "/api/flowcell/v1/flows/echo/runtime";
const REQUIREMENTS: &str = "/api/flowcell/v1/flows/echo/requirements";

fn exported_by(version: &str) -> Value {
    let mut body = echo_body("echo");
    body["last_tested_version"] = json!(version);
    body
}

async fn with_old_runtime() -> World {
    let mut runtimes = Runtimes::default();
    runtimes.images.insert(Minor::new(1, 12), "flowcell/runner:lfx-1.12".to_owned());
    World::with(Config { runtimes, ..Config::default() }).await
}

#[tokio::test]
async fn a_flow_of_another_version_comes_with_a_warning() {
    let world = World::new().await;
    world.post("/api/v1/flows/", &exported_by("1.12.8")).await;
    let view = world.get(RUNTIME).await.json();
    assert_eq!((&view["exported_by"], &view["runs_under"]), (&json!("1.12"), &json!("1.13")));
    let warning = view["warnings"][0].as_str().unwrap();
    assert!(warning.starts_with("Langflow 1.12 exported this flow"), "{warning}");
    let changed: Vec<_> = view["changes"].as_array().unwrap().iter().collect();
    assert!(changed.iter().any(|change| change["node"] == "ChatInput-aaaaa"), "{changed:?}");
    let accepted = world.post("/api/flowcell/v1/runs", &json!({"flow": "echo"})).await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED);
    assert_eq!(accepted.json()["warnings"], view["warnings"]);
}

#[tokio::test]
async fn a_flow_that_has_its_own_runtime_comes_with_none() {
    let world = with_old_runtime().await;
    world.post("/api/v1/flows/", &exported_by("1.12.8")).await;
    let view = world.get(RUNTIME).await.json();
    assert_eq!(view["runs_under"], "1.12");
    assert_eq!((&view["warnings"], &view["changes"]), (&json!([]), &json!([])));
    let accepted = world.post("/api/flowcell/v1/runs", &json!({"flow": "echo"})).await;
    assert_eq!(accepted.json().get("warnings"), None);
}

#[tokio::test]
async fn another_version_of_langflow_makes_another_version_of_the_flow() {
    let world = with_old_runtime().await;
    let id = world.post("/api/v1/flows/", &exported_by("1.12.8")).await.json()["id"].clone();
    let before = world.get(RUNTIME).await.json();
    let path = format!("/api/v1/flows/{}", id.as_str().unwrap());
    let changed = world.patch(&path, &json!({"last_tested_version": "1.13.0"})).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.body);
    let after = world.get(RUNTIME).await.json();
    assert_eq!(after["runs_under"], "1.13");
    assert_ne!(after["version_id"], before["version_id"]);
}

#[tokio::test]
async fn an_export_that_names_no_version_runs_under_the_default() {
    let world = with_old_runtime().await;
    world.echo_flow().await;
    let view = world.get(RUNTIME).await.json();
    assert_eq!((&view["exported_by"], &view["runs_under"]), (&Value::Null, &json!("1.13")));
    assert_eq!(view["warnings"], json!([]));
}

async fn with_listed_packages() -> World {
    let runtimes = Runtimes { build: Build::Listed, ..Runtimes::default() };
    World::with(Config { runtimes, ..Config::default() }).await
}

#[tokio::test]
async fn what_a_flow_lists_becomes_part_of_its_next_version() {
    let world = with_listed_packages().await;
    world.echo_flow().await;
    let before = world.get(RUNTIME).await.json();
    assert_eq!((&before["requirements"], &before["build"]), (&json!([]), &Value::Null));
    let body = json!({"requirements": ["# for people", "Humanize >= 4", ""]});
    let set = world.put(REQUIREMENTS, &body).await;
    assert_eq!(set.status, StatusCode::OK, "{}", set.body);
    let set = set.json();
    assert_eq!(set["requirements"], json!(["humanize>=4"]));
    assert_ne!(set["version_id"], before["version_id"]);
    assert_eq!(set["build"], Value::Null, "nothing is built before a run needs it");
    assert_eq!(world.get(RUNTIME).await.json(), set);
    let same = world.put(REQUIREMENTS, &json!({"requirements": ["humanize>=4"]})).await.json();
    assert_eq!(same["version_id"], set["version_id"]);
    let cleared = world.put(REQUIREMENTS, &json!({"requirements": []})).await.json();
    assert_eq!(cleared["version_id"], before["version_id"], "the version that it was before");
}

#[tokio::test]
async fn lines_that_say_more_than_names_and_versions_are_refused() {
    let world = with_listed_packages().await;
    world.echo_flow().await;
    let body =
        json!({"requirements": ["six", "--index-url https://evil.example", "x @ git+ssh://y"]});
    let refused = world.put(REQUIREMENTS, &body).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let error = refused.json()["error"].clone();
    assert_eq!(error["code"], "requirements_invalid");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.starts_with("line 2, \"--index-url https://evil.example\": options"),
        "{message}"
    );
    assert_eq!(error["details"]["problems"].as_array().unwrap().len(), 2);
    assert_eq!(world.get(RUNTIME).await.json()["requirements"], json!([]));
}

#[tokio::test]
async fn an_operator_who_builds_nothing_takes_no_list() {
    let world = World::new().await;
    world.echo_flow().await;
    let refused = world.put(REQUIREMENTS, &json!({"requirements": ["six"]})).await;
    assert_eq!(refused.json()["error"]["code"], "requirements_off");
    let nothing = world.put(REQUIREMENTS, &json!({"requirements": []})).await;
    assert_eq!(nothing.status, StatusCode::OK);
}

#[tokio::test]
async fn a_build_is_seen_by_its_owner_only() {
    let world = with_listed_packages().await;
    world.echo_flow().await;
    world.put(REQUIREMENTS, &json!({"requirements": ["six"]})).await;
    let flow = world.store.tenant(world.admin.tenant).find_flow("echo").await.unwrap();
    let needs = Needs { requirements: flow.requirements, ..Needs::default() };
    let runtimes = Runtimes::default();
    let image = runtimes.packaged(world.admin.tenant, &needs).unwrap().image;
    let (engine, now) = (world.store.engine(), store::now());
    let tenant = world.admin.tenant;
    engine.record_build(tenant, &image, (BuildState::Failed, "no six"), now).await.unwrap();
    let build = world.get(RUNTIME).await.json()["build"].clone();
    assert_eq!((&build["state"], &build["detail"]), (&json!("failed"), &json!("no six")));
    let answer = as_caller(&world.other, Method::GET, RUNTIME, Body::empty());
    assert_eq!(world.send(answer).await.status, StatusCode::NOT_FOUND);
    let again = world.put(REQUIREMENTS, &json!({"requirements": ["six"]})).await.json();
    assert_eq!(again["build"], Value::Null, "the next run tries it again");
}

#[tokio::test]
async fn what_an_export_mentions_is_installed_only_where_the_operator_says_so() {
    let mut body = echo_body("echo");
    body["data"]["nodes"][1]["data"]["node"]["metadata"] = json!({"dependencies": {"dependencies": [
        {"name": "humanize", "version": "4.9.0"}, {"name": "pandas", "version": "2.2.3"},
    ]}});
    for (build, requirements, mentioned) in [
        (Build::Listed, json!([]), json!(["humanize==4.9.0"])),
        (Build::Derived, json!(["humanize==4.9.0"]), json!([])),
    ] {
        let runtimes = Runtimes { build, ..Runtimes::default() };
        let world = World::with(Config { runtimes, ..Config::default() }).await;
        world.post("/api/v1/flows/", &body).await;
        let view = world.get(RUNTIME).await.json();
        assert_eq!((&view["requirements"], &view["mentioned"]), (&requirements, &mentioned));
        let listed = world.put(REQUIREMENTS, &json!({"requirements": ["six"]})).await.json();
        assert_eq!(listed["requirements"], json!(["six"]), "what is listed counts");
    }
}
