//! What the program says: results on standard output, everything else on standard error.
//!
//! `println!` panics when nobody reads any more, as in `flowcell doctor | head -1`.

use std::fmt::Display;
use std::io::{ErrorKind, Write, stderr, stdout};

/// Why a result could not be told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The reader has what it wanted and is gone.
    #[error("nobody reads standard output any more")]
    Closed,
    /// The disk behind it is full, say.
    #[error("cannot write to standard output: {0}")]
    Write(std::io::Error),
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Write(error),
        }
    }
}

/// A line of a result.
pub(crate) fn line(text: impl Display) -> Result<(), Error> {
    Ok(writeln!(stdout(), "{text}")?)
}

/// A piece of a result, seen at once.
pub(crate) fn piece(text: impl Display) -> Result<(), Error> {
    let mut out = stdout().lock();
    write!(out, "{text}")?;
    Ok(out.flush()?)
}

/// A line for people. That nobody can see it stops nothing.
pub(crate) fn note(text: impl Display) {
    let _ = writeln!(stderr(), "{text}");
}
