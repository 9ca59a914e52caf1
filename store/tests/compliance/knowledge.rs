//! Knowledge bases.

use std::time::Duration;

use domain::failure::{Failure, FailureKind};
use domain::id::{KnowledgeId, RunId, UserId};
use domain::run::Command;
use proto::message::AttemptRef;
use serde_json::json;
use store::{Error, KnowledgeBase, NewKnowledgeBase, NewSegment, Segments, Tenant};

use crate::files::user;
use crate::fixture::{Fixture, Owner, T0, assert_duplicate, assert_not_found, claim, worker};

on_both! {
    a_base_is_its_users,
    what_is_added_is_read_in_order_and_in_parts,
    a_further_attempt_takes_the_place_of_a_lost_one,
    all_knowledge_of_a_tenant_has_a_limit,
}

const BYTES_MAX: u64 = 10_000;
const ALL: (i64, u64) = (-1, 1_000_000);

pub(crate) fn new(user: UserId, name: &str) -> NewKnowledgeBase {
    NewKnowledgeBase { user, name: name.into(), configuration: json!({"model_selection": null}) }
}

pub(crate) fn segment(run: RunId, attempt: u32, nth: u64, text: &str) -> NewSegment {
    let attempt = AttemptRef { run, task: 0, attempt };
    NewSegment { attempt, nth, chunks: json!([{"content": text}]).to_string() }
}

struct Scene {
    owner: Owner,
    user: UserId,
    base: KnowledgeBase,
    run: RunId,
}

impl Scene {
    /// A base, and a run whose first task has its first attempt.
    async fn new(f: &Fixture) -> Self {
        let owner = f.owner("owner").await;
        let user = user(&owner.tenant, "u").await;
        let base = owner.tenant.create_knowledge_base(new(user, "laws")).await.unwrap();
        let run = owner.submit().await;
        f.step(run, Command::Start { skip: vec![] }, T0).await;
        f.step(run, claim(0, worker(1)), T0).await;
        Self { owner, user, base, run }
    }

    fn tenant(&self) -> &Tenant {
        &self.owner.tenant
    }

    async fn add(&self, attempt: u32, nth: u64, text: &str) -> Result<(), Error> {
        let new = segment(self.run, attempt, nth, text);
        self.tenant().add_knowledge(self.user, self.base.id, new, BYTES_MAX).await
    }

    /// What an attempt of the task sees.
    async fn seen(&self, attempt: u32, part: (i64, u64)) -> Segments {
        let reader = AttemptRef { run: self.run, task: 0, attempt };
        self.tenant().read_knowledge(self.user, self.base.id, reader, part).await.unwrap()
    }
}

fn chunks(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| json!([{"content": text}]).to_string()).collect()
}

async fn a_base_is_its_users(f: &Fixture) {
    let scene = Scene::new(f).await;
    let (t, other) = (scene.tenant(), user(scene.tenant(), "v").await);
    assert_duplicate(t.create_knowledge_base(new(scene.user, "laws")).await, "knowledge base name");
    let theirs = t.create_knowledge_base(new(other, "laws")).await.unwrap();
    assert_ne!(theirs.id, scene.base.id);
    assert_eq!(t.knowledge_bases(scene.user).await.unwrap(), std::slice::from_ref(&scene.base));
    assert_not_found(t.knowledge_base(scene.user, "law").await);
    assert_not_found(t.knowledge_base(scene.user, "laws\0").await);
    assert_not_found(t.delete_knowledge_base(other, scene.base.id).await);
    let figures = json!({"chunks": 3, "status": "ingesting"});
    t.note_knowledge(scene.user, scene.base.id, figures.as_object().unwrap()).await.unwrap();
    let figures = json!({"status": "ready"});
    t.note_knowledge(scene.user, scene.base.id, figures.as_object().unwrap()).await.unwrap();
    let noted = t.knowledge_base(scene.user, "laws").await.unwrap();
    assert_eq!(noted.figures, json!({"chunks": 3, "status": "ready"}));
    scene.add(1, 0, "a").await.unwrap();
    t.delete_knowledge_base(scene.user, scene.base.id).await.unwrap();
    assert_not_found(scene.add(1, 1, "b").await);
    assert_eq!(t.knowledge_bases(other).await.unwrap(), [theirs]);
}

async fn what_is_added_is_read_in_order_and_in_parts(f: &Fixture) {
    let scene = Scene::new(f).await;
    for (nth, text) in ["a", "b", "c"].into_iter().enumerate() {
        scene.add(1, nth as u64, text).await.unwrap();
    }
    scene.add(1, 1, "asked again").await.unwrap();
    let all = scene.seen(1, ALL).await;
    assert_eq!((all.chunks, all.more), (chunks(&["a", "b", "c"]), false));
    let first = scene.seen(1, (-1, 600)).await;
    assert_eq!((&first.chunks, first.more), (&chunks(&["a", "b"]), true));
    let rest = scene.seen(1, (first.last, 1)).await;
    assert_eq!((&rest.chunks, rest.more), (&chunks(&["c"]), false));
    let behind = scene.seen(1, (rest.last, 40)).await;
    assert_eq!((behind.chunks, behind.last, behind.more), (vec![], rest.last, false));
}

async fn a_further_attempt_takes_the_place_of_a_lost_one(f: &Fixture) {
    let scene = Scene::new(f).await;
    scene.add(1, 0, "half").await.unwrap();
    scene.add(1, 1, "more").await.unwrap();
    assert_not_found(scene.add(2, 0, "too early").await);
    let failure = Failure::new(FailureKind::WorkerLost, "gone");
    let lost = Command::Lost { task: 0, attempt: 1, worker: worker(1), failure };
    f.step(scene.run, lost, T0).await;
    assert_not_found(scene.add(1, 2, "too late").await);
    f.step(scene.run, claim(0, worker(2)), T0 + Duration::from_secs(1)).await;
    assert_not_found(scene.add(1, 2, "too late").await);
    assert_eq!(scene.seen(2, ALL).await.chunks, chunks(&[]), "it begins from the beginning");
    let of_others = AttemptRef { run: RunId(uuid::Uuid::now_v7()), task: 0, attempt: 1 };
    let seen = scene.tenant().read_knowledge(scene.user, scene.base.id, of_others, ALL).await;
    assert_eq!(seen.unwrap().chunks, chunks(&["half", "more"]));
    scene.add(2, 0, "whole").await.unwrap();
    let seen = scene.tenant().read_knowledge(scene.user, scene.base.id, of_others, ALL).await;
    assert_eq!(seen.unwrap().chunks, chunks(&["whole"]), "nothing is there twice");
}

async fn all_knowledge_of_a_tenant_has_a_limit(f: &Fixture) {
    let scene = Scene::new(f).await;
    scene.add(1, 0, &"x".repeat(6_000)).await.unwrap();
    let t = scene.tenant();
    let second = t.create_knowledge_base(new(scene.user, "more laws")).await.unwrap();
    let add = async |id: KnowledgeId| {
        let new = segment(scene.run, 1, 1, &"x".repeat(6_000));
        t.add_knowledge(scene.user, id, new, BYTES_MAX).await
    };
    let full = add(second.id).await;
    assert!(matches!(full, Err(Error::TooLarge { bytes_max: BYTES_MAX, .. })), "{full:?}");
    t.delete_knowledge_base(scene.user, scene.base.id).await.unwrap();
    add(second.id).await.unwrap();
}
