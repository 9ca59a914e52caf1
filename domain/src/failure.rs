//! Every way in which an attempt can fail, each with a name.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits::Setting;
use crate::retry::Cause;

/// Why an attempt, a task or a run failed, fit to be shown to the tenant: no path, secret or
/// traceback of the platform is in it.
///
/// Written with one more field, `setting`: the limit that was reached, when one was.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Failure {
    /// What kind of failure, with its figures.
    #[serde(flatten)]
    pub kind: FailureKind,
    /// One sentence for people. For an error of a component these are Langflow's own words.
    pub message: String,
    /// Our own sentence where the message is Langflow's and does not say which limit was reached.
    #[serde(default)]
    pub hint: Option<Box<str>>,
    /// The node that failed, when one can be named.
    #[serde(default)]
    pub node: Option<String>,
    /// The display name of that node's component.
    #[serde(default)]
    pub component: Option<String>,
}

/// The kinds of failure. The serialised `kind` is a stable code of the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FailureKind {
    /// The component raised an error.
    Component {
        /// The Python class of the error.
        #[serde(default)]
        exception: String,
    },
    /// A package that the component imports is not in the runtime.
    PackageMissing {
        /// The top-level name of the missing module.
        package: String,
    },
    /// The image with the flow's own packages cannot be built.
    RuntimeNotBuilt,
    /// An input could not be prepared: a variable is missing, a value cannot be read.
    InputInvalid,
    /// A value that had to leave the container cannot travel (a live object).
    ValueNotPortable {
        /// The qualified name of the value's type.
        value_type: String,
    },
    /// The component needs something that Flowcell cannot do yet.
    Unsupported,
    /// The process ended without a result.
    ExitedEarly {
        /// Its exit code, where the engine told.
        exit_code: Option<i64>,
    },
    /// The container reached its memory limit.
    OutOfMemory {
        /// The limit in bytes.
        limit_bytes: u64,
    },
    /// The attempt reached its wall-clock limit.
    TimedOut {
        /// The limit in milliseconds.
        limit_ms: u64,
    },
    /// The attempt sent more than it may.
    OutputTooLarge {
        /// The limit in bytes.
        limit_bytes: u64,
    },
    /// A single value is larger than anything that can travel. No setting changes that.
    ValueTooLarge {
        /// The limit in bytes.
        limit_bytes: u64,
    },
    /// The attempt sent more frames than it may.
    TooManyFrames {
        /// The limit.
        limit: u64,
    },
    /// The attempt sent more tokens than it may.
    TooManyTokens {
        /// The limit.
        limit: u64,
    },
    /// The attempt used more processor time than it may.
    CpuTime {
        /// The limit in milliseconds.
        limit_ms: u64,
    },
    /// The attempt failed after the kernel refused it another process or thread.
    TooManyProcesses {
        /// The limit.
        limit: u64,
    },
    /// The component failed because it had too many files open.
    TooManyOpenFiles {
        /// The limit of one process.
        limit: u64,
    },
    /// The component failed because `/tmp` was full.
    DiskFull {
        /// The limit in bytes.
        limit_bytes: u64,
    },
    /// A flow ran a flow that ran a flow, and so on, more deeply than it may.
    FlowsTooDeep,
    /// The container spoke something else than the frame protocol.
    ProtocolViolation,
    /// The container could not be made or started.
    StartFailed,
    /// The worker was lost: its lease ended without a report.
    WorkerLost,
    /// The platform failed in a way that is no fault of the flow.
    Internal,
}

/// The code of a kind of failure, where a setting names one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct FailureCode(&'static str);

/// No kind of failure has this code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no failure {0:?}; there are {all}", all = FailureCode::ALL.map(|code| code.0).join(", "))]
pub struct UnknownFailure(pub String);

impl FailureCode {
    /// Every code.
    pub const ALL: [Self; 22] = [
        Self("component"),
        Self("package_missing"),
        Self("runtime_not_built"),
        Self("input_invalid"),
        Self("value_not_portable"),
        Self("unsupported"),
        Self("exited_early"),
        Self("out_of_memory"),
        Self("timed_out"),
        Self("output_too_large"),
        Self("value_too_large"),
        Self("too_many_frames"),
        Self("too_many_tokens"),
        Self("cpu_time"),
        Self("too_many_processes"),
        Self("too_many_open_files"),
        Self("disk_full"),
        Self("flows_too_deep"),
        Self("protocol_violation"),
        Self("start_failed"),
        Self("worker_lost"),
        Self("internal"),
    ];

    /// As in [`FailureKind::code`].
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0
    }
}

impl TryFrom<String> for FailureCode {
    type Error = UnknownFailure;

    fn try_from(name: String) -> Result<Self, UnknownFailure> {
        let mut all = Self::ALL.into_iter();
        all.find(|code| code.0 == name).ok_or(UnknownFailure(name))
    }
}

impl<'de> Deserialize<'de> for FailureCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl Failure {
    /// A failure that names no node.
    #[must_use]
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, node: None, component: None }
    }

    /// The same failure, naming the node it happened in.
    #[must_use]
    pub fn at(mut self, node: impl Into<String>) -> Self {
        self.node = Some(node.into());
        self
    }
}

impl FailureKind {
    /// The stable code of this kind, as in its serialised form.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Component { .. } => "component",
            Self::PackageMissing { .. } => "package_missing",
            Self::RuntimeNotBuilt => "runtime_not_built",
            Self::InputInvalid => "input_invalid",
            Self::ValueNotPortable { .. } => "value_not_portable",
            Self::Unsupported => "unsupported",
            Self::ExitedEarly { .. } => "exited_early",
            Self::OutOfMemory { .. } => "out_of_memory",
            Self::TimedOut { .. } => "timed_out",
            Self::OutputTooLarge { .. } => "output_too_large",
            Self::ValueTooLarge { .. } => "value_too_large",
            Self::TooManyFrames { .. } => "too_many_frames",
            Self::TooManyTokens { .. } => "too_many_tokens",
            Self::CpuTime { .. } => "cpu_time",
            Self::TooManyProcesses { .. } => "too_many_processes",
            Self::TooManyOpenFiles { .. } => "too_many_open_files",
            Self::DiskFull { .. } => "disk_full",
            Self::FlowsTooDeep => "flows_too_deep",
            Self::ProtocolViolation => "protocol_violation",
            Self::StartFailed => "start_failed",
            Self::WorkerLost => "worker_lost",
            Self::Internal => "internal",
        }
    }

    /// Who is to blame. A process that exits at once is the component's doing: it ran user code
    /// last, so trying again would only repeat its side effects.
    #[must_use]
    pub fn cause(&self) -> Cause {
        match self {
            Self::StartFailed | Self::WorkerLost | Self::Internal => Cause::Infrastructure,
            Self::Component { .. }
            | Self::PackageMissing { .. }
            | Self::RuntimeNotBuilt
            | Self::InputInvalid
            | Self::ValueNotPortable { .. }
            | Self::Unsupported
            | Self::ExitedEarly { .. }
            | Self::ProtocolViolation => Cause::Component,
            Self::OutOfMemory { .. }
            | Self::TimedOut { .. }
            | Self::OutputTooLarge { .. }
            | Self::ValueTooLarge { .. }
            | Self::TooManyFrames { .. }
            | Self::TooManyTokens { .. }
            | Self::CpuTime { .. }
            | Self::TooManyProcesses { .. }
            | Self::TooManyOpenFiles { .. }
            | Self::DiskFull { .. }
            | Self::FlowsTooDeep => Cause::Limit,
        }
    }

    /// The limit that was reached, and that a higher setting would have moved.
    #[must_use]
    pub fn setting(&self) -> Option<Setting> {
        match self {
            Self::OutOfMemory { .. } => Some(Setting::MemoryBytes),
            Self::TimedOut { .. } => Some(Setting::WallMs),
            Self::OutputTooLarge { .. } => Some(Setting::OutputBytesMax),
            Self::TooManyFrames { .. } => Some(Setting::FramesMax),
            Self::TooManyTokens { .. } => Some(Setting::TokensMax),
            Self::CpuTime { .. } => Some(Setting::CpuMs),
            Self::TooManyProcesses { .. } => Some(Setting::Pids),
            Self::TooManyOpenFiles { .. } => Some(Setting::OpenFiles),
            Self::DiskFull { .. } => Some(Setting::TmpfsBytes),
            Self::Component { .. }
            | Self::PackageMissing { .. }
            | Self::RuntimeNotBuilt
            | Self::InputInvalid
            | Self::ValueNotPortable { .. }
            | Self::Unsupported
            | Self::ExitedEarly { .. }
            | Self::ValueTooLarge { .. }
            | Self::ProtocolViolation
            | Self::StartFailed
            | Self::WorkerLost
            | Self::FlowsTooDeep
            | Self::Internal => None,
        }
    }
}

impl Serialize for Failure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Written<'a> {
            #[serde(flatten)]
            kind: &'a FailureKind,
            #[serde(skip_serializing_if = "Option::is_none")]
            setting: Option<Setting>,
            message: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            hint: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            node: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            component: Option<&'a str>,
        }
        let written = Written {
            kind: &self.kind,
            setting: self.kind.setting(),
            message: &self.message,
            hint: self.hint.as_deref(),
            node: self.node.as_deref(),
            component: self.component.as_deref(),
        };
        written.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_the_serialised_kind() {
        for kind in [
            FailureKind::Component { exception: "ValueError".into() },
            FailureKind::PackageMissing { package: "torch".into() },
            FailureKind::RuntimeNotBuilt,
            FailureKind::InputInvalid,
            FailureKind::ValueNotPortable { value_type: "x.Y".into() },
            FailureKind::Unsupported,
            FailureKind::ExitedEarly { exit_code: Some(1) },
            FailureKind::OutOfMemory { limit_bytes: 1 },
            FailureKind::TimedOut { limit_ms: 1 },
            FailureKind::OutputTooLarge { limit_bytes: 1 },
            FailureKind::ValueTooLarge { limit_bytes: 1 },
            FailureKind::TooManyFrames { limit: 1 },
            FailureKind::TooManyTokens { limit: 1 },
            FailureKind::CpuTime { limit_ms: 1 },
            FailureKind::TooManyProcesses { limit: 1 },
            FailureKind::TooManyOpenFiles { limit: 1 },
            FailureKind::DiskFull { limit_bytes: 1 },
            FailureKind::FlowsTooDeep,
            FailureKind::ProtocolViolation,
            FailureKind::StartFailed,
            FailureKind::WorkerLost,
            FailureKind::Internal,
        ] {
            let (code, setting) = (kind.code(), kind.setting());
            assert_eq!(FailureCode::try_from(code.to_owned()).map(FailureCode::name), Ok(code));
            let is_limit = kind.cause() == Cause::Limit;
            let is_fixed = matches!(code, "value_too_large" | "flows_too_deep");
            assert_eq!(setting.is_some(), is_limit && !is_fixed, "{code}");
            let hint = setting.map(|setting| format!("see {setting}").into());
            let failure = Failure { hint, ..Failure::new(kind, "m").at("N-1") };
            let json = serde_json::to_value(&failure).unwrap();
            assert_eq!(json["kind"], code);
            assert_eq!(json.get("setting"), setting.map(|s| s.name().into()).as_ref());
            assert_eq!(serde_json::from_value::<Failure>(json).unwrap(), failure);
        }
    }

    #[test]
    fn a_failure_is_written_as_before_with_its_setting() {
        let failure = Failure::new(FailureKind::TimedOut { limit_ms: 5 }, "m");
        let text = serde_json::to_string(&failure).unwrap();
        assert_eq!(text, r#"{"kind":"timed_out","limit_ms":5,"setting":"wall_ms","message":"m"}"#);
        let before = r#"{"kind":"timed_out","limit_ms":5,"message":"m"}"#;
        assert_eq!(serde_json::from_str::<Failure>(before).unwrap(), failure);
    }
}
