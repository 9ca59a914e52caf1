//! Uploaded files: Langflow's first routes keep them per flow, its second ones per user.

mod form;
mod names;
mod send;
pub(crate) mod v1;
pub(crate) mod v2;

use domain::limits::FileLimits;

/// Headers and boundaries of the form that a file comes in.
const FORM_BYTES: u64 = 64 * 1024;

/// The largest body of an upload.
pub(crate) fn body_bytes_max(limits: &FileLimits) -> usize {
    usize::try_from(limits.file_bytes_max.saturating_add(FORM_BYTES)).unwrap_or(usize::MAX)
}
