//! Runs that wait for a person.

use std::time::Duration;

use domain::id::{MessageId, RunId};
use domain::run::{Command, Outcome, RunState, TaskState, decide};
use serde_json::{Value, json};
use store::{Asked, Decided, Error, MessageFilter, now};
use uuid::Uuid;

use crate::fixture::{Fixture, Owner, T0, assert_not_found, claim, finish, transition, worker};

on_both! {
    a_suspended_run_waits_for_one_decision,
    a_question_that_nobody_waits_for_takes_no_decision,
    a_later_question_of_the_same_id_takes_the_place_of_the_first,
}

const LATER: Duration = Duration::from_secs(100_000);

pub(crate) fn asked(owner: &Owner, task: u32, attempt: u32) -> Asked {
    let content = json!({"type": "human_input", "request_id": "A:1", "submitted_action": null});
    Asked {
        task,
        attempt,
        node: "A".into(),
        request_id: "A:1".into(),
        request: json!({"request_id": "A:1", "allowed_decisions": ["approve", "reject"]}),
        saved: [("agent".to_owned(), "sealed".to_owned())].into(),
        card: MessageId(Uuid::new_v4()),
        flow: owner.flow,
        session_id: "s".into(),
        shown: json!({"sender": "Machine", "sender_name": "AI", "content_blocks": [{"contents": [content]}]}),
    }
}

/// The first task takes its turn and asks.
pub(crate) async fn asks(f: &Fixture, run: RunId, asked: Asked) {
    f.step(run, claim(0, worker(1)), T0).await;
    let record = f.load(run).await;
    let attempt = asked.attempt;
    let report = Command::Finish { task: 0, attempt, worker: worker(1), outcome: Outcome::Paused };
    let decision = decide(&record.run, &report, T0).unwrap();
    let mut change = transition(&record, &decision, T0);
    change.asked = Some(asked);
    f.store.engine().commit(change).await.unwrap();
}

async fn a_suspended_run_waits_for_one_decision(f: &Fixture) {
    let owner = f.owner("a").await;
    let run = owner.submit().await;
    f.step(run, Command::Start { skip: vec![] }, T0).await;
    asks(f, run, asked(&owner, 0, 1)).await;
    let engine = f.store.engine();
    let record = f.load(run).await;
    assert_eq!((record.run.state, record.run.suspended), (RunState::Suspended, Some(T0)));
    assert_eq!((record.run.tasks[0].state, record.run.tasks[0].pauses), (TaskState::Paused, 1));
    assert!(
        !engine.runs_late(T0 + LATER, 10).await.unwrap().contains(&run),
        "its time stands still"
    );
    let view = owner.tenant.run(run).await.unwrap();
    assert_eq!(view.tasks[0].attempts[0].outcome.as_deref(), Some("paused"));
    let pending = owner.tenant.pending_requests(Some(owner.flow), None).await.unwrap();
    assert_eq!((pending.len(), pending[0].run, pending[0].request.task), (1, run, 0));
    assert_eq!(engine.saved(run, 0).await.unwrap()["agent"], "sealed");
    assert_eq!(engine.runs_answered(10).await.unwrap(), []);

    let yes = json!({"action_id": "approve"});
    assert_not_found(owner.tenant.decide(run, "A:2", &yes, now()).await);
    assert_eq!(owner.tenant.decide(run, "A:1", &yes, T0).await.unwrap(), Decided::Now);
    assert_eq!(owner.tenant.decide(run, "A:1", &yes, now()).await.unwrap(), Decided::Before);
    let no = json!({"action_id": "reject"});
    let other = owner.tenant.decide(run, "A:1", &no, now()).await;
    assert!(matches!(other, Err(Error::Conflict { .. })), "{other:?}");
    assert_eq!(owner.tenant.pending_requests(None, Some(run)).await.unwrap(), []);
    let kept = owner.tenant.human_requests(run).await.unwrap();
    assert_eq!((&kept[0].decision, kept[0].decided), (&Some(yes), Some(T0)));
    assert_eq!(shown(&owner).await[0]["submitted_action"], "approve");

    // Its message may be lost: the sweep finds it.
    assert_eq!(engine.runs_answered(10).await.unwrap(), [run]);
    let promised = engine.unpublished(10, T0 + LATER).await.unwrap();
    assert!(promised.iter().any(|message| message.message_id == format!("answer:{run}:0:1")));
    f.step(run, Command::Answer { tasks: vec![0] }, T0 + Duration::from_secs(5)).await;
    assert_eq!(engine.runs_answered(10).await.unwrap(), []);
    let record = f.load(run).await;
    assert_eq!((record.run.state, record.run.suspended), (RunState::Running, None));
    assert_eq!(record.run.deadline, T0 + Duration::from_secs(605));
}

async fn a_question_that_nobody_waits_for_takes_no_decision(f: &Fixture) {
    let owner = f.owner("a").await;
    let run = owner.submit().await;
    f.step(run, Command::Start { skip: vec![] }, T0).await;
    asks(f, run, asked(&owner, 0, 1)).await;
    f.step(run, Command::Cancel, T0).await;
    owner.tenant.close_questions(run).await.unwrap();
    assert_eq!(owner.tenant.pending_requests(None, None).await.unwrap(), []);
    assert_eq!(shown(&owner).await[0]["superseded"], true);
    let late = owner.tenant.decide(run, "A:1", &json!({"action_id": "approve"}), now()).await;
    assert!(matches!(late, Err(Error::Conflict { .. })), "{late:?}");
}

async fn a_later_question_of_the_same_id_takes_the_place_of_the_first(f: &Fixture) {
    let owner = f.owner("a").await;
    let run = owner.submit().await;
    f.step(run, Command::Start { skip: vec![] }, T0).await;
    asks(f, run, asked(&owner, 0, 1)).await;
    let yes = json!({"action_id": "approve"});
    owner.tenant.decide(run, "A:1", &yes, now()).await.unwrap();
    f.step(run, Command::Answer { tasks: vec![0] }, T0).await;
    asks(f, run, Asked { saved: [].into(), ..asked(&owner, 0, 2) }).await;
    let kept = owner.tenant.human_requests(run).await.unwrap();
    assert_eq!((kept.len(), kept[0].attempt, &kept[0].decision), (1, 2, &None));
    assert!(f.store.engine().saved(run, 0).await.unwrap().is_empty());
    assert_eq!(owner.tenant.decide(run, "A:1", &yes, now()).await.unwrap(), Decided::Now);
    f.step(run, Command::Answer { tasks: vec![0] }, T0).await;
    f.step(run, claim(0, worker(1)), T0).await;
    let Command::Finish { outcome, .. } = finish(0, worker(1)) else { unreachable!() };
    f.step(run, Command::Finish { task: 0, attempt: 3, worker: worker(1), outcome }, T0).await;
    assert_eq!(f.load(run).await.run.tasks[0].pauses, 2);
}

/// The questions that the chat shows.
async fn shown(owner: &Owner) -> Vec<Value> {
    let messages = owner.tenant.messages(&MessageFilter::default()).await.unwrap();
    let contents = messages.iter().map(|m| m.data["content_blocks"][0]["contents"][0].clone());
    contents.collect()
}
