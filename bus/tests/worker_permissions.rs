//! A worker with nothing but its permissions does its work, and nothing else.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

extern crate flowcell_bus as bus;

use std::time::Duration;

use bus::nats::{Credentials, Role, Settings};
use bus::{Bus, Error, Queue, Service, WorkerUser};
use bytes::Bytes;
use domain::id::{RunId, WorkerEpoch};
use testkit::nats::Server;
use uuid::Uuid;

const SURELY: Duration = Duration::from_secs(30);
const SOON: Duration = Duration::from_secs(3);

fn config() -> String {
    let user = |name: &str| WorkerUser {
        prefix: "fc".into(),
        name: name.into(),
        pools: vec!["default".into()],
    };
    let worker = |name: &str| {
        let permissions = user(name).permissions().unwrap().to_config();
        format!("{{ user: {name}, password: pw, permissions: {permissions} }}")
    };
    format!(
        "authorization {{ users: [ {{ user: owner, password: pw }}, {}, {} ] }}",
        worker("w1"),
        worker("w2")
    )
}

async fn connect(server: &Server, user: &str, role: Role) -> Bus {
    let settings = Settings {
        credentials: Credentials::Password { user: user.into(), password: "pw".into() },
        role,
        ..Settings::new(server.url())
    };
    bus::nats(settings).await.unwrap()
}

fn worker(name: &str) -> Role {
    Role::Worker { user: name.into() }
}

/// A plain connection with a worker's rights, as somebody who took over a worker would have.
async fn raw(server: &Server) -> async_nats::Client {
    async_nats::ConnectOptions::new()
        .user_and_password("w1".into(), "pw".into())
        .custom_inbox_prefix("_INBOX_fc_worker_w1")
        .connect(server.url())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_does_its_work() {
    let server = Server::start_with(&config()).await.unwrap();
    let owner = connect(&server, "owner", Role::Owner).await;
    let bus = connect(&server, "w1", worker("w1")).await;
    bus.healthy().await.unwrap();

    // A queue that nobody made yet is empty.
    let tasks = Queue::Tasks { pool: "default".into(), depth: 0 };
    let mut consumer = bus.consumer(&tasks).await.unwrap();
    let wait = Duration::from_millis(100);
    assert!(consumer.fetch(1, wait).await.unwrap().is_empty());
    owner.enqueue(&tasks, "t1", Bytes::from("task")).await.unwrap();
    let mut taken = consumer.fetch(4, SURELY).await.unwrap();
    let delivery = taken.remove(0);
    assert_eq!(delivery.body, "task");
    delivery.extend().await.unwrap();
    delivery.nack(Duration::ZERO).await.unwrap();
    let again = consumer.fetch(4, SURELY).await.unwrap().remove(0);
    assert_eq!(again.delivered, 2);
    again.ack().await.unwrap();

    // Large both ways.
    let mut requests = owner.serve(Service::Scheduler, 4).await.unwrap();
    tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let body = request.body.clone();
            request.respond(body).await.unwrap();
        }
    });
    for len in [10, 3 * 1024 * 1024] {
        let body = Bytes::from(vec![7; len]);
        let reply = bus.request(Service::Scheduler, body.clone(), SURELY).await.unwrap();
        assert!(reply == body, "{len} bytes");
    }

    let epoch = WorkerEpoch(Uuid::new_v4());
    let mut orders = bus.listen(epoch).await.unwrap();
    owner.tell(epoch, Bytes::from("stop")).await.unwrap();
    let order = tokio::time::timeout(SURELY, orders.next()).await.unwrap();
    assert_eq!(order.unwrap(), "stop");

    let run = RunId(Uuid::now_v7());
    let entries = vec![
        ("a".to_owned(), Bytes::from("1")),
        ("b".to_owned(), Bytes::from(vec![0; 1024 * 1024])),
    ];
    bus.append(run, entries).await.unwrap();
    assert_eq!(owner.snapshot(run).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_does_nothing_else() {
    let server = Server::start_with(&config()).await.unwrap();
    let owner = connect(&server, "owner", Role::Owner).await;
    let tasks = Queue::Tasks { pool: "default".into(), depth: 0 };
    let foreign = Queue::Tasks { pool: "gpu".into(), depth: 0 };
    for queue in [&tasks, &foreign, &Queue::Runs] {
        owner.enqueue(queue, "t1", Bytes::from("task")).await.unwrap();
    }
    let client = raw(&server).await;
    // Whatever it asks for there, no answer comes: the server drops it.
    for subject in [
        "fc.tasks.default",
        "fc.tasks.gpu",
        "fc.runs",
        "fc.orders.someone",
        "_INBOX_fc_worker_w2.x",
        "_INBOX_fc_owner.x",
        "$JS.API.STREAM.DELETE.fc_TASKS_default",
        "$JS.API.STREAM.PURGE.fc_EVENTS",
        "$JS.API.STREAM.NAMES",
        "$JS.API.STREAM.MSG.GET.fc_EVENTS",
        "$JS.API.CONSUMER.DELETE.fc_TASKS_default.workers",
        "$JS.API.CONSUMER.CREATE.fc_EVENTS",
        "$JS.API.CONSUMER.MSG.NEXT.fc_TASKS_gpu.workers",
        "$JS.API.CONSUMER.MSG.NEXT.fc_RUNS.schedulers",
    ] {
        let answer = client.request(subject, "1".into());
        let answer = tokio::time::timeout(Duration::from_millis(200), answer).await;
        assert!(!matches!(answer, Ok(Ok(_))), "{subject}: {answer:?}");
    }
    // Nor does it hear what is for others.
    for subject in ["fc.>", "fc.events.*", "_INBOX_fc_worker_w2.>", "_INBOX_fc_owner.>", ">"] {
        let mut heard = client.subscribe(subject).await.unwrap();
        owner.tell(WorkerEpoch(Uuid::new_v4()), Bytes::new()).await.unwrap();
        let run = RunId(Uuid::now_v7());
        owner.append(run, vec![("a".to_owned(), Bytes::new())]).await.unwrap();
        let next = futures::StreamExt::next(&mut heard);
        let next = tokio::time::timeout(Duration::from_millis(200), next).await;
        assert!(!matches!(next, Ok(Some(_))), "{subject}: {next:?}");
    }
    // Everything is as it was.
    for queue in [&tasks, &foreign, &Queue::Runs] {
        let mut consumer = owner.consumer(queue).await.unwrap();
        let taken = consumer.fetch(9, SURELY).await.unwrap();
        assert_eq!(taken.len(), 1, "{queue:?}");
    }
    let bus = connect(&server, "w2", worker("w2")).await;
    let nobody = bus.request(Service::Scheduler, Bytes::new(), SOON).await;
    assert!(matches!(nobody, Err(Error::NoServer { .. })), "{nobody:?}");
}
