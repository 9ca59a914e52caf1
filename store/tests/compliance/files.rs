//! Uploaded files.

use domain::id::UserId;
use domain::limits::FileLimits;
use store::{Error, File, FileOwner, NewFile, NewUser, Secret, Tenant};

use crate::fixture::{Fixture, assert_duplicate, assert_not_found};

on_both! {
    a_file_comes_back_as_it_was,
    a_changed_file_is_never_read_as_a_mixture,
    names_are_free_per_owner,
    limits_hold,
    a_flow_takes_its_files_along,
}

pub(crate) const LIMITS: FileLimits =
    FileLimits { file_bytes_max: 5_000_000, tenant_bytes_max: 6_000_000 };

pub(crate) async fn user(tenant: &Tenant, name: &str) -> UserId {
    let password = Secret::new("p");
    let new = NewUser { username: name.into(), password, is_superuser: false };
    tenant.create_user(new).await.unwrap().id
}

pub(crate) fn new(owner: FileOwner, name: &str, bytes: Vec<u8>) -> NewFile {
    let name = name.to_owned();
    NewFile { owner, path_name: format!("{name}.txt"), name, listed: true, bytes }
}

async fn content(tenant: &Tenant, file: &File) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut position = 0;
    while let Some(piece) = tenant.read_file(file, position).await.unwrap() {
        bytes.extend(piece);
        position += 1;
    }
    bytes
}

async fn a_file_comes_back_as_it_was(f: &Fixture) {
    let tenant = f.owner("owner").await.tenant;
    let owner = FileOwner::User(user(&tenant, "u").await);
    // Three pieces, the last one short; and none at all.
    let large: Vec<u8> = (0..2_500_000u32).map(|n| n.to_le_bytes()[1]).collect();
    let large_file = tenant.create_file(new(owner, "large", large.clone()), LIMITS).await.unwrap();
    let empty = tenant.create_file(new(owner, "empty", vec![]), LIMITS).await.unwrap();
    assert_eq!(large_file.bytes, 2_500_000);
    assert_eq!(content(&tenant, &large_file).await, large);
    assert_eq!(content(&tenant, &empty).await, b"");
    assert_eq!(tenant.files(owner).await.unwrap(), [large_file.clone(), empty.clone()]);
    assert_eq!(tenant.find_file(owner, "large.txt").await.unwrap(), large_file);
    assert_not_found(tenant.find_file(owner, "large").await);
    assert_not_found(tenant.find_file(owner, "large.txt\0").await);

    let renamed = tenant.rename_file(owner, large_file.id, "other").await.unwrap();
    assert_eq!((renamed.name.as_str(), renamed.path()), ("other", large_file.path()));
    tenant.delete_file(owner, empty.id).await.unwrap();
    assert_not_found(tenant.file(owner, empty.id).await);
    assert_not_found(tenant.delete_file(owner, empty.id).await);
}

async fn a_changed_file_is_never_read_as_a_mixture(f: &Fixture) {
    let tenant = f.owner("owner").await.tenant;
    let owner = FileOwner::User(user(&tenant, "u").await);
    let before = tenant.put_file(new(owner, "a", vec![1; 2_000_000]), LIMITS).await.unwrap();
    tenant.read_file(&before, 0).await.unwrap().unwrap();
    let after = tenant.put_file(new(owner, "a", vec![2; 2_000_000]), LIMITS).await.unwrap();
    assert_eq!((after.id, after.created), (before.id, before.created));
    assert_not_found(tenant.read_file(&before, 1).await);
    assert_eq!(content(&tenant, &after).await, vec![2; 2_000_000]);
    assert_eq!(tenant.files(owner).await.unwrap().len(), 1);
}

async fn names_are_free_per_owner(f: &Fixture) {
    let owner = f.owner("owner").await;
    let tenant = &owner.tenant;
    let users = [user(tenant, "u").await, user(tenant, "v").await];
    let owners =
        [FileOwner::User(users[0]), FileOwner::User(users[1]), FileOwner::Flow(owner.flow)];
    for owner in owners {
        let file = tenant.create_file(new(owner, "same", vec![1]), LIMITS).await.unwrap();
        assert_duplicate(tenant.create_file(new(owner, "same", vec![]), LIMITS).await, "file name");
        let others = owners.into_iter().filter(|other| *other != owner);
        for other in others {
            assert_not_found(tenant.file(other, file.id).await);
            assert_not_found(tenant.rename_file(other, file.id, "x").await);
            assert_not_found(tenant.delete_file(other, file.id).await);
        }
    }
    // An id is whose it is, not what it looks like.
    let confused = FileOwner::User(UserId(owner.flow.uuid()));
    assert_eq!(tenant.files(confused).await.unwrap(), []);
    assert_not_found(tenant.create_file(new(confused, "same", vec![]), LIMITS).await);
}

async fn limits_hold(f: &Fixture) {
    let tenant = f.owner("owner").await.tenant;
    let owner = FileOwner::User(user(&tenant, "u").await);
    let put = |name, bytes: usize| tenant.put_file(new(owner, name, vec![0; bytes]), LIMITS);
    for (name, bytes, fits) in [
        ("a", 5_000_001, false),
        ("a", 5_000_000, true),
        ("b", 1_000_001, false),
        ("b", 1_000_000, true),
        // What is replaced makes room.
        ("a", 4_000_000, true),
        ("c", 1_000_000, true),
        ("c", 1_000_001, false),
    ] {
        let stored = put(name, bytes).await;
        let is_expected = match &stored {
            Ok(_) => fits,
            Err(Error::TooLarge { .. }) => !fits,
            Err(_) => false,
        };
        assert!(is_expected, "{name} {bytes}: {stored:?}");
    }
    let other = f.owner("other").await.tenant;
    let theirs = FileOwner::User(user(&other, "w").await);
    other.put_file(new(theirs, "a", vec![0; 5_000_000]), LIMITS).await.unwrap();
}

async fn a_flow_takes_its_files_along(f: &Fixture) {
    let owner = f.owner("owner").await;
    let of_flow = FileOwner::Flow(owner.flow);
    let of_user = FileOwner::User(user(&owner.tenant, "u").await);
    for place in [of_flow, of_user] {
        owner.tenant.create_file(new(place, "a", vec![1]), LIMITS).await.unwrap();
    }
    owner.tenant.delete_flow(owner.flow).await.unwrap();
    assert_eq!(owner.tenant.files(of_flow).await.unwrap(), []);
    assert_eq!(owner.tenant.files(of_user).await.unwrap().len(), 1);
}
