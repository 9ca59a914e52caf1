//! From messages of a run's subject to numbered entries.
//!
//! A message carries some entries, or one part of an entry that is too large. Positions are a
//! function of the messages in the order of the stream and of nothing else, so every reader
//! counts alike: an entry is counted where it is complete for the first time, and its id never
//! again. Stream sequences would not do: the runs of a cluster share the stream, so those of one
//! run have gaps; and an entry may take several messages, a message several entries.

use std::collections::{HashMap, HashSet, VecDeque};
use std::str::FromStr as _;

use async_nats::HeaderMap;
use bytes::{Bytes, BytesMut};

use crate::entry::{self, Key};
use crate::{ENTRY_BYTES_MAX, ID_BYTES_MAX};

/// Bytes of entries in one message, and of one part.
pub(super) const MESSAGE_BYTES: usize = 512 * 1024;

/// Parts that an entry can have.
const PARTS_MAX: usize = ENTRY_BYTES_MAX.div_ceil(MESSAGE_BYTES);

/// Parts of entries that are not complete, in bytes; the oldest entry is given up first. Its
/// writer died, or there are many writers with huge entries at once.
const PARTIAL_BYTES_MAX: usize = 4 * ENTRY_BYTES_MAX;

const PART: &str = "Fc-Part";

/// A message for the stream.
#[derive(Debug)]
pub(super) struct Piece {
    /// Unique within the run; the same entries have the same one.
    pub(super) id: String,
    pub(super) headers: HeaderMap,
    pub(super) payload: Bytes,
}

/// The messages that carry these entries, in order.
pub(super) fn pieces(entries: &[(String, Bytes)]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut payload = Vec::new();
    let mut keys = Vec::new();
    for (id, body) in entries {
        let bytes = entry::len(id, body);
        if payload.len() + bytes > MESSAGE_BYTES && !payload.is_empty() {
            pieces.push(together(&mut payload, &mut keys));
        }
        if bytes > MESSAGE_BYTES {
            pieces.extend(parts(id, body));
            continue;
        }
        entry::write(&mut payload, id, body);
        keys.extend(entry::key(id.as_bytes()));
    }
    if !payload.is_empty() {
        pieces.push(together(&mut payload, &mut keys));
    }
    pieces
}

fn together(payload: &mut Vec<u8>, keys: &mut Vec<u8>) -> Piece {
    let id = entry::hex(&entry::key(keys));
    keys.clear();
    Piece { id, headers: HeaderMap::new(), payload: Bytes::from(std::mem::take(payload)) }
}

fn parts(id: &str, body: &Bytes) -> Vec<Piece> {
    let total = body.len().div_ceil(MESSAGE_BYTES);
    let digest = entry::hex(&entry::digest(body));
    let key = entry::hex(&entry::key(id.as_bytes()));
    (0..total)
        .map(|number| {
            let start = number * MESSAGE_BYTES;
            let end = (start + MESSAGE_BYTES).min(body.len());
            let mut headers = HeaderMap::new();
            headers.insert(PART, format!("{number} {total} {digest} {id}"));
            Piece {
                id: format!("{key}-{number}-{total}"),
                headers,
                payload: body.slice(start..end),
            }
        })
        .collect()
}

/// Which part a message is.
#[derive(Debug)]
struct Part<'a> {
    number: usize,
    total: usize,
    digest: &'a str,
    id: &'a str,
}

fn part(header: &str) -> Option<Part<'_>> {
    let mut fields = header.splitn(4, ' ');
    let part = Part {
        number: usize::from_str(fields.next()?).ok()?,
        total: usize::from_str(fields.next()?).ok()?,
        digest: fields.next()?,
        id: fields.next()?,
    };
    let fits = part.number < part.total && part.total <= PARTS_MAX && part.id.len() <= ID_BYTES_MAX;
    fits.then_some(part)
}

/// Parts of one entry by number. Two entries of one id that differ are two of these.
type PartialKey = (Key, usize, String);

/// Counts.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    position: u64,
    seen: HashSet<Key>,
    partial: HashMap<PartialKey, HashMap<usize, Bytes>>,
    partial_order: VecDeque<PartialKey>,
    partial_bytes: usize,
}

impl Assembler {
    /// The entries that this message completes, with their positions.
    pub(super) fn push(
        &mut self,
        headers: Option<&HeaderMap>,
        mut payload: Bytes,
    ) -> Vec<(u64, Bytes)> {
        let mut complete = Vec::new();
        if let Some(header) = headers.and_then(|all| all.get(PART)) {
            if let Some(part) = part(header.as_str()) {
                complete.extend(self.add(&part, payload));
            }
            return complete;
        }
        while let Some((id, body)) = entry::read(&mut payload) {
            complete.extend(self.count(entry::key(&id), body));
        }
        complete
    }

    fn count(&mut self, key: Key, body: Bytes) -> Option<(u64, Bytes)> {
        if !self.seen.insert(key) {
            return None;
        }
        self.position += 1;
        Some((self.position, body))
    }

    fn add(&mut self, part: &Part<'_>, payload: Bytes) -> Option<(u64, Bytes)> {
        let key = entry::key(part.id.as_bytes());
        if self.seen.contains(&key) || payload.len() > MESSAGE_BYTES {
            return None;
        }
        let partial = (key, part.total, part.digest.to_owned());
        if !self.partial.contains_key(&partial) {
            self.partial_order.push_back(partial.clone());
        }
        let parts = self.partial.entry(partial.clone()).or_default();
        let bytes = payload.len();
        if parts.insert(part.number, payload).is_none() {
            self.partial_bytes += bytes;
        }
        if parts.len() < part.total {
            self.trim();
            return None;
        }
        let mut body = BytesMut::new();
        for number in 0..part.total {
            body.extend_from_slice(parts.get(&number)?);
        }
        self.give_up(&partial);
        self.partial_order.retain(|other| *other != partial);
        if entry::hex(&entry::digest(&body)) != part.digest {
            return None; // The same for every reader: this entry never was.
        }
        self.count(key, body.freeze())
    }

    fn trim(&mut self) {
        while self.partial_bytes > PARTIAL_BYTES_MAX {
            let Some(oldest) = self.partial_order.pop_front() else {
                return;
            };
            self.give_up(&oldest);
        }
    }

    fn give_up(&mut self, partial: &PartialKey) {
        if let Some(parts) = self.partial.remove(partial) {
            let bytes: usize = parts.values().map(Bytes::len).sum();
            self.partial_bytes = self.partial_bytes.saturating_sub(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(list: &[(&str, usize)]) -> Vec<(String, Bytes)> {
        list.iter()
            .map(|(id, bytes)| ((*id).to_owned(), Bytes::from(vec![id.as_bytes()[0]; *bytes])))
            .collect()
    }

    fn read(pieces: &[&Piece]) -> Vec<(u64, u8, usize)> {
        let mut assembler = Assembler::default();
        pieces
            .iter()
            .flat_map(|piece| assembler.push(Some(&piece.headers), piece.payload.clone()))
            .map(|(position, body)| (position, body[0], body.len()))
            .collect()
    }

    #[test]
    fn large_and_small_keep_their_order() {
        let large = MESSAGE_BYTES * 2 + 5;
        let pieces = pieces(&entries(&[("a", 3), ("b", large), ("c", 4), ("a", 9)]));
        assert_eq!(pieces.len(), 1 + 3 + 1);
        let all: Vec<_> = pieces.iter().collect();
        assert_eq!(read(&all), [(1, b'a', 3), (2, b'b', large), (3, b'c', 4)]);
    }

    #[test]
    fn parts_of_different_entries_may_mix_and_repeat() {
        let large = MESSAGE_BYTES + 1;
        let a = pieces(&entries(&[("a", large)]));
        let b = pieces(&entries(&[("b", large)]));
        let mixed = [&b[0], &a[1], &a[1], &a[0], &a[0], &b[1], &b[0], &a[1], &b[1]];
        assert_eq!(read(&mixed), [(1, b'a', large), (2, b'b', large)]);
    }

    #[test]
    fn many_small_ones_share_messages() {
        let many: Vec<_> =
            (0..2000).map(|number| (format!("e{number}"), Bytes::from_static(&[1; 500]))).collect();
        let pieces = pieces(&many);
        assert!(pieces.len() < 5, "{}", pieces.len());
        let mut assembler = Assembler::default();
        let count: usize =
            pieces.iter().map(|piece| assembler.push(None, piece.payload.clone()).len()).sum();
        assert_eq!(count, 2000);
    }

    #[test]
    fn a_malformed_part_is_nothing() {
        for header in ["", "1", "1 1 x id", "0 9999 x id", "0 1 x"] {
            assert!(part(header).is_none(), "{header}");
        }
    }
}
