//! A file as an answer.

use axum::body::Body;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, Response};
use bytes::Bytes;
use futures::stream;
use store::{File, Tenant};

use crate::error::{Error, internal};

/// The whole content; for small files, or where the whole is needed.
pub(super) async fn content(tenant: &Tenant, file: &File) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let mut position = 0;
    while let Some(piece) = tenant.read_file(file, position).await? {
        bytes.extend(piece);
        position += 1;
    }
    Ok(bytes)
}

/// The content, piece by piece. What goes wrong after the first piece breaks the connection, so
/// that nobody takes half a file for the whole.
pub(super) async fn file(
    tenant: Tenant,
    file: File,
    content_type: &'static str,
    disposition: &str,
) -> Result<Response<Body>, Error> {
    let length = file.bytes;
    let first = tenant.read_file(&file, 0).await?.unwrap_or_default();
    let rest = stream::try_unfold((tenant, file, 1), async |(tenant, file, position)| {
        let piece = tenant.read_file(&file, position).await?;
        let next = piece.map(|piece| (Bytes::from(piece), (tenant, file, position + 1)));
        Ok::<_, store::Error>(next)
    });
    let first = stream::once(async { Ok(Bytes::from(first)) });
    let body = Body::from_stream(futures::StreamExt::chain(first, rest));
    answer(body, length, content_type, disposition)
}

/// Any bytes as a file.
pub(super) fn answer(
    body: Body,
    length: u64,
    content_type: &'static str,
    disposition: &str,
) -> Result<Response<Body>, Error> {
    let disposition = HeaderValue::from_str(disposition)
        .map_err(|error| internal("naming a download", &error))?;
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONTENT_DISPOSITION, disposition);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    Ok(response)
}

/// `attachment` under this name, in plain letters and in all of them.
pub(super) fn attachment(name: &str) -> String {
    let safe: String = name.chars().map(|c| if c.is_control() { '_' } else { c }).collect();
    let mut plain = String::new();
    for c in safe.chars() {
        match c {
            '"' | '\\' => plain.extend(['\\', c]),
            _ if c.is_ascii() => plain.push(c),
            _ => plain.push('?'),
        }
    }
    let mut encoded = String::new();
    for byte in safe.bytes() {
        if byte.is_ascii_alphanumeric() || b"_.-~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
}

/// The media type that Langflow gives an extension.
pub(super) fn media_type(name: &str) -> &'static str {
    let extension = name.rsplit_once('.').map_or(name, |(_, extension)| extension);
    match extension.to_lowercase().as_str() {
        "json" => "application/json",
        "txt" => "text/plain",
        "csv" => "text/csv",
        "html" => "text/html",
        "pdf" => "application/pdf",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "svg" => "image/svg+xml",
        "mp3" => "audio/mpeg",
        "wav" => "audio/wav",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "zip" => "application/zip",
        "tar" => "application/x-tar",
        "gz" => "application/gzip",
        "doc" => "application/msword",
        "docx" => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "xls" => "application/vnd.ms-excel",
        "xlsx" => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "ppt" => "application/vnd.ms-powerpoint",
        "pptx" => "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "xml" => "application/xml",
        "yaml" | "yml" => "application/x-yaml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_header() {
        assert_eq!(
            attachment("a \"b\"\\é\r\n.txt"),
            "attachment; filename=\"a \\\"b\\\"\\\\?__.txt\"; \
             filename*=UTF-8''a%20%22b%22%5C%C3%A9__.txt"
        );
    }
}
