//! Variables: sealed at rest, opened only where they belong.

use std::collections::BTreeMap;

use domain::id::RunId;
use sea_orm::{ConnectionTrait, Database, Statement};
use store::seal::KeyEncryptionKey;
use store::{Error, NewVariable, Secret, Store, VariableKind, VariablePatch};
use uuid::Uuid;

use crate::fixture::{Fixture, assert_duplicate, assert_not_found, settings};

on_both! {
    variables_are_stored_changed_and_revealed,
    a_value_opens_only_under_its_name_and_tenant,
    another_key_opens_nothing,
    no_value_is_stored_in_the_clear,
    values_of_a_run_open_for_that_run_only,
}

fn variable(name: &str, value: &str) -> NewVariable {
    NewVariable {
        name: name.into(),
        kind: VariableKind::Credential,
        value: Secret::new(value),
        default_fields: vec!["Key".into()],
    }
}

async fn variables_are_stored_changed_and_revealed(f: &Fixture) {
    let tenant = f.owner("a").await.tenant;
    let created = tenant.create_variable(variable("A", "one")).await.unwrap();
    assert_duplicate(tenant.create_variable(variable("A", "two")).await, "name");
    tenant.put_variable(variable("B", "two")).await.unwrap();
    tenant.put_variable(variable("B", "two again")).await.unwrap();
    let names: Vec<_> =
        tenant.variables().await.unwrap().into_iter().map(|variable| variable.name).collect();
    assert_eq!(names, ["A", "B"]);
    let rename = VariablePatch { name: Some("B".into()), ..VariablePatch::default() };
    assert_duplicate(tenant.update_variable(created.id, rename).await, "name");
    let patch = VariablePatch {
        name: Some("C".into()),
        kind: Some(VariableKind::Generic),
        ..VariablePatch::default()
    };
    let changed = tenant.update_variable(created.id, patch).await.unwrap();
    assert_eq!((changed.name.as_str(), changed.kind), ("C", VariableKind::Generic));
    let wanted = ["A", "B", "C", "nul\0"].map(str::to_owned);
    let revealed = tenant.reveal(&wanted).await.unwrap();
    let revealed: Vec<_> = revealed.iter().map(|(name, v)| (name.as_str(), v.expose())).collect();
    assert_eq!(revealed, [("B", "two again"), ("C", "one")], "renamed with its value");
    let patch = VariablePatch { value: Some(Secret::new("new")), ..VariablePatch::default() };
    tenant.update_variable(created.id, patch).await.unwrap();
    assert_eq!(tenant.reveal(&wanted).await.unwrap()["C"].expose(), "new");
    tenant.delete_variable(created.id).await.unwrap();
    assert_not_found(tenant.delete_variable(created.id).await);
}

/// Copies the sealed bytes of one variable over another's, as somebody with access to the
/// database could.
async fn move_sealed(f: &Fixture, from: Uuid, to: Uuid) {
    let connection = Database::connect(f.database.url()).await.unwrap();
    let backend = connection.get_database_backend();
    let sql = match f.database.kind() {
        testkit::database::Kind::Sqlite => {
            "UPDATE variables SET sealed = (SELECT sealed FROM variables WHERE id = ?) WHERE id = ?"
        }
        testkit::database::Kind::Postgres => {
            "UPDATE variables SET sealed = (SELECT sealed FROM variables WHERE id = $1) WHERE id = $2"
        }
    };
    let statement = Statement::from_sql_and_values(backend, sql, [from.into(), to.into()]);
    assert_eq!(connection.execute_raw(statement).await.unwrap().rows_affected(), 1);
    connection.close().await.unwrap();
}

#[track_caller]
fn assert_undecryptable<T: std::fmt::Debug>(result: Result<T, Error>, expected: &str) {
    let Err(error) = result else { panic!("{result:?}") };
    assert!(matches!(&error, Error::Undecryptable { name } if name == expected), "{error:?}");
    let shown = format!("{error} {error:?}");
    assert!(shown.contains(expected) && !shown.contains("s3cret"), "{shown}");
}

async fn a_value_opens_only_under_its_name_and_tenant(f: &Fixture) {
    let (a, b) = (f.owner("a").await.tenant, f.owner("b").await.tenant);
    let source = a.create_variable(variable("A", "s3cret")).await.unwrap();
    let other_name = a.create_variable(variable("B", "x")).await.unwrap();
    let other_tenant = b.create_variable(variable("A", "x")).await.unwrap();
    for (tenant, target) in [(&a, &other_name), (&b, &other_tenant)] {
        move_sealed(f, source.id.uuid(), target.id.uuid()).await;
        assert_undecryptable(tenant.reveal(std::slice::from_ref(&target.name)).await, &target.name);
    }
    assert_eq!(a.reveal(&["A".into()]).await.unwrap()["A"].expose(), "s3cret");
    let both = a.reveal(&["A".into(), "B".into()]).await;
    assert_undecryptable(both, "B");
}

async fn another_key_opens_nothing(f: &Fixture) {
    let tenant = f.owner("a").await.tenant;
    let created = tenant.create_variable(variable("A", "s3cret")).await.unwrap();
    let stranger =
        Store::connect(&settings(&f.database), KeyEncryptionKey::generate()).await.unwrap();
    let foreign = stranger.tenant(tenant.id());
    assert_undecryptable(foreign.reveal(&["A".into()]).await, "A");
    assert_undecryptable(foreign.put_variable(variable("B", "s3cret")).await, "B");
    let rename = VariablePatch { name: Some("C".into()), ..VariablePatch::default() };
    assert_undecryptable(foreign.update_variable(created.id, rename).await, "A");
    assert!(matches!(stranger.check().await, Err(Error::WrongKey)));
    assert!(matches!(stranger.create_tenant("c").await, Err(Error::WrongKey)));
    f.store.check().await.unwrap();
    stranger.close().await.unwrap();
}

async fn no_value_is_stored_in_the_clear(f: &Fixture) {
    let tenant = f.owner("a").await.tenant;
    tenant.create_variable(variable("A", "canary-51c0a2")).await.unwrap();
    let connection = Database::connect(f.database.url()).await.unwrap();
    let backend = connection.get_database_backend();
    let statement = Statement::from_string(backend, "SELECT sealed FROM variables");
    let row = connection.query_one_raw(statement).await.unwrap().unwrap();
    let sealed: Vec<u8> = row.try_get_by_index(0).unwrap();
    assert!(!sealed.windows(6).any(|window| window == b"canary"));
    assert_eq!(sealed.len(), 1 + 24 + 13 + 16);
    connection.close().await.unwrap();
}

async fn values_of_a_run_open_for_that_run_only(f: &Fixture) {
    let tenant = f.owner("a").await.tenant;
    let (run, other) = (RunId(Uuid::now_v7()), RunId(Uuid::now_v7()));
    let values = BTreeMap::from(["A", "B"].map(|name| (name.to_owned(), Secret::new("s3cret"))));
    let sealed = tenant.seal_for_run(run, &values).await.unwrap();
    assert_ne!(sealed["A"], sealed["B"]);
    assert_eq!(tenant.reveal_of_run(run, &sealed).await.unwrap(), values);
    let refused = |opened| matches!(opened, Err(Error::Undecryptable { name }) if name == "A");
    assert!(refused(tenant.reveal_of_run(other, &sealed).await), "another run");
    let moved = BTreeMap::from([("A".to_owned(), sealed["B"].clone())]);
    assert!(refused(tenant.reveal_of_run(run, &moved).await), "another name");
    let broken = BTreeMap::from([("A".to_owned(), "no base64!".to_owned())]);
    assert!(refused(tenant.reveal_of_run(run, &broken).await), "no sealed value");
    let foreign = f.owner("b").await.tenant;
    assert!(refused(foreign.reveal_of_run(run, &sealed).await), "another tenant");
    let none = tenant.seal_for_run(run, &BTreeMap::new()).await.unwrap();
    assert!(tenant.reveal_of_run(run, &none).await.unwrap().is_empty());
}
