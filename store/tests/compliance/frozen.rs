//! Results of frozen components.

use std::time::Duration;

use domain::id::UserId;
use store::{FROZEN_BYTES_MAX, FrozenKey};
use uuid::Uuid;

use crate::fixture::{Fixture, Owner, T0, result};

on_both! {
    the_latest_of_each_component_and_user_is_kept,
    one_that_is_too_large_is_not_kept,
    they_go_with_their_flow,
}

fn key(owner: &Owner, hash: &str) -> FrozenKey {
    FrozenKey {
        tenant: owner.tenant.id(),
        flow: owner.flow,
        user: UserId(Uuid::nil()),
        node: "A-1".to_owned(),
        hash: hash.to_owned(),
    }
}

async fn the_latest_of_each_component_and_user_is_kept(f: &Fixture) {
    let (owner, engine) = (f.owner("a").await, f.store.engine());
    let (old, new) = (key(&owner, "old"), key(&owner, "new"));
    let made = |bytes| result(0, bytes).result;
    assert_eq!(engine.frozen(&old).await.unwrap(), None);
    engine.keep_frozen(&old, &made(10), T0).await.unwrap();
    assert_eq!(engine.frozen(&old).await.unwrap(), Some(made(10)));
    let foreign = FrozenKey { user: UserId(Uuid::from_u128(7)), ..old.clone() };
    assert_eq!(engine.frozen(&foreign).await.unwrap(), None);
    let other = FrozenKey { node: "B-2".to_owned(), ..old.clone() };
    assert_eq!(engine.frozen(&other).await.unwrap(), None);
    engine.keep_frozen(&new, &made(50), T0 + Duration::from_secs(1)).await.unwrap();
    assert_eq!(engine.frozen(&old).await.unwrap(), None);
    assert_eq!(engine.frozen(&new).await.unwrap(), Some(made(50)));
}

async fn one_that_is_too_large_is_not_kept(f: &Fixture) {
    let (owner, engine) = (f.owner("a").await, f.store.engine());
    let key = key(&owner, "h");
    engine.keep_frozen(&key, &result(0, FROZEN_BYTES_MAX).result, T0).await.unwrap();
    assert_eq!(engine.frozen(&key).await.unwrap(), None);
}

async fn they_go_with_their_flow(f: &Fixture) {
    let (owner, engine) = (f.owner("a").await, f.store.engine());
    let key = key(&owner, "h");
    engine.keep_frozen(&key, &result(0, 10).result, T0).await.unwrap();
    owner.tenant.delete_flow(owner.flow).await.unwrap();
    assert_eq!(engine.frozen(&key).await.unwrap(), None);
    assert!(engine.keep_frozen(&key, &result(0, 10).result, T0).await.is_err());
}
