//! The one place where names of subjects, streams and consumers are made.
//!
//! | what | subject | stream | durable |
//! |---|---|---|---|
//! | runs | `fc.runs` | `fc_RUNS` | `schedulers` |
//! | tasks of a pool | `fc.tasks.<pool>` | `fc_TASKS_<pool>` | `workers` |
//! | tasks of child runs | `fc.tasks.<pool>.<depth>` | `fc_TASKS_<pool>_<depth>` | `workers` |
//! | event log | `fc.events.<run>` | `fc_EVENTS` | none |
//! | request | `fc.request.scheduler` | none | queue group `servers` |
//! | chunks of a server's reply | `fc.pull.<process>.<transfer>` | none | |
//! | orders | `fc.orders.<worker epoch>` | none | |
//!
//! Ids in subjects are UUIDs; the two free names, prefix and pool, are checked here, so nothing
//! can bring in a `.`, `*` or `>`.

use domain::id::{RunId, WorkerEpoch};

use crate::{Error, Queue, Service};

/// The prefix of a cluster that sets none.
pub const PREFIX: &str = "fc";

/// Longest prefix or pool name, in bytes: it becomes part of a file name on the server.
const NAME_BYTES_MAX: usize = 48;

const RULE: &str = "1 to 48 of a-z A-Z 0-9 and -";

/// Makes the names under one prefix. Two clusters on one server differ by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subjects {
    prefix: String,
}

impl Default for Subjects {
    fn default() -> Self {
        Self { prefix: PREFIX.to_owned() }
    }
}

impl Subjects {
    /// Names under `prefix`.
    ///
    /// # Errors
    /// [`Error::Name`] for anything but letters, digits and `-`.
    pub fn new(prefix: &str) -> Result<Self, Error> {
        check("prefix", prefix)?;
        Ok(Self { prefix: prefix.to_owned() })
    }

    /// The prefix.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Subject of a work queue.
    ///
    /// # Errors
    /// [`Error::Name`] for a pool name that is not plain.
    pub fn queue(&self, queue: &Queue) -> Result<String, Error> {
        match queue {
            Queue::Runs => Ok(format!("{}.runs", self.prefix)),
            Queue::Tasks { pool, depth } => {
                check("pool", pool)?;
                Ok(format!("{}.tasks.{pool}{}", self.prefix, below('.', *depth)))
            }
        }
    }

    /// Stream of a work queue.
    ///
    /// # Errors
    /// [`Error::Name`] for a pool name that is not plain.
    pub fn queue_stream(&self, queue: &Queue) -> Result<String, Error> {
        match queue {
            Queue::Runs => Ok(format!("{}_RUNS", self.prefix)),
            Queue::Tasks { pool, depth } => {
                check("pool", pool)?;
                Ok(format!("{}_TASKS_{pool}{}", self.prefix, below('_', *depth)))
            }
        }
    }

    /// The one durable consumer of a work queue.
    #[must_use]
    pub fn queue_durable(&self, queue: &Queue) -> &'static str {
        match queue {
            Queue::Runs => "schedulers",
            Queue::Tasks { .. } => "workers",
        }
    }

    /// Subject of a service.
    #[must_use]
    pub fn service(&self, service: Service) -> String {
        match service {
            Service::Scheduler => format!("{}.request.scheduler", self.prefix),
        }
    }

    /// Queue group of those who serve.
    #[must_use]
    pub fn servers(&self) -> &'static str {
        "servers"
    }

    /// Where the chunks of replies can be asked for; `process` comes from the client library.
    #[must_use]
    pub fn pull(&self, process: &str) -> String {
        format!("{}.pull.{process}", self.prefix)
    }

    /// Whether `subject` is one where this cluster's processes offer pieces of large bodies.
    pub(crate) fn is_source(&self, subject: &str) -> bool {
        let ours = [format!("{}.pull.", self.prefix), format!("_INBOX_{}_worker_", self.prefix)];
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        ours.iter().any(|start| subject.starts_with(start)) && subject.bytes().all(plain)
    }

    /// Subject of the orders to one worker.
    #[must_use]
    pub fn orders(&self, worker: WorkerEpoch) -> String {
        format!("{}.orders.{worker}", self.prefix)
    }

    /// Subject of a run's event log.
    #[must_use]
    pub fn events(&self, run: RunId) -> String {
        format!("{}.events.{run}", self.prefix)
    }

    /// All event logs.
    #[must_use]
    pub fn events_all(&self) -> String {
        format!("{}.events.*", self.prefix)
    }

    /// Stream of the event logs.
    #[must_use]
    pub fn events_stream(&self) -> String {
        format!("{}_EVENTS", self.prefix)
    }

    /// Inbox prefix of the control plane: api and scheduler.
    #[must_use]
    pub fn owner_inbox(&self) -> String {
        format!("_INBOX_{}_owner", self.prefix)
    }

    /// Inbox prefix of a worker user. Users of different names cannot read each other's replies.
    ///
    /// # Errors
    /// [`Error::Name`] for a user name that is not plain.
    pub fn worker_inbox(&self, user: &str) -> Result<String, Error> {
        check("worker user", user)?;
        Ok(format!("_INBOX_{}_worker_{user}", self.prefix))
    }
}

/// The end of a name for tasks of child runs. Other tasks keep the name that they always had.
fn below(separator: char, depth: u32) -> String {
    if depth == 0 { String::new() } else { format!("{separator}{depth}") }
}

/// Refuses a name that would change the meaning of a subject, stream or file name.
pub(crate) fn check(what: &'static str, name: &str) -> Result<(), Error> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    Err(Error::Name { what, name: name.chars().take(NAME_BYTES_MAX).collect(), rule: RULE })
}

/// Refuses an id that could not travel in a header.
pub(crate) fn check_id(what: &'static str, id: &str) -> Result<(), Error> {
    let visible = id.bytes().all(|byte| byte.is_ascii_graphic());
    if (1..=crate::ID_BYTES_MAX).contains(&id.len()) && visible {
        return Ok(());
    }
    Err(Error::Name {
        what,
        name: id.chars().take(NAME_BYTES_MAX).collect(),
        rule: "1 to 256 visible ASCII characters without blanks",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_can_be_injected() {
        for name in ["", "a.b", "*", ">", "a b", "a\r\nb", "ä", "a_b", &"x".repeat(49)] {
            assert!(Subjects::new(name).is_err(), "{name:?}");
            let queue = Queue::Tasks { pool: name.into(), depth: 0 };
            assert!(Subjects::default().queue(&queue).is_err(), "{name:?}");
            assert!(Subjects::default().queue_stream(&queue).is_err(), "{name:?}");
            assert!(Subjects::default().worker_inbox(name).is_err(), "{name:?}");
        }
        assert!(check_id("id", "t:1/2").is_ok());
        assert!(check_id("id", "a\nb").is_err());
    }

    #[test]
    fn sources_are_ours() {
        let subjects = Subjects::default();
        assert!(subjects.is_source("fc.pull.Abc.0-12"));
        assert!(subjects.is_source("_INBOX_fc_worker_w1.Abc.0-12"));
        for foreign in ["$JS.API.STREAM.DELETE.fc_RUNS", "fc.runs", "fc.pull.*", "fc.pull.a b"] {
            assert!(!subjects.is_source(foreign), "{foreign}");
        }
    }

    #[test]
    fn names() {
        let subjects = Subjects::new("east-1").unwrap();
        let gpu = Queue::Tasks { pool: "gpu".into(), depth: 0 };
        assert_eq!(subjects.queue(&gpu).unwrap(), "east-1.tasks.gpu");
        assert_eq!(subjects.queue_stream(&gpu).unwrap(), "east-1_TASKS_gpu");
        let children = Queue::Tasks { pool: "gpu".into(), depth: 2 };
        assert_eq!(subjects.queue(&children).unwrap(), "east-1.tasks.gpu.2");
        assert_eq!(subjects.queue_stream(&children).unwrap(), "east-1_TASKS_gpu_2");
        assert_eq!(subjects.service(Service::Scheduler), "east-1.request.scheduler");
    }
}
