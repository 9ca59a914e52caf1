//! What a worker's NATS user may do, and nothing else.

use domain::limits::FLOW_DEPTH_MAX;

use crate::subjects::Subjects;
use crate::{Error, Queue};

/// A worker user of the NATS server.
#[derive(Clone, Debug)]
pub struct WorkerUser {
    /// The cluster's prefix.
    pub prefix: String,
    /// The user's name: its replies are out of reach of users with another one.
    pub name: String,
    /// The pools whose tasks it may take.
    pub pools: Vec<String>,
}

/// Subjects that a user may publish and subscribe to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// Where it may publish.
    pub publish: Vec<String>,
    /// What it may subscribe to. It may also answer, once, whatever it was asked there
    /// (`allow_responses`): a scheduler fetches the pieces of a large request that way.
    pub subscribe: Vec<String>,
}

impl WorkerUser {
    /// The permissions of this user.
    ///
    /// # Errors
    /// [`Error::Name`] for a prefix, user or pool name that is not plain.
    pub fn permissions(&self) -> Result<Permissions, Error> {
        let subjects = Subjects::new(&self.prefix)?;
        let inbox = format!("{}.>", subjects.worker_inbox(&self.name)?);
        let mut publish = vec![
            // To itself: how it finds out whether the server answers.
            inbox.clone(),
            subjects.service(crate::Service::Scheduler),
            subjects.pull("*.*"),
            subjects.events_all(),
        ];
        for queue in self.queues() {
            let stream = subjects.queue_stream(&queue)?;
            let durable = subjects.queue_durable(&queue);
            publish.push(format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"));
            publish.push(format!("$JS.API.CONSUMER.INFO.{stream}.{durable}"));
            // Ack subjects of the first and the second form (2.15 knows both).
            publish.push(format!("$JS.ACK.{stream}.{durable}.>"));
            publish.push(format!("$JS.ACK.*.*.{stream}.{durable}.>"));
        }
        Ok(Permissions {
            publish,
            subscribe: vec![inbox, format!("{}.orders.*", subjects.prefix())],
        })
    }
}

impl WorkerUser {
    fn queues(&self) -> impl Iterator<Item = Queue> {
        let depths = |pool: &String| {
            let pool = pool.clone();
            (0..=FLOW_DEPTH_MAX).map(move |depth| Queue::Tasks { pool: pool.clone(), depth })
        };
        self.pools.iter().flat_map(depths)
    }
}

impl Permissions {
    /// The `permissions` block of a user in a `nats-server` configuration.
    #[must_use]
    pub fn to_config(&self) -> String {
        let list = |subjects: &[String]| {
            let quoted: Vec<_> = subjects.iter().map(|name| format!("{name:?}")).collect();
            quoted.join(", ")
        };
        format!(
            "{{ publish: {{ allow: [{}] }}, subscribe: {{ allow: [{}] }}, \
             allow_responses: {{ max: 1, expires: \"2m\" }} }}",
            list(&self.publish),
            list(&self.subscribe)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_reaches_its_pools_only() {
        let user =
            WorkerUser { prefix: "fc".into(), name: "w1".into(), pools: vec!["default".into()] };
        let permissions = user.permissions().unwrap();
        assert!(permissions.publish.iter().all(|subject| subject != ">"
            && !subject.starts_with("fc.tasks")
            && !subject.starts_with("fc.runs")
            && !subject.starts_with("$JS.API.STREAM")));
        assert_eq!(permissions.subscribe, ["_INBOX_fc_worker_w1.>", "fc.orders.*"]);
        let odd = WorkerUser { pools: vec!["*".into()], ..user };
        assert!(odd.permissions().is_err());
    }
}
