//! How entries of an event log are written next to each other, in files and in messages.
//!
//! `u16` length of the id, `u32` length of the body (both little endian), id, body.

use bytes::{Buf, Bytes};
use sha2::{Digest, Sha256};

const HEAD_BYTES: usize = 6;

/// Stands for an id where many are remembered: 16 bytes of its SHA-256, whatever its length.
pub(crate) type Key = [u8; 16];

/// The key of an id.
pub(crate) fn key(id: &[u8]) -> Key {
    first(&Sha256::digest(id))
}

/// SHA-256, as it goes into headers.
pub(crate) fn digest(body: &[u8]) -> [u8; 32] {
    Sha256::digest(body).into()
}

/// The first bytes of a longer digest.
pub(crate) fn first<const N: usize>(digest: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    for (to, from) in out.iter_mut().zip(digest) {
        *to = *from;
    }
    out
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Bytes that an entry takes.
pub(crate) fn len(id: &str, body: &[u8]) -> usize {
    HEAD_BYTES + id.len() + body.len()
}

/// Writes an entry. Ids and bodies are within their limits, far below what the lengths can say.
pub(crate) fn write(out: &mut Vec<u8>, id: &str, body: &[u8]) {
    let id_len = u16::try_from(id.len()).expect("ids are at most ID_BYTES_MAX long");
    let body_len = u32::try_from(body.len()).expect("bodies are at most ENTRY_BYTES_MAX long");
    out.extend_from_slice(&id_len.to_le_bytes());
    out.extend_from_slice(&body_len.to_le_bytes());
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(body);
}

/// Takes the next entry, (id, body); `None` when the bytes are no entry.
pub(crate) fn read(bytes: &mut Bytes) -> Option<(Bytes, Bytes)> {
    let mut rest = bytes.clone();
    if rest.len() < HEAD_BYTES {
        return None;
    }
    let id_len = usize::from(rest.get_u16_le());
    let body_len = usize::try_from(rest.get_u32_le()).ok()?;
    if rest.len() < id_len.checked_add(body_len)? {
        return None;
    }
    let id = rest.split_to(id_len);
    let body = rest.split_to(body_len);
    *bytes = rest;
    Some((id, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_is_read() {
        let mut out = Vec::new();
        write(&mut out, "a", b"one");
        write(&mut out, "b", b"");
        assert_eq!(out.len(), len("a", b"one") + len("b", b""));
        let mut bytes = Bytes::from(out);
        let torn = bytes.slice(..bytes.len() - 1);
        assert_eq!(read(&mut bytes).unwrap().1, "one");
        assert_eq!(read(&mut bytes).unwrap().0, "b");
        assert!(read(&mut bytes).is_none());
        let mut torn = torn;
        assert!(read(&mut torn).is_some());
        assert!(read(&mut torn).is_none());
        assert_eq!(hex(&[0, 255]), "00ff");
    }
}
