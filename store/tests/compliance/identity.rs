//! Who is asking.

use std::time::Duration;

use domain::id::UserId;
use domain::time::Timestamp;
use store::{NewApiKey, NewUser, Secret, Tenant, User};
use uuid::Uuid;

use crate::fixture::{Fixture, assert_duplicate, assert_not_found};

on_both! {
    the_first_start_happens_once,
    an_added_tenant_has_a_user_without_the_operator_s_rights,
    a_tenant_is_found_by_name_and_by_id,
    passwords_prove_who_logs_in,
    keys_prove_who_asks,
    sessions_end,
    an_inactive_user_is_nobody,
}

async fn user(tenant: &Tenant, name: &str) -> User {
    let new = NewUser { username: name.into(), password: Secret::new("pw"), is_superuser: false };
    tenant.create_user(new).await.unwrap()
}

fn key(user: UserId, expires: Option<Timestamp>) -> NewApiKey {
    NewApiKey { user, name: "k".into(), scopes: vec!["run".into()], expires }
}

async fn a_tenant_is_found_by_name_and_by_id(f: &Fixture) {
    let acme = f.store.create_tenant("acme").await.unwrap();
    // Nobody is to be taken for somebody whose id they chose as their name.
    let named_so = f.store.create_tenant(&acme.to_string()).await.unwrap();
    for (name, found) in [
        ("acme".to_owned(), Some(acme)),
        (acme.to_string(), Some(named_so)),
        (named_so.to_string(), Some(named_so)),
        (String::new(), None),
        (Uuid::new_v4().to_string(), None),
    ] {
        assert_eq!(f.store.tenant_named(&name).await.unwrap(), found, "{name:?}");
    }
}

async fn the_first_start_happens_once(f: &Fixture) {
    let other = f.another_process().await;
    let starts = (0..4).map(|n| {
        let auth = if n % 2 == 0 { f.store.auth() } else { other.auth() };
        tokio::spawn(async move { auth.bootstrap("admin").await.unwrap() })
    });
    let mut made: Vec<_> = futures::future::join_all(starts)
        .await
        .into_iter()
        .filter_map(|start| start.unwrap())
        .collect();
    assert_eq!(made.len(), 1, "one process makes it");
    let start = made.remove(0);
    assert!(f.store.auth().bootstrap("admin").await.unwrap().is_none());
    assert!(!format!("{start:?}").contains(start.password.expose()));

    let principal = f.store.auth().login("admin", &start.password).await.unwrap().unwrap();
    assert_eq!((principal.tenant, principal.user), (start.tenant, start.user));
    assert!(principal.is_superuser);
    let by_key = f.store.auth().authenticate_key(start.api_key.expose()).await.unwrap().unwrap();
    assert_eq!(by_key.user, start.user);
    let tenants = f.store.tenants().await.unwrap();
    assert_eq!((tenants.len(), tenants[0].name.as_str()), (1, "default"));
    assert_eq!(f.store.tenant(start.tenant).projects().await.unwrap().len(), 1);
    f.store.check().await.unwrap();
    other.close().await.unwrap();
}

async fn an_added_tenant_has_a_user_without_the_operator_s_rights(f: &Fixture) {
    let auth = f.store.auth();
    let first = auth.add_tenant("acme", "ann").await.unwrap();
    let principal = auth.login("ann", &first.password).await.unwrap().unwrap();
    assert_eq!((principal.tenant, principal.user), (first.tenant, first.user));
    assert!(!principal.is_superuser);
    let by_key = auth.authenticate_key(first.api_key.expose()).await.unwrap().unwrap();
    assert_eq!(by_key.user, first.user);
    for (tenant, user) in [("acme", "bob"), ("other", "ann")] {
        let again = auth.add_tenant(tenant, user).await;
        assert!(matches!(again, Err(store::Error::Duplicate { .. })), "{again:?}");
    }
    let names: Vec<_> = f.store.tenants().await.unwrap().into_iter().map(|t| t.name).collect();
    assert!(!names.contains(&"other".to_owned()), "a tenant without a user was left: {names:?}");
}

async fn passwords_prove_who_logs_in(f: &Fixture) {
    let (a, b) = (f.owner("a").await.tenant, f.owner("b").await.tenant);
    let made = user(&a, "ann").await;
    let again = NewUser { username: "ann".into(), password: Secret::new("x"), is_superuser: true };
    assert_duplicate(b.create_user(again).await, "username");
    let login = async |name: &str, password: &str| {
        f.store.auth().login(name, &Secret::new(password)).await.unwrap()
    };
    let principal = login("ann", "pw").await.unwrap();
    assert_eq!((principal.user, principal.tenant, principal.key), (made.id, a.id(), None));
    assert!(!principal.is_superuser);
    assert_eq!(login("ann", "wrong").await, None);
    assert_eq!(login("nobody", "pw").await, None);
    assert_eq!(login("nul\0", "pw").await, None);
    assert_eq!(login("ann", &"x".repeat(10_000)).await, None);
    assert!(a.user(made.id).await.unwrap().last_login.is_some());

    let token = f.store.auth().create_session(made.id, Duration::from_secs(60)).await.unwrap();
    a.change_password(made.id, &Secret::new("new")).await.unwrap();
    assert_eq!(login("ann", "pw").await, None);
    assert!(login("ann", "new").await.is_some());
    let session = f.store.auth().session(token.expose()).await.unwrap();
    assert_eq!(session, None, "a new password ends the sessions");
    assert_eq!(a.users().await.unwrap().len(), 1);
}

async fn keys_prove_who_asks(f: &Fixture) {
    let tenant = f.owner("a").await.tenant;
    let ann = user(&tenant, "ann").await.id;
    let auth = f.store.auth();
    let made = tenant.create_api_key(key(ann, None)).await.unwrap();
    let secret = made.secret.expose();
    assert!(secret.len() == 46 && secret.starts_with("sk-"));
    let escaped = |c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_';
    assert!(!secret.contains(escaped));
    assert_eq!(made.key.prefix, &secret[..11]);
    assert_eq!(made.key.last_used, None);

    let principal = auth.authenticate_key(secret).await.unwrap().unwrap();
    assert_eq!((principal.user, principal.tenant), (ann, tenant.id()));
    assert_eq!((principal.key, principal.scopes), (Some(made.key.id), vec!["run".to_owned()]));
    let used = tenant.api_keys(Some(ann)).await.unwrap()[0].last_used;
    assert!(used.is_some());
    auth.authenticate_key(secret).await.unwrap().unwrap();
    assert_eq!(tenant.api_keys(None).await.unwrap()[0].last_used, used, "at most once a minute");

    let mut wrong = secret.to_owned();
    wrong.pop();
    wrong.push(if secret.ends_with('A') { 'E' } else { 'A' });
    for refused in [wrong.as_str(), &secret[..11], "", "sk-", "x\0", &"x".repeat(5_000)] {
        assert_eq!(auth.authenticate_key(refused).await.unwrap(), None, "{refused:?}");
    }
    let over = tenant.create_api_key(key(ann, Some(Timestamp(1)))).await.unwrap();
    assert_eq!(auth.authenticate_key(over.secret.expose()).await.unwrap(), None);
    tenant.revoke_api_key(made.key.id).await.unwrap();
    let revoked = tenant.api_keys(None).await.unwrap()[0].revoked;
    tenant.revoke_api_key(made.key.id).await.unwrap();
    assert_eq!(tenant.api_keys(None).await.unwrap()[0].revoked, revoked, "once is enough");
    assert_eq!(auth.authenticate_key(secret).await.unwrap(), None);
}

async fn sessions_end(f: &Fixture) {
    let tenant = f.owner("a").await.tenant;
    let ann = user(&tenant, "ann").await.id;
    let auth = f.store.auth();
    let token = auth.create_session(ann, Duration::from_secs(60)).await.unwrap();
    assert_eq!(auth.session(token.expose()).await.unwrap().unwrap().user, ann);
    assert_eq!(auth.session("unknown").await.unwrap(), None);
    let over = auth.create_session(ann, Duration::ZERO).await.unwrap();
    assert_eq!(auth.session(over.expose()).await.unwrap(), None, "its time is over");
    auth.revoke_session(token.expose()).await.unwrap();
    auth.revoke_session("unknown").await.unwrap();
    assert_eq!(auth.session(token.expose()).await.unwrap(), None);
    assert_not_found(auth.create_session(UserId(Uuid::nil()), Duration::ZERO).await);
    let pruned = f.store.engine().prune(Timestamp(i64::MAX)).await.unwrap();
    assert_eq!(pruned.sessions, 2);
}

async fn an_inactive_user_is_nobody(f: &Fixture) {
    let tenant = f.owner("a").await.tenant;
    let ann = user(&tenant, "ann").await.id;
    let auth = f.store.auth();
    let token = auth.create_session(ann, Duration::from_secs(60)).await.unwrap();
    let made = tenant.create_api_key(key(ann, None)).await.unwrap();
    tenant.set_active(ann, false).await.unwrap();
    assert_eq!(auth.login("ann", &Secret::new("pw")).await.unwrap(), None);
    assert_eq!(auth.authenticate_key(made.secret.expose()).await.unwrap(), None);
    assert_eq!(auth.session(token.expose()).await.unwrap(), None);
    assert_not_found(auth.create_session(ann, Duration::ZERO).await);
    tenant.set_active(ann, true).await.unwrap();
    assert!(auth.authenticate_key(made.secret.expose()).await.unwrap().is_some());
    assert_eq!(auth.session(token.expose()).await.unwrap(), None, "sessions do not come back");
}
