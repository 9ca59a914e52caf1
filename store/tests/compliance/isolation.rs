//! A tenant sees nothing of another: every method, one row each.

use std::collections::BTreeSet;

use domain::admission::{FlowSettings, TenantSettings};
use domain::flow::Graph;
use domain::id::{KeyId, MessageId, ProjectId, RunId, UserId, VariableId};
use domain::limits::{Overrides, Setting, TenantLimits};
use domain::retention::Overrides as Retention;
use domain::run::Command;
use domain::runtime::{BuildState, Needs, Requirements};
use proto::connection::ConnectionLog;
use proto::message::{AttemptRef, EgressRule};
use serde_json::json;
use store::{
    Error, File, FileOwner, FlowFilter, FlowPatch, KnowledgeBase, LiveOutput, MessageFilter,
    MessagePatch, NewApiKey, NewEgressRule, NewFlow, NewMessage, NewProject, NewUser, NewVariable,
    NewVersion, Page, ProjectPatch, RunFilter, STARTER_PROJECT, Secret, Tenant, VariableKind,
    VariablePatch,
};
use uuid::Uuid;

use crate::fixture::{Fixture, Owner, T0, claim, finish, graph, result, transition, worker};
use crate::{files, human, knowledge};

on_both! { a_foreign_tenant_sees_nothing }

const IMAGE: &str = "flowcell/runtime:1";

/// Everything that one tenant can have.
struct Rows {
    owner: Owner,
    project: ProjectId,
    user: UserId,
    key: KeyId,
    variable: VariableId,
    message: MessageId,
    rule: Uuid,
    run: RunId,
    asking: RunId,
    file: File,
    base: KnowledgeBase,
}

/// A graph with code of which the owner knows something.
fn coded() -> Graph {
    Graph::read(&testkit::flows::graph(&[("Maker-a", &[])])).unwrap()
}

fn live_output() -> LiveOutput {
    let code = coded().node("Maker-a").and_then(domain::flow::Node::code_digest).unwrap();
    LiveOutput { code, output: "out".into() }
}

/// What a method gave to the stranger.
#[derive(Debug, PartialEq)]
enum Saw {
    /// As if there were no such row.
    NotFound,
    /// A list without the owner's rows.
    Nothing,
    /// The stranger's own new row, which the owner's rows had no influence on.
    Own,
    Something(String),
}

trait Look {
    fn look(self) -> Saw;
}

impl<T: std::fmt::Debug> Look for Result<T, Error> {
    fn look(self) -> Saw {
        match self {
            Err(Error::NotFound { .. }) => Saw::NotFound,
            other => Saw::Something(format!("{other:?}")),
        }
    }
}

/// For lists: whether nothing is in it.
fn list<T: std::fmt::Debug>(listed: Result<Vec<T>, Error>) -> Saw {
    match listed {
        Ok(items) if items.is_empty() => Saw::Nothing,
        other => Saw::Something(format!("{other:?}")),
    }
}

/// For what the stranger may make: whether it is as if the owner had made nothing.
fn own(as_wished: bool) -> Saw {
    if as_wished { Saw::Own } else { Saw::Something("influenced by the owner's rows".into()) }
}

async fn rows(f: &Fixture) -> Rows {
    let owner = f.owner("owner").await;
    let tenant = &owner.tenant;
    let project = NewProject { name: "P".into(), description: None };
    let project = tenant.create_project(project).await.unwrap().id;
    let user = NewUser { username: "u".into(), password: Secret::new("p"), is_superuser: false };
    let user = tenant.create_user(user).await.unwrap().id;
    let key = tenant.create_api_key(new_key(user)).await.unwrap().key.id;
    let variable = tenant.create_variable(new_variable()).await.unwrap().id;
    let message = tenant.store_message(new_message(&owner)).await.unwrap().id;
    let rule = tenant.create_egress_rule(new_rule(&owner)).await.unwrap().id;
    let at = (owner.flow, owner.version);
    tenant.remember_live_output(at, live_output(), "T".into()).await.unwrap();
    assert_eq!(tenant.observed(&coded()).await.unwrap().len(), 1);
    let file = files::new(FileOwner::User(user), "secret", vec![1; 10]);
    let file = tenant.create_file(file, files::LIMITS).await.unwrap();
    let base = tenant.create_knowledge_base(knowledge::new(user, "laws")).await.unwrap();
    let limits = TenantLimits { limits: new_limits(), maximum: new_limits() };
    tenant.set_limits(&limits).await.unwrap();
    tenant.set_flow_limits(owner.flow, &new_limits()).await.unwrap();
    let set = TenantSettings { weight: Some(7), ..TenantSettings::default() };
    tenant.set_admission(&set).await.unwrap();
    let set = FlowSettings { runs_max: Some(7), ..FlowSettings::default() };
    tenant.set_flow_admission(owner.flow, &set).await.unwrap();
    tenant.submit(owner.new_run()).await.unwrap();
    tenant.set_retention(Retention { runs_days: Some(9), messages: None }).await.unwrap();
    let mut new = owner.new_run();
    new.idempotency_key = Some("key".into());
    let run = tenant.submit(new).await.unwrap().run;
    f.step(run, Command::Start { skip: vec![] }, T0).await;
    f.step(run, claim(0, worker(1)), T0).await;
    let told = knowledge::segment(run, 1, 0, "told");
    tenant.add_knowledge(user, base.id, told, 1_000).await.unwrap();
    let record = f.load(run).await;
    let decision = domain::run::decide(&record.run, &finish(0, worker(1)), T0).unwrap();
    let mut change = transition(&record, &decision, T0);
    change.results = vec![result(0, 100_000)];
    f.store.engine().commit(change).await.unwrap();
    f.store.engine().archive_event_log(run, b"log").await.unwrap();
    let attempt = AttemptRef { run, task: 0, attempt: 1 };
    let log = ConnectionLog { revision: 1, ..ConnectionLog::default() };
    f.store.engine().record_connections(worker(1), attempt, &log).await.unwrap();
    let failed = (BuildState::Failed, "no six");
    f.store.engine().record_build(tenant.id(), IMAGE, failed, T0).await.unwrap();
    let asking = owner.submit().await;
    f.step(asking, Command::Start { skip: vec![] }, T0).await;
    human::asks(f, asking, human::asked(&owner, 0, 1)).await;
    Rows { owner, project, user, key, variable, message, rule, run, asking, file, base }
}

fn new_key(user: UserId) -> NewApiKey {
    NewApiKey { user, name: "k".into(), scopes: vec![], expires: None }
}

fn new_variable() -> NewVariable {
    let (kind, value) = (VariableKind::Generic, Secret::new("v"));
    NewVariable { name: "V".into(), kind, value, default_fields: vec![] }
}

/// Under the id of a message of theirs, for a flow of one's own or theirs.
fn their_message(rows: &Rows) -> NewMessage {
    NewMessage { id: Some(rows.message), run: Some(rows.run), ..new_message(&rows.owner) }
}

fn new_message(owner: &Owner) -> NewMessage {
    NewMessage {
        id: None,
        flow: owner.flow,
        session_id: "s".into(),
        run: None,
        task: None,
        sender: "User".into(),
        sender_name: "User".into(),
        timestamp: T0,
        data: json!({}),
    }
}

fn new_rule(owner: &Owner) -> NewEgressRule {
    let rule = EgressRule { host: "h".into(), port: 1, private: false, tcp: false };
    NewEgressRule { flow: Some(owner.flow), node: None, rule }
}

fn new_limits() -> Overrides {
    [(Setting::Pids, 9)].into_iter().collect()
}

/// For limits: whether nothing is set.
fn unset<T: Default + PartialEq + std::fmt::Debug>(found: Result<T, Error>) -> Saw {
    match found {
        Ok(found) if found == T::default() => Saw::Nothing,
        other => Saw::Something(format!("{other:?}")),
    }
}

async fn a_foreign_tenant_sees_nothing(f: &Fixture) {
    let rows = rows(f).await;
    let before = snapshot(&rows).await;
    let stranger = f.store.tenant(f.store.create_tenant("stranger").await.unwrap());
    // And a tenant that does not exist at all sees no more.
    let nobody = f.store.tenant(domain::id::TenantId(Uuid::new_v4()));
    let mut tried = BTreeSet::new();
    for (tenant, exists) in [(&stranger, true), (&nobody, false)] {
        let mut table = flows_table(tenant, &rows).await;
        table.extend(runs_table(tenant, &rows).await);
        table.extend(people_table(tenant, &rows).await);
        table.extend(files_table(tenant, &rows).await);
        table.extend(knowledge_table(tenant, &rows).await);
        if exists {
            table.extend(making_table(tenant, &rows).await);
        }
        for (method, saw) in table {
            assert!(!matches!(saw, Saw::Something(_)), "{method}: {saw:?}");
            tried.insert(method);
        }
    }
    assert_eq!(snapshot(&rows).await, before, "nothing of the owner's was changed");
    assert_eq!(tried, methods(), "every method of `Tenant` has a row in a table");
}

async fn flows_table(t: &Tenant, rows: &Rows) -> Vec<(&'static str, Saw)> {
    let (flow, version) = (rows.owner.flow, rows.owner.version);
    let all = FlowFilter { project: Some(rows.project) };
    let patch = FlowPatch { name: Some("mine".into()), ..FlowPatch::default() };
    let rename = ProjectPatch { name: Some("mine".into()), description: None };
    let rule = new_rule(&rows.owner).rule;
    vec![
        ("create_flow", {
            let project = Some(rows.project);
            t.create_flow(NewFlow { name: "F".into(), project, ..NewFlow::default() }).await.look()
        }),
        ("flows", list(t.flows(&all, Page::all()).await.map(|found| found.items))),
        (
            "flows",
            list(t.flows(&FlowFilter::default(), Page::all()).await.map(|found| found.items)),
        ),
        ("whole_flows", {
            let found = t.whole_flows(&FlowFilter::default(), Page::all()).await;
            list(found.map(|found| found.items))
        }),
        ("flow", t.flow(flow).await.look()),
        ("find_flow", t.find_flow(&flow.to_string()).await.look()),
        ("find_flow", t.find_flow("Echo").await.look()),
        ("find_flow_header", t.find_flow_header("Echo").await.look()),
        ("flow_named", t.flow_named("Echo").await.look()),
        ("update_flow", t.update_flow(flow, patch).await.look()),
        ("delete_flow", t.delete_flow(flow).await.look()),
        ("set_requirements", t.set_requirements(flow, &Requirements::default()).await.look()),
        ("runtime_build", unset(t.runtime_build(IMAGE).await)),
        ("forget_failed_build", own(t.forget_failed_build(IMAGE).await.is_ok())),
        ("put_version", t.put_version(flow, &graph(), &json!(1)).await.look()),
        ("put_new_version", {
            let (data, needs) = (graph(), Needs::default());
            let new = NewVersion { data: &data, plan: &json!(1), needs: &needs };
            t.put_new_version(flow, new).await.look()
        }),
        ("version", t.version(version).await.look()),
        ("versions", t.versions(flow).await.look()),
        ("live_outputs", list(t.live_outputs(&[live_output().code]).await)),
        ("observed", {
            let found = t.observed(&coded()).await;
            list(found.map(|found| found.into_iter().collect::<Vec<_>>()))
        }),
        ("remember_live_output", {
            t.remember_live_output((flow, version), live_output(), "T".into()).await.look()
        }),
        ("projects", {
            let found = t.projects().await.unwrap();
            list(Ok(found.into_iter().filter(|p| p.name != STARTER_PROJECT).collect()))
        }),
        ("project", t.project(rows.project).await.look()),
        ("update_project", t.update_project(rows.project, rename).await.look()),
        ("delete_project", t.delete_project(rows.project).await.look()),
        ("create_egress_rule", t.create_egress_rule(new_rule(&rows.owner)).await.look()),
        ("egress_rules", list(t.egress_rules().await)),
        ("egress_for", list(t.egress_for(flow).await)),
        ("update_egress_rule", t.update_egress_rule(rows.rule, rule).await.look()),
        ("delete_egress_rule", t.delete_egress_rule(rows.rule).await.look()),
        ("limits", unset(t.limits().await)),
        ("flow_limits", t.flow_limits(flow).await.look()),
        ("set_flow_limits", t.set_flow_limits(flow, &Overrides::default()).await.look()),
        ("limits_for", unset(t.limits_for(flow).await)),
        ("standing", t.standing(rows.run, T0).await.look()),
        ("admission", unset(t.admission().await)),
        ("admission_for", unset(t.admission_for(flow).await)),
        ("flow_admission", t.flow_admission(flow).await.look()),
        ("set_flow_admission", t.set_flow_admission(flow, &FlowSettings::default()).await.look()),
        ("queued_runs", unset(t.queued_runs(10).await)),
    ]
}

async fn runs_table(t: &Tenant, rows: &Rows) -> Vec<(&'static str, Saw)> {
    let cells = ["A".to_owned()];
    let all = MessageFilter::default();
    let ids = MessageFilter { ids: Some(vec![rows.message]), ..MessageFilter::default() };
    let mut new = rows.owner.new_run();
    new.idempotency_key = Some("key".into());
    vec![
        ("submit", t.submit(new).await.look()),
        ("run_settings", unset(t.run_settings(rows.owner.flow).await)),
        ("run", t.run(rows.run).await.look()),
        ("run_header", t.run_header(rows.run).await.look()),
        ("runs", {
            let found = t.runs(&RunFilter::default(), Page::all()).await.unwrap();
            assert_eq!(found.total, 0);
            list(Ok(found.items))
        }),
        ("results", t.results(rows.run, &cells).await.look()),
        ("ended_run", t.ended_run(rows.run).await.look()),
        ("results_in_order", t.results_in_order(rows.run, &BTreeSet::from([0])).await.look()),
        ("dismiss", t.dismiss(rows.run).await.look()),
        ("event_log", t.event_log(rows.run).await.look()),
        ("connections", t.connections(rows.run).await.look()),
        ("human_requests", t.human_requests(rows.asking).await.look()),
        ("pending_requests", list(t.pending_requests(None, None).await)),
        ("pending_requests", list(t.pending_requests(None, Some(rows.asking)).await)),
        ("decide", t.decide(rows.asking, "A:1", &json!({}), T0).await.look()),
        ("close_questions", list(t.close_questions(rows.asking).await.map(|()| Vec::<()>::new()))),
        ("store_message", t.store_message(new_message(&rows.owner)).await.look()),
        ("put_message", t.put_message(their_message(rows)).await.look()),
        ("update_message", t.update_message(rows.message, MessagePatch::default()).await.look()),
        ("messages", list(t.messages(&all).await)),
        ("messages", list(t.messages(&ids).await)),
        (
            "delete_messages",
            list(t.delete_messages(&ids).await.map(|n| vec![(); usize::try_from(n).unwrap()])),
        ),
        ("sessions", list(t.sessions(Some(rows.owner.flow)).await)),
        ("sessions", list(t.sessions(None).await)),
        ("rename_session", t.rename_session("s", "mine").await.look()),
    ]
}

async fn people_table(t: &Tenant, rows: &Rows) -> Vec<(&'static str, Saw)> {
    let rename = VariablePatch { name: Some("mine".into()), ..VariablePatch::default() };
    let names = ["V".to_owned()];
    let given = [("V".to_owned(), Secret::new("given"))].into();
    let sealed = rows.owner.tenant.seal_for_run(rows.run, &given).await.unwrap();
    vec![
        (
            "reveal_of_run",
            match t.reveal_of_run(rows.run, &sealed).await {
                // The bytes in hand are no secret; that they do not open is what counts.
                Err(Error::Undecryptable { .. }) => Saw::Nothing,
                other => other.look(),
            },
        ),
        ("variables", list(t.variables().await)),
        ("update_variable", t.update_variable(rows.variable, rename).await.look()),
        ("delete_variable", t.delete_variable(rows.variable).await.look()),
        ("reveal", list(t.reveal(&names).await.map(|found| found.into_keys().collect()))),
        ("create_api_key", t.create_api_key(new_key(rows.user)).await.look()),
        ("api_keys", list(t.api_keys(None).await)),
        ("api_keys", list(t.api_keys(Some(rows.user)).await)),
        ("revoke_api_key", t.revoke_api_key(rows.key).await.look()),
        ("key_runs_max", t.key_runs_max(rows.key).await.look()),
        ("set_key_runs_max", t.set_key_runs_max(rows.key, Some(9)).await.look()),
        ("user", t.user(rows.user).await.look()),
        ("users", list(t.users().await)),
        ("change_password", t.change_password(rows.user, &Secret::new("mine")).await.look()),
        ("set_active", t.set_active(rows.user, false).await.look()),
    ]
}

async fn files_table(t: &Tenant, rows: &Rows) -> Vec<(&'static str, Saw)> {
    let (File { owner, id, path_name, .. }, limits) = (&rows.file, files::LIMITS);
    let of_flow = FileOwner::Flow(rows.owner.flow);
    vec![
        ("create_file", t.create_file(files::new(*owner, "mine", vec![]), limits).await.look()),
        ("create_file", t.create_file(files::new(of_flow, "mine", vec![]), limits).await.look()),
        ("put_file", t.put_file(files::new(*owner, "secret", vec![]), limits).await.look()),
        ("put_file", t.put_file(files::new(of_flow, "mine", vec![]), limits).await.look()),
        ("files", list(t.files(*owner).await)),
        ("files", list(t.files(of_flow).await)),
        ("file", t.file(*owner, *id).await.look()),
        ("find_file", t.find_file(*owner, path_name).await.look()),
        ("read_file", t.read_file(&rows.file, 0).await.look()),
        ("rename_file", t.rename_file(*owner, *id, "mine").await.look()),
        ("delete_file", t.delete_file(*owner, *id).await.look()),
    ]
}

async fn knowledge_table(t: &Tenant, rows: &Rows) -> Vec<(&'static str, Saw)> {
    let (user, id, all) = (rows.user, rows.base.id, (-1, 1_000));
    let reader = AttemptRef { run: rows.run, task: 0, attempt: 1 };
    let told = knowledge::segment(rows.run, 1, 1, "mine");
    let nothing = serde_json::Map::new();
    vec![
        ("create_knowledge_base", {
            t.create_knowledge_base(knowledge::new(user, "mine")).await.look()
        }),
        ("knowledge_bases", list(t.knowledge_bases(user).await)),
        ("knowledge_base", t.knowledge_base(user, "laws").await.look()),
        ("read_knowledge", t.read_knowledge(user, id, reader, all).await.look()),
        ("add_knowledge", t.add_knowledge(user, id, told, 1_000).await.look()),
        ("note_knowledge", t.note_knowledge(user, id, &nothing).await.look()),
        ("delete_knowledge_base", t.delete_knowledge_base(user, id).await.look()),
    ]
}

/// What takes no id of the owner's: the stranger gets what an only tenant would get.
async fn making_table(t: &Tenant, rows: &Rows) -> Vec<(&'static str, Saw)> {
    let project =
        t.create_project(NewProject { name: "P".into(), description: None }).await.unwrap();
    let starter = t.starter_project().await.unwrap();
    let flow = NewFlow { name: "Echo".into(), ..NewFlow::default() };
    let flow = t.create_flow(flow).await.unwrap();
    let theirs = NewFlow { name: "F".into(), owner: Some(rows.user), ..NewFlow::default() };
    let variable = t.create_variable(new_variable()).await;
    let given = [("V".to_owned(), Secret::new("mine"))].into();
    let sealed = t.seal_for_run(rows.run, &given).await.unwrap();
    let opened = t.reveal_of_run(rows.run, &sealed).await.unwrap();
    let user = NewUser { username: "v".into(), password: Secret::new("p"), is_superuser: false };
    let user = t.create_user(user).await.unwrap();
    vec![
        ("create_project", own(project.name == "P")),
        ("starter_project", own(t.projects().await.unwrap().contains(&starter))),
        ("create_flow", own(flow.header.name == "Echo")),
        ("create_flow", t.create_flow(theirs).await.look()),
        ("create_variable", own(variable.is_ok())),
        ("seal_for_run", own(opened == given)),
        ("put_variable", own(t.put_variable(new_variable()).await.is_ok())),
        ("create_user", own(t.users().await.unwrap() == [user])),
        ("retention", own(t.retention().await.is_ok_and(|set| set == Retention::default()))),
        ("set_retention", own(t.set_retention(Retention::default()).await.is_ok())),
        ("set_limits", own(t.set_limits(&TenantLimits::default()).await.is_ok())),
        ("set_admission", own(t.set_admission(&TenantSettings::default()).await.is_ok())),
    ]
}

/// All that the owner can see.
async fn snapshot(rows: &Rows) -> String {
    let t = &rows.owner.tenant;
    let flows = t.whole_flows(&FlowFilter::default(), Page::all()).await.unwrap();
    let names = ["V".to_owned()];
    let revealed = t.reveal(&names).await.unwrap()["V"].expose().to_owned();
    let cells = ["A".to_owned()];
    let results = t.results(rows.run, &cells).await.unwrap();
    let seen = (t.projects().await.unwrap(), flows, t.versions(rows.owner.flow).await.unwrap());
    let people = (t.users().await.unwrap(), t.api_keys(None).await.unwrap(), revealed);
    let chat = t.messages(&MessageFilter::default()).await.unwrap();
    let runs = (t.run(rows.run).await.unwrap(), results, t.egress_rules().await.unwrap());
    let log = t.event_log(rows.run).await.unwrap();
    let log = (log, t.connections(rows.run).await.unwrap());
    let limits = (t.limits_for(rows.owner.flow).await.unwrap(), t.variables().await.unwrap());
    let flow = rows.owner.flow;
    let turns = (t.admission_for(flow).await.unwrap(), t.key_runs_max(rows.key).await.unwrap());
    let files = (t.files(rows.file.owner).await.unwrap(), t.read_file(&rows.file, 0).await);
    let build = t.runtime_build(IMAGE).await.unwrap().unwrap();
    let reader = AttemptRef { run: rows.run, task: 0, attempt: 1 };
    let told = t.read_knowledge(rows.user, rows.base.id, reader, (-1, 1_000)).await.unwrap();
    let knowledge = (t.knowledge_bases(rows.user).await.unwrap(), told);
    format!(
        "{seen:?} {people:?} {chat:?} {runs:?} {log:?} {limits:?} {files:?} {build:?} {turns:?} \
        {knowledge:?}"
    )
}

/// The public methods of `Tenant`, read from the source.
fn methods() -> BTreeSet<&'static str> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tenant");
    let mut found = BTreeSet::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap().leak();
        found.extend(text.split("pub async fn ").skip(1).filter_map(|rest| rest.split('(').next()));
    }
    assert!(found.len() > 40, "the source is where it is looked for: {found:?}");
    found
}

#[test]
fn the_list_of_methods_is_read_from_the_source() {
    assert!(methods().contains("put_version"));
}
