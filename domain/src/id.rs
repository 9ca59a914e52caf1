//! Typed ids. An id names a row; it is never a capability, and two kinds never mix.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! typed_id {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// The underlying UUID.
            #[must_use]
            pub fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0.hyphenated())
            }
        }
    )+};
}

typed_id! {
    /// The owner boundary of every row, subject, file, secret and container.
    TenantId,
    /// A person or service account of a tenant.
    UserId,
    /// An API key of a user.
    KeyId,
    /// A folder of flows (Langflow calls it project or folder).
    ProjectId,
    /// A flow, whatever its version.
    FlowId,
    /// An immutable snapshot of a flow: the only thing that runs.
    VersionId,
    /// One execution of a flow version. Also the id of its trace.
    RunId,
    /// A stored chat message.
    MessageId,
    /// A named, sealed value of a tenant.
    VariableId,
    /// An uploaded file.
    FileId,
    /// A knowledge base of a user.
    KnowledgeId,
    /// One start of one worker process; a restarted worker has another epoch.
    WorkerEpoch,
}
