//! The file in a form.

use axum::extract::multipart::Field;
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use domain::limits::FileLimits;

use crate::error::{Error, Issue};

/// How much of a refused body is read to keep its connection.
const DRAINED_BYTES_MAX: usize = 1024 * 1024;

/// A file as it came.
pub(super) struct Upload {
    /// What the client calls it; empty when it does not.
    pub(super) name: String,
    pub(super) bytes: Bytes,
}

impl Upload {
    /// The form's part `file`.
    pub(super) async fn of(request: Request, limits: &FileLimits) -> Result<Self, Error> {
        let missing = || Error::from(Issue::missing("file"));
        let too_large = || Error::FileTooLarge { bytes_max: limits.file_bytes_max };
        let read = |status| match status {
            StatusCode::PAYLOAD_TOO_LARGE => too_large(),
            _ => Error::BodyUnreadable,
        };
        if !is_form(request.headers()) {
            drain(request).await;
            return Err(missing());
        }
        let form = Multipart::from_request(request, &()).await;
        let mut form = form.map_err(|_| missing())?;
        while let Some(field) = form.next_field().await.map_err(|error| read(error.status()))? {
            if field.name() != Some("file") {
                continue;
            }
            // A part without a file name is a field of the form, not a file.
            let Some(name) = field.file_name().map(str::to_owned) else {
                return Err(missing());
            };
            let bytes = Field::bytes(field).await.map_err(|error| read(error.status()))?;
            if bytes.len() as u64 > limits.file_bytes_max {
                return Err(too_large());
            }
            return Ok(Self { name, bytes });
        }
        Err(missing())
    }
}

/// Whether the headers announce a form.
pub(super) fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.contains("multipart/form-data") && kind.contains("boundary=")
}

/// Reads what nobody wants: the connection of a request whose body was left unread is closed, and
/// a client that keeps it for the next request finds it broken.
pub(super) async fn drain(request: Request) {
    let _ = axum::body::to_bytes(request.into_body(), DRAINED_BYTES_MAX).await;
}
