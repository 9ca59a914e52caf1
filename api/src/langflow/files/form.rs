//! The file in a form.

use axum::extract::multipart::Field;
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::StatusCode;
use bytes::Bytes;
use domain::limits::FileLimits;

use crate::error::{Error, Issue};

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
