//! What one attempt has sent, against its limits. Pure; every frame passes here first.

use domain::failure::{Failure, FailureKind};
use domain::limits::{CellLimits, FRAME_BYTES_MAX, Setting};
use proto::frame::{Error as FrameError, FromRunner};

use super::verdict;
use crate::sandbox::Received;

/// Text of one log frame, as `FRAMES.md` says.
const LOG_TEXT_BYTES_MAX: usize = 64 * 1024;

/// The event that carries a piece of a model's answer.
const TOKEN: &str = "token";

/// Counts frames, tokens, bytes and lines.
#[derive(Debug)]
pub(crate) struct Meter {
    limits: CellLimits,
    frames: u64,
    tokens: u64,
    output_bytes: u64,
    log_bytes: u64,
    log_lines: u64,
    log_is_cut: bool,
}

/// What to do with the text of a log frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// All of it.
    All,
    /// This many bytes, and then the notice that this limit is reached.
    Some(usize, Setting),
    /// Nothing: the notice was given.
    Nothing,
}

impl Meter {
    pub(crate) fn new(limits: CellLimits) -> Self {
        Self {
            limits,
            frames: 0,
            tokens: 0,
            output_bytes: 0,
            log_bytes: 0,
            log_lines: 0,
            log_is_cut: false,
        }
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
            return Err(verdict::over(FailureKind::TooManyFrames { limit }));
        }
        if let FromRunner::Log(log) = &received.frame {
            if log.text.len() > LOG_TEXT_BYTES_MAX {
                return Err(violation("a log frame is larger than 64 KiB"));
            }
            return Ok(());
        }
        if matches!(&received.frame, FromRunner::Event(event) if event.event == TOKEN) {
            self.tokens += 1;
            if self.tokens > self.limits.tokens_max {
                let limit = self.limits.tokens_max;
                return Err(verdict::over(FailureKind::TooManyTokens { limit }));
            }
        }
        self.output_bytes = self.output_bytes.saturating_add(received.payload_bytes);
        if self.output_bytes > self.limits.output_bytes_max {
            return Err(self.too_large());
        }
        Ok(())
    }

    /// How much of a log text is kept.
    pub(crate) fn keep(&mut self, text: &str) -> Keep {
        if self.log_is_cut {
            return Keep::Nothing;
        }
        let bytes = bytes_within(text, self.limits.log_bytes_max.saturating_sub(self.log_bytes));
        let lines = lines_within(text, self.limits.log_lines_max.saturating_sub(self.log_lines));
        let kept = bytes.min(lines);
        if kept < text.len() {
            self.log_is_cut = true;
            let limit = if lines < bytes { Setting::LogLinesMax } else { Setting::LogBytesMax };
            return Keep::Some(kept, limit);
        }
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        self.log_bytes = self.log_bytes.saturating_add(count(text.len()));
        let ends = text.bytes().filter(|byte| *byte == b'\n').count();
        self.log_lines = self.log_lines.saturating_add(count(ends));
        Keep::All
    }

    fn too_large(&self) -> Failure {
        verdict::over(FailureKind::OutputTooLarge { limit_bytes: self.limits.output_bytes_max })
    }

    /// The failure that unreadable bytes are. What was sent is never repeated: it may be secret.
    pub(crate) fn unreadable(&self, error: &FrameError) -> Failure {
        match error {
            FrameError::TooLong { .. } => {
                let limit_bytes = u64::try_from(FRAME_BYTES_MAX).unwrap_or(u64::MAX);
                if self.limits.output_bytes_max <= limit_bytes {
                    return self.too_large();
                }
                verdict::over(FailureKind::ValueTooLarge { limit_bytes })
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

/// How much of the text fits into so many bytes.
fn bytes_within(text: &str, room: u64) -> usize {
    let room = usize::try_from(room).unwrap_or(usize::MAX).min(text.len());
    (0..=room).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// How much of the text fits into so many lines. A line that has begun counts when it ends.
fn lines_within(text: &str, room: u64) -> usize {
    let Some(last) = room.checked_sub(1) else { return 0 };
    let last = usize::try_from(last).unwrap_or(usize::MAX);
    text.match_indices('\n').nth(last).map_or(text.len(), |(at, end)| at + end.len())
}

/// The notice after the last of the output that is kept.
pub(crate) fn notice(limit: Setting) -> String {
    format!("[{limit} reached: further output of this cell is dropped]\n")
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
        assert_eq!(meter.keep("9äöü"), Keep::Some(1, Setting::LogBytesMax));
        assert_eq!(meter.keep("more"), Keep::Nothing);
        let mut exact = Meter::new(limits());
        assert_eq!(exact.keep("1234567890"), Keep::All);
        assert_eq!(exact.keep(""), Keep::All);
        assert_eq!(exact.keep("x"), Keep::Some(0, Setting::LogBytesMax));
        assert_eq!(exact.keep("x"), Keep::Nothing);
        assert!(notice(Setting::LogBytesMax).contains("log_bytes_max"));
    }

    #[test]
    fn logs_are_cut_after_their_last_line_too() {
        let limits = CellLimits { log_bytes_max: 20, log_lines_max: 3, ..limits() };
        let mut meter = Meter::new(limits.clone());
        assert_eq!(meter.keep("a\nb"), Keep::All);
        assert_eq!(meter.keep("b\nc\nd\ne"), Keep::Some(4, Setting::LogLinesMax));
        assert_eq!(meter.keep("f"), Keep::Nothing);
        let mut exact = Meter::new(limits.clone());
        assert_eq!(exact.keep("a\nb\nc\n"), Keep::All);
        assert_eq!(exact.keep("d"), Keep::Some(0, Setting::LogLinesMax));
        let mut wide = Meter::new(limits.clone());
        assert_eq!(wide.keep(&"x".repeat(21)), Keep::Some(20, Setting::LogBytesMax));
        let mut none = Meter::new(CellLimits { log_lines_max: 0, ..limits });
        assert_eq!(none.keep("x"), Keep::Some(0, Setting::LogLinesMax));
        assert_eq!(none.keep("x"), Keep::Nothing);
    }

    #[test]
    fn only_tokens_are_counted_as_tokens() {
        let limits = CellLimits { tokens_max: 2, ..CellLimits::default() };
        let mut meter = Meter::new(limits);
        let frame = FromRunner::Event(Event { event: "add_message".into(), data: 1.into() });
        for _ in 0..2 {
            meter.count(&event(1)).unwrap();
            meter.count(&Received { frame: frame.clone(), payload_bytes: 1 }).unwrap();
        }
        let failure = meter.count(&event(1)).unwrap_err();
        assert_eq!(failure.kind, FailureKind::TooManyTokens { limit: 2 });
        assert!(failure.message.contains("`tokens_max`"));
    }

    #[test]
    fn unreadable_bytes_are_not_quoted() {
        let source = serde_json::from_str::<u8>("\"sk-secret\"").unwrap_err();
        let failure = Meter::new(limits()).unreadable(&FrameError::Payload { kind: 133, source });
        assert!(!failure.message.contains("secret"), "{}", failure.message);
        let long = FrameError::TooLong { length: 1 << 30, limit: 100 };
        let failure = Meter::new(limits()).unreadable(&long);
        assert_eq!(failure.kind, FailureKind::OutputTooLarge { limit_bytes: 100 });
        let failure = Meter::new(CellLimits::default()).unreadable(&long);
        assert_eq!(failure.kind, FailureKind::ValueTooLarge { limit_bytes: 33_554_432 });
        assert!(!failure.message.contains('`'), "no setting changes it: {}", failure.message);
    }
}
