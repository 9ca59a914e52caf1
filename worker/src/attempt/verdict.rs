//! How an attempt ended, in words a tenant can act on. Pure.

use domain::failure::{Failure, FailureKind};
use domain::limits::{CellLimits, FRAME_BYTES_MAX, Setting};
use proto::frame::FailureBody;

use super::spent::Strain;
use crate::{pool, sandbox};

/// Longest message or name taken over from a runner.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// What a shell adds to a signal's number, and so does the engine.
const SIGNAL_EXIT: i64 = 128;
/// The signal of a process at its `RLIMIT_CPU`, which the runner sets a little above `cpu_ms`.
const SIGXCPU: i64 = 24;

/// Langflow's server, which runtimes do without: they have what components are made of.
const LANGFLOW: &str = "langflow";
const NO_APPLICATION: &str = "a flow cannot reach the database and services of Langflow's own \
                              application here (memory bases, its own tables); use a vector \
                              store component instead";
/// What helps when a package is missing.
const ADD_A_PACKAGE: &str = "list the distribution that has it with `flowcell flow requirements \
                             FLOW --file requirements.txt`, where `runtimes.build` allows it; or \
                             whoever runs the workers adds it to `runner/pyproject.toml`, then \
                             runs `uv lock --project runner` and `scripts/images`";

/// What helps when flows run flows without end.
const TOO_DEEP: &str = "a flow ran a flow that ran a flow, and so on, more deeply than the \
                        schedulers' `flow_depth_max` allows";

/// A failure that the runner reported. Its word about a limit is taken where the kernel's cannot
/// be had: user code could forge it, and would only rename its own failure.
pub(super) fn reported(body: FailureBody, limits: &CellLimits, strain: Strain) -> Failure {
    let exception = clip(body.exception.unwrap_or_default());
    let claimed = body.limit.as_deref();
    let setting = claimed.and_then(Setting::named);
    let kind = match body.kind.as_str() {
        // What broke outside every node is the component's too: user code could forge the other
        // claim, and what is the platform's fault is tried again.
        "component" | "internal" => {
            behind(setting, limits, strain).unwrap_or(FailureKind::Component { exception })
        }
        "import" => match body.package {
            Some(package) => FailureKind::PackageMissing { package: clip(package) },
            None => FailureKind::Component { exception },
        },
        "input" => FailureKind::InputInvalid,
        "codec" => FailureKind::ValueNotPortable { value_type: exception },
        "limit" if claimed == Some("frame") => {
            let limit_bytes = u64::try_from(FRAME_BYTES_MAX).unwrap_or(u64::MAX);
            FailureKind::ValueTooLarge { limit_bytes }
        }
        "limit" if claimed == Some("flow_depth_max") => FailureKind::FlowsTooDeep,
        "limit" if setting == Some(Setting::CpuMs) => {
            FailureKind::CpuTime { limit_ms: limits.cpu_ms }
        }
        "limit" => FailureKind::OutputTooLarge { limit_bytes: limits.output_bytes_max },
        _ => FailureKind::ProtocolViolation,
    };
    let component = body.component.map(clip);
    Failure {
        hint: hint(&kind, component.as_deref()),
        kind,
        message: clip(body.message),
        node: body.node.map(clip),
        component,
    }
}

/// The limit behind an error that says nothing of it: a fork that fails in a library, a child that
/// was killed.
fn behind(claimed: Option<Setting>, limits: &CellLimits, strain: Strain) -> Option<FailureKind> {
    if claimed == Some(Setting::TmpfsBytes) {
        return Some(FailureKind::DiskFull { limit_bytes: limits.tmpfs_bytes });
    }
    if claimed == Some(Setting::OpenFiles) {
        return Some(FailureKind::TooManyOpenFiles { limit: limits.open_files.into() });
    }
    if strain.forks_refused.unwrap_or(claimed == Some(Setting::Pids)) {
        return Some(FailureKind::TooManyProcesses { limit: limits.pids.into() });
    }
    if strain.out_of_memory == Some(true) {
        return Some(FailureKind::OutOfMemory { limit_bytes: limits.memory_bytes });
    }
    None
}

/// The runner's connection ended without a final frame.
pub(super) fn silent(evidence: sandbox::Evidence, limits: &CellLimits, strain: Strain) -> Failure {
    let processes = FailureKind::TooManyProcesses { limit: limits.pids.into() };
    let forks_refused = strain.forks_refused == Some(true);
    if evidence.out_of_memory == Some(true) || strain.out_of_memory == Some(true) {
        let failure = over(FailureKind::OutOfMemory { limit_bytes: limits.memory_bytes });
        let hint = if forks_refused { hint(&processes, None) } else { None };
        return Failure { hint, ..failure };
    }
    if forks_refused {
        return over(processes);
    }
    if evidence.is_orphan {
        let message = "the cell ended together with the engine or the process that had made it";
        return Failure::new(FailureKind::WorkerLost, message);
    }
    let exit_code = evidence.exit_code;
    let message = match exit_code {
        Some(code) if code == SIGNAL_EXIT + SIGXCPU => {
            return over(FailureKind::CpuTime { limit_ms: limits.cpu_ms });
        }
        Some(code) => format!("the cell's process ended with exit code {code} and gave no result"),
        None => "the cell closed its connection and gave no result".to_owned(),
    };
    Failure::new(FailureKind::ExitedEarly { exit_code }, message)
}

/// A limit was reached: figure and setting in one sentence.
pub(super) fn over(kind: FailureKind) -> Failure {
    let message = sentence(&kind).unwrap_or_else(|| kind.code().to_owned());
    Failure::new(kind, message)
}

/// The sentence for a failure whose message is somebody else's, when a setting or a package of the
/// runner image would move it.
fn hint(kind: &FailureKind, component: Option<&str>) -> Option<Box<str>> {
    if let FailureKind::PackageMissing { package } = kind {
        let component = component.map(|name| format!("component {name:?} needs `{package}`, and "));
        let component = component.unwrap_or_default();
        let help = if package == LANGFLOW { NO_APPLICATION } else { ADD_A_PACKAGE };
        let sentence = format!("{component}the runtime has no `{package}`: {help}");
        return Some(sentence.into_boxed_str());
    }
    if *kind == FailureKind::FlowsTooDeep {
        return Some(TOO_DEEP.into());
    }
    kind.setting().and_then(|_| sentence(kind)).map(String::into_boxed_str)
}

fn sentence(kind: &FailureKind) -> Option<String> {
    let what = match kind {
        FailureKind::OutOfMemory { limit_bytes } => {
            format!("the cell used more than {limit_bytes} bytes of memory")
        }
        FailureKind::TimedOut { limit_ms } => {
            return Some(format!(
                "the cell did not finish within {limit_ms} ms; the limit is `wall_ms`, or the \
                 rest of the run's deadline"
            ));
        }
        FailureKind::OutputTooLarge { limit_bytes } => {
            format!("the cell sent more than {limit_bytes} bytes of results and events")
        }
        FailureKind::ValueTooLarge { limit_bytes } => {
            return Some(format!(
                "the cell sent a single value of more than {limit_bytes} bytes, which is the \
                 most that can travel"
            ));
        }
        FailureKind::TooManyFrames { limit } => {
            format!("the cell sent more than {limit} frames (events, log lines and calls)")
        }
        FailureKind::TooManyTokens { limit } => {
            format!("the cell sent more than {limit} `token` events")
        }
        FailureKind::CpuTime { limit_ms } => {
            format!("the cell used more than {limit_ms} ms of processor time")
        }
        FailureKind::TooManyProcesses { limit } => {
            format!("the cell wanted more than {limit} processes and threads")
        }
        FailureKind::TooManyOpenFiles { limit } => {
            format!("a process of the cell had {limit} files and sockets open and wanted more")
        }
        FailureKind::DiskFull { limit_bytes } => {
            format!(
                "the cell wanted more than {limit_bytes} bytes in `/tmp`, the only place to write"
            )
        }
        FailureKind::Component { .. }
        | FailureKind::PackageMissing { .. }
        | FailureKind::RuntimeNotBuilt
        | FailureKind::InputInvalid
        | FailureKind::ValueNotPortable { .. }
        | FailureKind::Unsupported
        | FailureKind::ExitedEarly { .. }
        | FailureKind::FlowsTooDeep
        | FailureKind::ProtocolViolation
        | FailureKind::StartFailed
        | FailureKind::WorkerLost
        | FailureKind::Internal => return None,
    };
    kind.setting().map(|setting| format!("{what}; the limit is `{setting}`"))
}

/// No container, or none that could take the task.
pub(super) fn not_started(error: &pool::Error) -> Failure {
    Failure::new(FailureKind::StartFailed, format!("the cell's container did not start: {error}"))
}

pub(super) fn not_begun(error: &sandbox::Error) -> Failure {
    match error {
        sandbox::Error::MemoryTooSmall { memory_bytes, .. } => Failure::new(
            FailureKind::OutOfMemory { limit_bytes: *memory_bytes },
            format!(
                "{memory_bytes} bytes of memory are less than the runner itself needs; the limit \
                 is `memory_bytes`"
            ),
        ),
        error => Failure::new(
            FailureKind::StartFailed,
            format!("the cell's container did not take its task: {error}"),
        ),
    }
}

pub(super) fn not_stored() -> Failure {
    Failure::new(FailureKind::Internal, "the events of the cell could not be stored")
}

fn clip(mut text: String) -> String {
    if text.len() > TEXT_BYTES_MAX {
        let end = (0..=TEXT_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEN: Strain = Strain { forks_refused: Some(false), out_of_memory: Some(false) };

    fn body(kind: &str) -> FailureBody {
        FailureBody {
            kind: kind.into(),
            limit: None,
            node: Some("N-1".into()),
            component: Some("Boom".into()),
            message: "Error building Component Boom".into(),
            exception: Some("RuntimeError".into()),
            package: Some("torch".into()),
            traceback: None,
        }
    }

    #[test]
    fn a_missing_package_says_how_to_add_it() {
        let failure = reported(body("import"), &CellLimits::default(), SEEN);
        let hint = failure.hint.unwrap_or_default();
        let beginning = "component \"Boom\" needs `torch`, and the runtime has no `torch`: ";
        assert!(hint.starts_with(beginning), "{hint}");
        assert!(hint.contains("flowcell flow requirements FLOW --file"), "{hint}");
        assert!(hint.contains("runner/pyproject.toml"), "{hint}");
        let langflow = FailureBody { package: Some("langflow".into()), ..body("import") };
        let hint = reported(langflow, &CellLimits::default(), SEEN).hint.unwrap_or_default();
        assert!(hint.contains("vector store") && !hint.contains("requirements"), "{hint}");
    }

    #[test]
    fn flows_that_run_flows_too_deeply_are_told_the_setting() {
        let deep = FailureBody { limit: Some("flow_depth_max".into()), ..body("limit") };
        let failure = reported(deep, &CellLimits::default(), SEEN);
        assert_eq!(failure.kind, FailureKind::FlowsTooDeep);
        assert!(failure.hint.unwrap_or_default().contains("`flow_depth_max`"));
        assert_eq!(failure.message, "Error building Component Boom", "Langflow's words stay");
    }

    #[test]
    fn every_kind_of_the_runner_has_its_own() {
        let limits = CellLimits::default();
        let codes = ["component", "import", "input", "codec", "limit", "internal", "other"]
            .map(|kind| reported(body(kind), &limits, SEEN).kind.code());
        let expected = [
            "component",
            "package_missing",
            "input_invalid",
            "value_not_portable",
            "output_too_large",
            "component",
            "protocol_violation",
        ];
        assert_eq!(codes, expected);
        let failure = reported(body("component"), &limits, SEEN);
        assert_eq!(
            (failure.message.as_str(), failure.hint),
            ("Error building Component Boom", None)
        );
        assert_eq!(failure.node.as_deref(), Some("N-1"));
    }

    #[test]
    fn a_limit_behind_an_error_is_named_beside_langflows_words() {
        let limits = CellLimits::default();
        let unseen = Strain::default();
        let forks = Strain { forks_refused: Some(true), ..SEEN };
        let memory = Strain { out_of_memory: Some(true), ..SEEN };
        for (kind, limit, strain, code, setting) in [
            ("component", Some("tmpfs_bytes"), SEEN, "disk_full", "`tmpfs_bytes`"),
            ("component", Some("open_files"), SEEN, "too_many_open_files", "`open_files`"),
            ("internal", Some("open_files"), SEEN, "too_many_open_files", "`open_files`"),
            ("component", Some("pids"), unseen, "too_many_processes", "`pids`"),
            ("component", None, forks, "too_many_processes", "`pids`"),
            ("component", None, memory, "out_of_memory", "`memory_bytes`"),
            ("limit", Some("cpu_ms"), SEEN, "cpu_time", "`cpu_ms`"),
            ("limit", Some("output_bytes_max"), SEEN, "output_too_large", "`output_bytes_max`"),
        ] {
            let limit = limit.map(str::to_owned);
            let failure = reported(FailureBody { limit, ..body(kind) }, &limits, strain);
            assert_eq!(failure.kind.code(), code);
            assert_eq!(failure.message, "Error building Component Boom");
            assert!(failure.hint.unwrap().contains(setting));
        }
        for (kind, limit, strain, code) in [
            // The kernel knows better.
            ("component", "pids", SEEN, "component"),
            ("component", "wall_ms", unseen, "component"),
            ("component", "nonsense", unseen, "component"),
            ("limit", "frame", SEEN, "value_too_large"),
        ] {
            let claim = FailureBody { limit: Some(limit.into()), ..body(kind) };
            let failure = reported(claim, &limits, strain);
            assert_eq!((failure.kind.code(), failure.hint), (code, None));
        }
    }

    #[test]
    fn long_words_are_cut() {
        let long = FailureBody { message: "ä".repeat(TEXT_BYTES_MAX), ..body("component") };
        let failure = reported(long, &CellLimits::default(), SEEN);
        assert!(failure.message.len() <= TEXT_BYTES_MAX + 3 && failure.message.ends_with('…'));
    }

    #[test]
    fn a_silent_end_is_told_apart() {
        let limits = CellLimits::default();
        let of = |exit_code, out_of_memory, strain| {
            let evidence = sandbox::Evidence { exit_code, is_orphan: false, out_of_memory };
            silent(evidence, &limits, strain)
        };
        let early = of(Some(3), Some(false), SEEN);
        assert_eq!(early.kind, FailureKind::ExitedEarly { exit_code: Some(3) });
        let early = of(None, None, Strain::default());
        assert_eq!(early.kind, FailureKind::ExitedEarly { exit_code: None });
        let orphan = sandbox::Evidence { is_orphan: true, ..sandbox::Evidence::default() };
        assert_eq!(silent(orphan, &limits, SEEN).kind, FailureKind::WorkerLost);
        let memory = FailureKind::OutOfMemory { limit_bytes: limits.memory_bytes };
        assert_eq!(of(Some(137), Some(true), SEEN).kind, memory);
        let processor = FailureKind::CpuTime { limit_ms: limits.cpu_ms };
        assert_eq!(of(Some(152), Some(false), SEEN).kind, processor);
        let refused = Strain { forks_refused: Some(true), ..SEEN };
        let forks = of(Some(1), Some(false), refused);
        assert_eq!(forks.kind, FailureKind::TooManyProcesses { limit: 128 });
        assert!(forks.message.contains("128") && forks.message.contains("`pids`"));
        let both = of(Some(137), Some(true), refused);
        assert_eq!(both.kind, memory, "what ended it comes first");
        assert!(both.hint.unwrap().contains("`pids`"));
    }
}
