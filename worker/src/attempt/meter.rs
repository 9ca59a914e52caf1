//! What one attempt has sent, against its limits. Pure; every frame passes here first.

use domain::failure::{Failure, FailureKind};
use domain::limits::{CellLimits, FRAME_BYTES_MAX};
use proto::frame::{Error as FrameError, FromRunner};

use crate::sandbox::Received;

/// Text of one log frame, as `FRAMES.md` says.
const LOG_TEXT_BYTES_MAX: usize = 64 * 1024;

/// The notice after the last log line that was kept.
pub(crate) const LOG_NOTICE: &str =
    "[log_bytes_max reached: further output of this cell is dropped]\n";

/// Counts frames and bytes.
#[derive(Debug)]
pub(crate) struct Meter {
    limits: CellLimits,
    frames: u64,
    output_bytes: u64,
    log_bytes: u64,
}

/// What to do with the text of a log frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// All of it.
    All,
    /// This many bytes, and then the notice.
    Some(usize),
    /// Nothing: the notice was given.
    Nothing,
}

impl Meter {
    pub(crate) fn new(limits: CellLimits) -> Self {
        Self { limits, frames: 0, output_bytes: 0, log_bytes: 0 }
    }

    pub(crate) fn frames(&self) -> u64 {
        self.frames
    }

    pub(crate) fn output_bytes(&self) -> u64 {
        self.output_bytes
    }

    /// Counts a frame.
    pub(crate) fn count(&mut self, received: &Received) -> Result<(), Failure> {
        self.frames += 1;
        if self.frames > self.limits.frames_max {
            let limit = self.limits.frames_max;
            return Err(Failure::new(
                FailureKind::TooManyFrames { limit },
                format!(
                    "the cell sent more than {limit} frames (events, log lines and calls); the \
                     limit is `frames_max`"
                ),
            ));
        }
        if let FromRunner::Log(log) = &received.frame {
            if log.text.len() > LOG_TEXT_BYTES_MAX {
                return Err(violation("a log frame is larger than 64 KiB"));
            }
            return Ok(());
        }
        self.output_bytes = self.output_bytes.saturating_add(received.payload_bytes);
        if self.output_bytes > self.limits.output_bytes_max {
            return Err(self.too_large(self.limits.output_bytes_max));
        }
        Ok(())
    }

    /// How much of a log text is kept.
    pub(crate) fn keep(&mut self, text: &str) -> Keep {
        let before = self.log_bytes;
        let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
        self.log_bytes = before.saturating_add(length);
        if self.log_bytes <= self.limits.log_bytes_max {
            return Keep::All;
        }
        if before > self.limits.log_bytes_max {
            return Keep::Nothing;
        }
        let room = usize::try_from(self.limits.log_bytes_max - before).unwrap_or(0);
        let fits = (0..=room.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
        Keep::Some(fits.unwrap_or(0))
    }

    fn too_large(&self, limit: u64) -> Failure {
        Failure::new(
            FailureKind::OutputTooLarge { limit_bytes: limit },
            if limit == self.limits.output_bytes_max {
                format!(
                    "the cell sent more than {limit} bytes of results and events; the limit is \
                     `output_bytes_max`"
                )
            } else {
                format!(
                    "the cell sent a single value of more than {limit} bytes, which is the most that can travel"
                )
            },
        )
    }

    /// The failure that unreadable bytes are. What was sent is never repeated: it may be secret.
    pub(crate) fn unreadable(&self, error: &FrameError) -> Failure {
        match error {
            FrameError::TooLong { .. } => {
                let frame_max = u64::try_from(FRAME_BYTES_MAX).unwrap_or(u64::MAX);
                self.too_large(self.limits.output_bytes_max.min(frame_max))
            }
            FrameError::Magic => violation("the bytes are not a frame"),
            FrameError::Version(version) => {
                violation(&format!("frame version {version} is not supported"))
            }
            FrameError::Kind(kind) => violation(&format!("frame kind {kind} is not expected")),
            FrameError::Payload { kind, source } => violation(&format!(
                "the payload of a frame of kind {kind} is invalid at byte {}",
                source.column()
            )),
            FrameError::Io(_) => violation("the connection broke inside a frame"),
        }
    }
}

/// The container spoke something else than the protocol.
pub(crate) fn violation(what: &str) -> Failure {
    Failure::new(
        FailureKind::ProtocolViolation,
        format!("the container broke the runner protocol: {what}"),
    )
}

#[cfg(test)]
mod tests {
    use proto::frame::{Event, Log};

    use super::*;

    fn limits() -> CellLimits {
        CellLimits {
            output_bytes_max: 100,
            frames_max: 3,
            log_bytes_max: 10,
            ..CellLimits::default()
        }
    }

    fn event(payload_bytes: u64) -> Received {
        let frame = FromRunner::Event(Event { event: "token".into(), data: 1.into() });
        Received { frame, payload_bytes }
    }

    fn log(text: String) -> Received {
        let frame = FromRunner::Log(Log { stream: "stdout".into(), text });
        Received { frame, payload_bytes: 1_000 }
    }

    #[test]
    fn each_limit_has_its_failure_and_names_its_setting() {
        let mut meter = Meter::new(limits());
        meter.count(&event(100)).unwrap();
        let failure = meter.count(&event(1)).unwrap_err();
        assert_eq!(failure.kind, FailureKind::OutputTooLarge { limit_bytes: 100 });
        assert!(failure.message.contains("`output_bytes_max`"));
        meter.count(&log("log bytes are counted apart".into())).unwrap();
        let failure = meter.count(&event(0)).unwrap_err();
        assert_eq!(failure.kind, FailureKind::TooManyFrames { limit: 3 });
        assert!(failure.message.contains("`frames_max`"));
        let failure = Meter::new(limits()).count(&log("x".repeat(65_537))).unwrap_err();
        assert_eq!(failure.kind, FailureKind::ProtocolViolation);
    }

    #[test]
    fn logs_are_cut_once_and_then_dropped() {
        let mut meter = Meter::new(limits());
        assert_eq!(meter.keep("12345678"), Keep::All);
        assert_eq!(meter.keep("9äöü"), Keep::Some(1));
        assert_eq!(meter.keep("more"), Keep::Nothing);
        let mut exact = Meter::new(limits());
        assert_eq!(exact.keep("1234567890"), Keep::All);
        assert_eq!(exact.keep("x"), Keep::Some(0));
        assert_eq!(exact.keep("x"), Keep::Nothing);
    }

    #[test]
    fn unreadable_bytes_are_not_quoted() {
        let source = serde_json::from_str::<u8>("\"sk-secret\"").unwrap_err();
        let failure = Meter::new(limits()).unreadable(&FrameError::Payload { kind: 133, source });
        assert!(!failure.message.contains("secret"), "{}", failure.message);
        let long = FrameError::TooLong { length: 1 << 30, limit: 100 };
        let failure = Meter::new(limits()).unreadable(&long);
        assert_eq!(failure.kind, FailureKind::OutputTooLarge { limit_bytes: 100 });
    }
}
