//! How an attempt ended, in words a tenant can act on. Pure.

use domain::failure::{Failure, FailureKind};
use domain::limits::CellLimits;
use proto::frame::FailureBody;

use crate::{pool, sandbox};

/// Longest message or name taken over from a runner.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// A failure that the runner reported.
pub(super) fn reported(body: FailureBody, limits: &CellLimits) -> Failure {
    let exception = clip(body.exception.unwrap_or_default());
    let kind = match body.kind.as_str() {
        "component" => FailureKind::Component { exception },
        "import" => match body.package {
            Some(package) => FailureKind::PackageMissing { package: clip(package) },
            None => FailureKind::Component { exception },
        },
        "input" => FailureKind::InputInvalid,
        "codec" => FailureKind::ValueNotPortable { value_type: exception },
        "limit" => FailureKind::OutputTooLarge { limit_bytes: limits.output_bytes_max },
        "internal" => FailureKind::Internal,
        _ => FailureKind::ProtocolViolation,
    };
    Failure {
        kind,
        message: clip(body.message),
        node: body.node.map(clip),
        component: body.component.map(clip),
    }
}

/// The runner's connection ended without a final frame.
pub(super) fn silent(evidence: sandbox::Evidence, limits: &CellLimits) -> Failure {
    if evidence.out_of_memory == Some(true) {
        return out_of_memory(limits.memory_bytes);
    }
    let exit_code = evidence.exit_code;
    let message = match exit_code {
        Some(code) => format!("the cell's process ended with exit code {code} and gave no result"),
        None => "the cell closed its connection and gave no result".to_owned(),
    };
    Failure::new(FailureKind::ExitedEarly { exit_code }, message)
}

pub(super) fn timed_out(limits: &CellLimits) -> Failure {
    let limit_ms = limits.wall_ms;
    Failure::new(
        FailureKind::TimedOut { limit_ms },
        format!(
            "the cell did not finish within {limit_ms} ms; the limit is `wall_ms`, or the rest \
             of the run's deadline"
        ),
    )
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

fn out_of_memory(limit_bytes: u64) -> Failure {
    Failure::new(
        FailureKind::OutOfMemory { limit_bytes },
        format!(
            "the cell used more than {limit_bytes} bytes of memory; the limit is `memory_bytes`"
        ),
    )
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

    fn body(kind: &str) -> FailureBody {
        FailureBody {
            kind: kind.into(),
            node: Some("N-1".into()),
            component: Some("Boom".into()),
            message: "Error building Component Boom".into(),
            exception: Some("RuntimeError".into()),
            package: Some("torch".into()),
            traceback: None,
        }
    }

    #[test]
    fn every_kind_of_the_runner_has_its_own() {
        let codes = ["component", "import", "input", "codec", "limit", "internal", "other"]
            .map(|kind| reported(body(kind), &CellLimits::default()).kind.code());
        let expected = [
            "component",
            "package_missing",
            "input_invalid",
            "value_not_portable",
            "output_too_large",
            "internal",
            "protocol_violation",
        ];
        assert_eq!(codes, expected);
        let failure = reported(body("component"), &CellLimits::default());
        assert_eq!(failure.message, "Error building Component Boom");
        assert_eq!(failure.node.as_deref(), Some("N-1"));
    }

    #[test]
    fn long_words_are_cut() {
        let long = FailureBody { message: "ä".repeat(TEXT_BYTES_MAX), ..body("component") };
        let failure = reported(long, &CellLimits::default());
        assert!(failure.message.len() <= TEXT_BYTES_MAX + 3 && failure.message.ends_with('…'));
    }

    #[test]
    fn a_silent_end_is_told_apart() {
        let limits = CellLimits::default();
        let of = |exit_code, out_of_memory| {
            silent(sandbox::Evidence { exit_code, out_of_memory }, &limits).kind
        };
        assert_eq!(of(Some(3), Some(false)), FailureKind::ExitedEarly { exit_code: Some(3) });
        assert_eq!(of(None, None), FailureKind::ExitedEarly { exit_code: None });
        assert_eq!(
            of(Some(137), Some(true)),
            FailureKind::OutOfMemory { limit_bytes: limits.memory_bytes }
        );
    }
}
