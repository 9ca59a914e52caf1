//! What attempts connected to: the newest version of each, from the worker that had it.

use domain::run::Command;
use domain::time::Timestamp;
use proto::connection::{Connection, ConnectionLog, ConnectionState};
use proto::message::AttemptRef;
use store::Error;

use crate::fixture::{Fixture, T0, assert_not_found, claim, worker};

on_both! { the_newest_log_of_each_attempt_is_kept }

fn log(revision: u64, hosts: &[&str]) -> ConnectionLog {
    let entry = |host: &&str| Connection {
        at: Timestamp(7),
        host: (*host).to_owned(),
        port: 443,
        state: ConnectionState::Refused,
        reason: Some("no rule \u{0}".into()),
        bytes_up: 1,
        bytes_down: 2,
        duration_ms: None,
    };
    ConnectionLog { revision, entries: hosts.iter().map(entry).collect(), omitted: 3 }
}

async fn the_newest_log_of_each_attempt_is_kept(f: &Fixture) {
    let owner = f.owner("a").await;
    let run = owner.submit().await;
    f.step(run, Command::Start { skip: vec![] }, T0).await;
    f.step(run, claim(0, worker(1)), T0).await;
    assert_eq!(owner.tenant.connections(run).await.unwrap(), []);
    let engine = f.store.engine();
    let attempt = AttemptRef { run, task: 0, attempt: 1 };
    engine.record_connections(worker(1), attempt, &log(2, &["a", "b"])).await.unwrap();
    engine.record_connections(worker(1), attempt, &log(1, &["a"])).await.unwrap();
    let found = owner.tenant.connections(run).await.unwrap();
    assert_eq!((found[0].cell.as_str(), found[0].attempt), ("A", 1));
    assert_eq!(found[0].log, log(2, &["a", "b"]), "an older one that comes later changes nothing");
    // The attempt ends; its worker's last word comes afterwards.
    f.step(run, Command::Cancel, T0).await;
    engine.record_connections(worker(1), attempt, &log(3, &["a", "b", "c"])).await.unwrap();
    let found = owner.tenant.connections(run).await.unwrap();
    assert_eq!((found.len(), found[0].log.entries.len()), (1, 3));
    for (epoch, task, number) in [(2, 0, 1), (1, 1, 1), (1, 0, 2)] {
        let other = AttemptRef { run, task, attempt: number };
        let refused = engine.record_connections(worker(epoch), other, &log(9, &["x"])).await;
        assert!(matches!(refused, Err(Error::NotFound { .. })), "{refused:?}");
    }
    let stranger = f.store.tenant(f.store.create_tenant("stranger").await.unwrap());
    assert_not_found(stranger.connections(run).await);
    owner.tenant.delete_flow(owner.flow).await.unwrap();
    assert_not_found(engine.record_connections(worker(1), attempt, &log(9, &["x"])).await);
}
