//! Flows, versions and projects.

use domain::id::FlowId;
use domain::run::Command;
use domain::runtime::{BuildState, Minor, Needs, Requirements};
use serde_json::json;
use store::{
    Error, Flow, FlowFilter, FlowPatch, LiveOutput, NewEgressRule, NewFlow, NewProject, NewVersion,
    Page, ProjectPatch, STARTER_PROJECT, Tenant,
};
use uuid::Uuid;

use crate::fixture::{Fixture, T0, assert_duplicate, assert_not_found, graph};

on_both! {
    taken_names_are_numbered,
    concurrent_flows_of_one_name_get_different_names,
    an_export_comes_back_verbatim,
    flows_are_found_as_langflow_finds_them,
    flows_are_changed,
    flows_with_open_runs_are_not_deleted,
    the_same_content_is_the_same_version,
    a_live_output_is_remembered_by_its_code,
    projects_hold_flows,
    egress_rules_apply_to_flows,
    what_a_flow_lists_is_kept_with_it,
    the_first_lock_of_an_image_counts,
    an_image_that_is_ready_stays_ready,
}

const IMAGE: &str = "flowcell/runtime:1";

async fn what_a_flow_lists_is_kept_with_it(f: &Fixture) {
    let owner = f.owner("a").await;
    let (tenant, flow) = (&owner.tenant, owner.flow);
    assert!(tenant.flow(flow).await.unwrap().requirements.is_empty());
    let listed = Requirements::read(["six", "humanize>=4"]).unwrap();
    tenant.set_requirements(flow, &listed).await.unwrap();
    assert_eq!(tenant.flow(flow).await.unwrap().requirements, listed);
    tenant.set_requirements(flow, &Requirements::default()).await.unwrap();
    assert!(tenant.flow(flow).await.unwrap().requirements.is_empty());
}

async fn the_first_lock_of_an_image_counts(f: &Fixture) {
    let tenant = f.owner("a").await.tenant;
    let engine = f.store.engine();
    let keep = |lock: &'static str| {
        let engine = engine.clone();
        let id = tenant.id();
        async move { engine.keep_lock(id, IMAGE, lock, T0).await.unwrap() }
    };
    assert_eq!(keep("six==1").await, "six==1");
    assert_eq!(keep("six==2").await, "six==1");
    let build = tenant.runtime_build(IMAGE).await.unwrap().unwrap();
    assert_eq!((build.state, build.lock.as_deref()), (BuildState::Queued, Some("six==1")));
    assert_eq!(engine.runtime_build(tenant.id(), IMAGE).await.unwrap(), Some(build));
}

async fn an_image_that_is_ready_stays_ready(f: &Fixture) {
    let tenant = f.owner("a").await.tenant;
    let engine = f.store.engine();
    for (state, detail, seen) in [
        (BuildState::Queued, "", BuildState::Queued),
        (BuildState::Building, "resolving", BuildState::Building),
        (BuildState::Failed, "no \0 six", BuildState::Failed),
        (BuildState::Building, "resolving", BuildState::Building),
        (BuildState::Ready, "", BuildState::Ready),
        (BuildState::Building, "resolving", BuildState::Ready),
        (BuildState::Failed, "elsewhere", BuildState::Ready),
    ] {
        engine.record_build(tenant.id(), IMAGE, (state, detail), T0).await.unwrap();
        assert_eq!(tenant.runtime_build(IMAGE).await.unwrap().unwrap().state, seen, "{state:?}");
    }
    tenant.forget_failed_build(IMAGE).await.unwrap();
    assert!(tenant.runtime_build(IMAGE).await.unwrap().is_some(), "it has not failed");
    engine.record_build(tenant.id(), "other", (BuildState::Failed, "x"), T0).await.unwrap();
    tenant.forget_failed_build("other").await.unwrap();
    assert_eq!(tenant.runtime_build("other").await.unwrap(), None);
}

async fn a_live_output_is_remembered_by_its_code(f: &Fixture) {
    let (owner, other) = (f.owner("a").await, f.owner("b").await);
    let output = |code: &str| LiveOutput { code: code.into(), output: "out".into() };
    let at = (owner.flow, owner.version);
    let current = || async { owner.tenant.flow(owner.flow).await.unwrap().header.current_version };
    assert_eq!(current().await, Some(owner.version));
    for _ in 0..2 {
        owner.tenant.remember_live_output(at, output("c1"), "T".into()).await.unwrap();
    }
    assert_eq!(current().await, None, "to be planned anew");
    let codes = ["c1".to_owned(), "c2".to_owned()];
    assert_eq!(owner.tenant.live_outputs(&codes).await.unwrap(), [output("c1")]);
    assert_eq!(other.tenant.live_outputs(&codes).await.unwrap(), []);
    // What another tenant says changes none of this one's flows.
    owner.tenant.put_version(owner.flow, &graph(), &json!(1)).await.unwrap();
    let now = current().await.unwrap();
    let foreign = other.tenant.remember_live_output((owner.flow, now), output("c2"), "T".into());
    assert_not_found(foreign.await);
    assert_eq!(current().await, Some(now));
}

async fn create(tenant: &Tenant, name: &str, endpoint: Option<&str>) -> Flow {
    let new = NewFlow {
        name: name.into(),
        endpoint_name: endpoint.map(Into::into),
        data: graph(),
        ..NewFlow::default()
    };
    tenant.create_flow(new).await.unwrap()
}

async fn taken_names_are_numbered(f: &Fixture) {
    let (a, b) = (f.owner("a").await, f.owner("b").await);
    let mut names = Vec::new();
    for name in ["X%", "X%", "X%", "X% (1)", "x%", "X%"] {
        names.push(create(&a.tenant, name, None).await.header.name);
    }
    assert_eq!(names, ["X%", "X% (1)", "X% (2)", "X% (1) (1)", "x%", "X% (3)"]);
    let mut endpoints = Vec::new();
    for _ in 0..3 {
        endpoints.push(create(&a.tenant, "E", Some("e_e")).await.header.endpoint_name.unwrap());
    }
    assert_eq!(endpoints, ["e_e", "e_e-1", "e_e-2"]);
    assert_eq!(create(&b.tenant, "X%", Some("e_e")).await.header.name, "X%", "of another tenant");
}

async fn concurrent_flows_of_one_name_get_different_names(f: &Fixture) {
    let tenant = f.owner("a").await.tenant;
    let flows = (0..6).map(|_| create(&tenant, "Same", Some("same")));
    let flows = futures::future::join_all(flows).await;
    let mut names: Vec<_> = flows.into_iter().map(|flow| flow.header.name).collect();
    names.sort();
    assert_eq!(names, ["Same", "Same (1)", "Same (2)", "Same (3)", "Same (4)", "Same (5)"]);
}

async fn an_export_comes_back_verbatim(f: &Fixture) {
    let tenant = f.owner("a").await.tenant;
    let text = r#"{"z":1,"a":{"œ":"\u0000é","n":1e2,"big":12345678901234567890},"m":[null,true]}"#;
    let export: serde_json::Value = serde_json::from_str(text).unwrap();
    let id = FlowId(Uuid::new_v4());
    let new = NewFlow {
        id: Some(id),
        name: "F".into(),
        tags: vec!["t".into()],
        data: export["a"].clone(),
        export: export.clone(),
        ..NewFlow::default()
    };
    let created = tenant.create_flow(new.clone()).await.unwrap();
    let read = tenant.flow(id).await.unwrap();
    assert_eq!(read, created);
    assert_eq!(serde_json::to_string(&read.export).unwrap(), export.to_string());
    assert_eq!(read.header.tags, ["t"]);
    assert_duplicate(tenant.create_flow(new).await, "flow id");
}

async fn flows_are_found_as_langflow_finds_them(f: &Fixture) {
    let tenant = f.owner("a").await.tenant;
    let first = create(&tenant, "First", Some("second")).await.header.id;
    let second = create(&tenant, "second", None).await.header.id;
    let find = async |name: &str| {
        let whole = tenant.find_flow(name).await.map(|flow| flow.header);
        let header = tenant.find_flow_header(name).await;
        assert_eq!(header.as_ref().ok(), whole.as_ref().ok(), "{name}");
        header.map(|flow| flow.id)
    };
    assert_eq!(find(&second.to_string()).await.unwrap(), second);
    assert_eq!(find("second").await.unwrap(), first, "the endpoint name comes first");
    assert_eq!(find("First").await.unwrap(), first);
    assert_not_found(find(&Uuid::new_v4().to_string()).await);
    assert_not_found(find("nope").await);
    assert_not_found(find("nul\0").await);
}

async fn flows_are_changed(f: &Fixture) {
    let owner = f.owner("a").await;
    let tenant = &owner.tenant;
    let other = create(tenant, "Other", Some("other")).await.header.id;
    let rename = |name: &str| FlowPatch { name: Some(name.into()), ..FlowPatch::default() };
    assert_duplicate(tenant.update_flow(other, rename("Echo")).await, "name");
    let endpoint = |name: Option<&str>| FlowPatch {
        endpoint_name: Some(name.map(Into::into)),
        ..FlowPatch::default()
    };
    assert_duplicate(
        tenant.update_flow(owner.flow, endpoint(Some("other"))).await,
        "endpoint name",
    );
    tenant.update_flow(other, rename("Other")).await.unwrap();
    let changed = tenant.update_flow(other, endpoint(None)).await.unwrap();
    assert_eq!((changed.header.name.as_str(), changed.header.endpoint_name), ("Other", None));

    let before = tenant.flow(owner.flow).await.unwrap();
    assert_eq!(before.header.current_version, Some(owner.version));
    let patch = FlowPatch {
        description: Some(Some("d".into())),
        tags: Some(vec!["x".into()]),
        data: Some(json!({"nodes": [1]})),
        ..FlowPatch::default()
    };
    let after = tenant.update_flow(owner.flow, patch).await.unwrap();
    assert_eq!(after, tenant.flow(owner.flow).await.unwrap());
    assert_eq!(after.header.current_version, None, "it was of the old graph");
    assert_eq!(after.header.description.as_deref(), Some("d"));
    assert_eq!((after.data, after.export), (json!({"nodes": [1]}), before.export));
    let listed = tenant.flows(&FlowFilter::default(), Page::first(1)).await.unwrap();
    assert_eq!((listed.items[0].name.as_str(), listed.total), ("Echo", 2));
    let whole = tenant.whole_flows(&FlowFilter::default(), Page::all()).await.unwrap();
    assert_eq!(whole.items[0].header, listed.items[0]);
}

async fn flows_with_open_runs_are_not_deleted(f: &Fixture) {
    let owner = f.owner("a").await;
    let run = owner.submit().await;
    let refused = owner.tenant.delete_flow(owner.flow).await;
    assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
    f.step(run, Command::Cancel, T0).await;
    owner.tenant.delete_flow(owner.flow).await.unwrap();
    assert_not_found(owner.tenant.flow(owner.flow).await);
    assert_not_found(owner.tenant.version(owner.version).await);
    assert_not_found(owner.tenant.run(run).await);
    assert_eq!(f.store.engine().load(run).await.unwrap(), None);
}

async fn the_same_content_is_the_same_version(f: &Fixture) {
    let owner = f.owner("a").await;
    let (tenant, flow) = (&owner.tenant, owner.flow);
    let reordered = json!({"viewport": {"x": 0}, "edges": [], "nodes": []});
    let plan = json!({"cells": []});
    let again = tenant.put_version(flow, &reordered, &plan).await.unwrap();
    assert_eq!(again, owner.version);
    let replanned = tenant.put_version(flow, &graph(), &json!({"cells": [1]})).await.unwrap();
    assert_ne!(replanned, owner.version, "another plan is another version");
    assert_eq!(tenant.flow(flow).await.unwrap().header.current_version, Some(replanned));
    let listed: Vec<_> =
        tenant.versions(flow).await.unwrap().into_iter().map(|(id, _)| id).collect();
    assert_eq!(listed, [replanned, owner.version]);
    let version = tenant.version(replanned).await.unwrap();
    assert_eq!((version.flow, version.data, version.sha256.len()), (flow, graph(), 64));
    let (data, stored, needs) = f.store.engine().version_data(owner.version).await.unwrap();
    assert_eq!((data, stored, needs), (graph(), plan.clone(), Needs::default()));
    let old = Needs { langflow: Some(Minor::new(1, 12)), ..Needs::default() };
    let new = NewVersion { data: &graph(), plan: &plan, needs: &old };
    let older = tenant.put_new_version(flow, new).await.unwrap();
    assert_ne!(older, owner.version, "another need is another version");
    assert_eq!(tenant.version(older).await.unwrap().needs, old);
    assert_eq!(f.store.engine().version_data(older).await.unwrap().2, old);
    let same = (0..4).map(|n| {
        let tenant = tenant.clone();
        async move { tenant.put_version(flow, &json!({"n": n % 2}), &json!(null)).await.unwrap() }
    });
    let ids = futures::future::join_all(same).await;
    assert!(ids[0] == ids[2] && ids[1] == ids[3] && ids[0] != ids[1], "{ids:?}");
}

async fn projects_hold_flows(f: &Fixture) {
    let owner = f.owner("a").await;
    let tenant = &owner.tenant;
    let starter = tenant.starter_project().await.unwrap();
    assert_eq!(starter.name, STARTER_PROJECT);
    assert_eq!(tenant.flow(owner.flow).await.unwrap().header.project, starter.id);
    let new = || NewProject { name: "P".into(), description: None };
    let project = tenant.create_project(new()).await.unwrap();
    assert_eq!(tenant.create_project(new()).await.unwrap().name, "P (1)");
    let rename = |name: &str| ProjectPatch { name: Some(name.into()), description: None };
    assert_duplicate(tenant.update_project(project.id, rename("P (1)")).await, "name");
    let renamed = tenant.update_project(project.id, rename("Q")).await.unwrap();
    assert_eq!(tenant.project(project.id).await.unwrap(), renamed);

    let patch = FlowPatch { project: Some(project.id), ..FlowPatch::default() };
    tenant.update_flow(owner.flow, patch).await.unwrap();
    let filter = FlowFilter { project: Some(project.id) };
    assert_eq!(tenant.flows(&filter, Page::all()).await.unwrap().total, 1);
    let refused = tenant.delete_project(project.id).await;
    assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
    tenant.delete_project(starter.id).await.unwrap();
    let again = tenant.starter_project().await.unwrap();
    assert_ne!(again.id, starter.id, "made anew when it is missing");
    assert_eq!(tenant.projects().await.unwrap().len(), 3);
}

async fn egress_rules_apply_to_flows(f: &Fixture) {
    let owner = f.owner("a").await;
    let tenant = &owner.tenant;
    let rule = |host: &str| proto::message::EgressRule {
        host: host.into(),
        port: 443,
        private: false,
        tcp: false,
    };
    let new = |flow, host| NewEgressRule { flow, node: None, rule: rule(host) };
    let for_all = tenant.create_egress_rule(new(None, "API.example.com")).await.unwrap();
    assert_eq!(for_all.rule.host, "api.example.com");
    let for_flow = tenant.create_egress_rule(new(Some(owner.flow), "b.example")).await.unwrap();
    assert_duplicate(tenant.create_egress_rule(new(None, "api.example.com")).await, "destination");
    assert_eq!(tenant.egress_rules().await.unwrap(), [for_all.clone(), for_flow.clone()]);
    assert_eq!(tenant.egress_for(owner.flow).await.unwrap().len(), 2);
    let other = create(tenant, "Other", None).await.header.id;
    let rules_for_other = async || {
        let entries = tenant.egress_for(other).await.unwrap();
        entries.into_iter().map(|entry| entry.rule).collect::<Vec<_>>()
    };
    assert_eq!(rules_for_other().await, [rule("api.example.com")]);
    let mut tcp = rule("c.example");
    tcp.tcp = true;
    tenant.update_egress_rule(for_all.id, tcp.clone()).await.unwrap();
    tenant.update_egress_rule(for_all.id, tcp.clone()).await.unwrap();
    assert_eq!(rules_for_other().await, [tcp]);
    let mut for_node = new(None, "c.example");
    for_node.node = Some("Prompt-abcde".into());
    let for_node = tenant.create_egress_rule(for_node.clone()).await.unwrap();
    assert_eq!(for_node.node.as_deref(), Some("Prompt-abcde"));
    assert_eq!(tenant.egress_for(other).await.unwrap().last(), Some(&for_node));
    tenant.delete_egress_rule(for_flow.id).await.unwrap();
    assert_not_found(tenant.delete_egress_rule(for_flow.id).await);
}
