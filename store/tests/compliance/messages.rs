//! Chat messages.

use std::time::Duration;

use domain::id::{MessageId, RunId};
use serde_json::json;
use store::{MessageFilter, MessagePatch, NewMessage, Unheard};
use uuid::Uuid;

use crate::fixture::{Fixture, Owner, T0, assert_duplicate, assert_not_found};

on_both! {
    messages_come_in_the_order_they_were_said,
    messages_are_filtered,
    what_some_tasks_said_is_left_out,
    a_run_says_the_same_message_anew_and_nobody_elses,
    messages_are_changed,
    sessions_are_listed_renamed_and_deleted,
}

fn message(owner: &Owner, session: &str, sender: &str, ms: u64) -> NewMessage {
    NewMessage {
        id: None,
        flow: owner.flow,
        session_id: session.into(),
        run: None,
        task: None,
        sender: sender.into(),
        sender_name: format!("{sender} name"),
        timestamp: T0 + Duration::from_millis(ms),
        data: json!({"text": "hi\u{0}", "session_id": session, "properties": {}}),
    }
}

async fn messages_come_in_the_order_they_were_said(f: &Fixture) {
    let owner = f.owner("a").await;
    let mut said = Vec::new();
    for ms in [5, 1, 5, 5] {
        said.push(owner.tenant.store_message(message(&owner, "s", "User", ms)).await.unwrap().id);
    }
    let order = [said[1], said[0], said[2], said[3]];
    let list = async |filter| {
        let messages = owner.tenant.messages(&filter).await.unwrap();
        messages.into_iter().map(|message| message.id).collect::<Vec<_>>()
    };
    assert_eq!(list(MessageFilter::default()).await, order);
    let newest = MessageFilter { newest_first: true, limit: Some(2), ..MessageFilter::default() };
    assert_eq!(list(newest).await, [said[3], said[2]]);
}

async fn messages_are_filtered(f: &Fixture) {
    let owner = f.owner("a").await;
    let run = RunId(Uuid::new_v4());
    let mut ids = Vec::new();
    for (session, sender) in [("s1", "User"), ("s1", "Machine"), ("s2", "User")] {
        let mut new = message(&owner, session, sender, 0);
        new.run = (session == "s2").then_some(run);
        ids.push(owner.tenant.store_message(new).await.unwrap().id);
    }
    let list = async |filter: MessageFilter| {
        let messages = owner.tenant.messages(&filter).await.unwrap();
        messages.into_iter().map(|message| message.id).collect::<Vec<_>>()
    };
    let all = MessageFilter::default;
    assert_eq!(list(MessageFilter { flow: Some(owner.flow), ..all() }).await.len(), 3);
    assert_eq!(list(MessageFilter { session_id: Some("s1".into()), ..all() }).await, ids[..2]);
    assert_eq!(list(MessageFilter { session_id: Some("s\0".into()), ..all() }).await, []);
    assert_eq!(list(MessageFilter { sender: Some("Machine".into()), ..all() }).await, ids[1..2]);
    let named = MessageFilter { sender_name: Some("User name".into()), ..all() };
    assert_eq!(list(named).await, [ids[0], ids[2]]);
    assert_eq!(list(MessageFilter { run: Some(run), ..all() }).await, ids[2..]);
    assert_eq!(list(MessageFilter { ids: Some(ids[1..].to_vec()), ..all() }).await, ids[1..]);
    assert_eq!(list(MessageFilter { ids: Some(vec![]), ..all() }).await, []);
}

async fn what_some_tasks_said_is_left_out(f: &Fixture) {
    let owner = f.owner("a").await;
    let (run, other) = (RunId(Uuid::new_v4()), RunId(Uuid::new_v4()));
    let mut ids = Vec::new();
    for (run, task) in [
        (None, None),
        (Some(run), None),
        (Some(run), Some(0)),
        (Some(run), Some(1)),
        (Some(other), Some(1)),
    ] {
        let new = NewMessage { run, task, ..message(&owner, "s", "User", 0) };
        ids.push(owner.tenant.store_message(new).await.unwrap().id);
    }
    let heard = async |tasks: &[u32], own, limit| {
        let unheard = Some(Unheard { run, tasks: tasks.to_vec(), own });
        let filter = MessageFilter { unheard, limit, newest_first: true, ..Default::default() };
        let messages = owner.tenant.messages(&filter).await.unwrap();
        messages.into_iter().map(|message| message.id).collect::<Vec<_>>()
    };
    let newest: Vec<MessageId> = ids.iter().rev().copied().collect();
    assert_eq!(heard(&[], None, None).await, newest);
    assert_eq!(heard(&[1], None, None).await, [ids[4], ids[2], ids[1], ids[0]]);
    assert_eq!(heard(&[1, 0], None, Some(2)).await, [ids[4], ids[1]], "before they are counted");
    let without = [ids[4], ids[2], ids[1], ids[0]];
    assert_eq!(heard(&[], Some((1, vec![])), None).await, without, "a lost attempt's");
    assert_eq!(heard(&[], Some((1, vec![ids[3]])), None).await, newest);
    assert_eq!(heard(&[0], Some((1, vec![])), Some(2)).await, [ids[4], ids[1]]);
}

async fn a_run_says_the_same_message_anew_and_nobody_elses(f: &Fixture) {
    let owner = f.owner("a").await;
    let (run, other) = (owner.submit().await, owner.submit().await);
    let id = Some(MessageId(Uuid::new_v4()));
    let said = |run, text: &str, ms| {
        let new = message(&owner, "s", "Machine", ms);
        NewMessage { id, run: Some(run), data: json!({"text": text}), ..new }
    };
    owner.tenant.put_message(said(run, "first", 0)).await.unwrap();
    owner.tenant.put_message(said(run, "anew", 9)).await.unwrap();
    assert_duplicate(owner.tenant.put_message(said(other, "mine", 9)).await, "message id");
    let stored = owner.tenant.messages(&MessageFilter::default()).await.unwrap();
    assert_eq!(stored.len(), 1);
    assert_eq!((&stored[0].data["text"], stored[0].run), (&json!("anew"), Some(run)));
    let stranger = f.owner("b").await;
    let theirs = NewMessage { flow: stranger.flow, ..said(run, "theirs", 9) };
    assert_duplicate(stranger.tenant.put_message(theirs).await, "message id");
}

async fn messages_are_changed(f: &Fixture) {
    let owner = f.owner("a").await;
    let id = MessageId(Uuid::new_v4());
    let new = NewMessage { id: Some(id), ..message(&owner, "s", "Machine", 0) };
    owner.tenant.store_message(new.clone()).await.unwrap();
    assert_duplicate(owner.tenant.store_message(new).await, "message id");
    let data = json!({"text": "hello", "properties": {"state": "complete"}});
    let patch = MessagePatch {
        sender_name: Some("AI".into()),
        data: data.as_object().unwrap().clone(),
        ..MessagePatch::default()
    };
    let changed = owner.tenant.update_message(id, patch).await.unwrap();
    assert_eq!(changed.sender_name, "AI");
    let whole = json!({"text": "hello", "session_id": "s", "properties": {"state": "complete"}});
    assert_eq!(changed.data, whole);
    let same = owner.tenant.update_message(id, MessagePatch::default()).await.unwrap();
    assert_eq!(same, changed);
    assert_not_found(
        owner.tenant.update_message(MessageId(Uuid::nil()), MessagePatch::default()).await,
    );
}

async fn sessions_are_listed_renamed_and_deleted(f: &Fixture) {
    let owner = f.owner("a").await;
    for session in ["b", "a", "b"] {
        owner.tenant.store_message(message(&owner, session, "User", 0)).await.unwrap();
    }
    assert_eq!(owner.tenant.sessions(None).await.unwrap(), ["a", "b"]);
    assert_eq!(owner.tenant.sessions(Some(owner.flow)).await.unwrap(), ["a", "b"]);
    let renamed = owner.tenant.rename_session("b", "c").await.unwrap();
    assert_eq!(renamed.len(), 2);
    assert_eq!(
        (renamed[0].session_id.as_str(), &renamed[0].data["session_id"]),
        ("c", &json!("c"))
    );
    assert_not_found(owner.tenant.rename_session("b", "c").await);
    let filter = MessageFilter { session_id: Some("c".into()), ..MessageFilter::default() };
    assert_eq!(owner.tenant.delete_messages(&filter).await.unwrap(), 2);
    assert_eq!(owner.tenant.sessions(None).await.unwrap(), ["a"]);
}
