//! Cuts a stream into its events: JSON objects separated by a blank line. Langflow sends them bare;
//! the `data:` of proper server-sent events is tolerated.

use super::outcome::FailureClass;

/// One event; an `end` event holds the whole result.
const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Frames {
    buffer: Vec<u8>,
    /// Bytes already known to hold no separator.
    searched: usize,
}

impl Frames {
    /// Takes bytes in and gives the events they complete.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, FailureClass> {
        // Carriage returns occur in no JSON text but as white space.
        self.buffer.extend(bytes.iter().filter(|byte| **byte != b'\r'));
        let mut events = Vec::new();
        while let Some(end) = self.separator() {
            let rest = self.buffer.split_off(end + 2);
            let frame = std::mem::replace(&mut self.buffer, rest);
            self.searched = 0;
            events.extend(event(&frame));
        }
        self.searched = self.buffer.len().saturating_sub(1);
        if self.buffer.len() > FRAME_BYTES_MAX {
            return Err(FailureClass::TooLarge);
        }
        Ok(events)
    }

    /// What came last without a blank line after it.
    pub(crate) fn finish(self) -> Option<Vec<u8>> {
        event(&self.buffer)
    }

    fn separator(&self) -> Option<usize> {
        let unseen = self.buffer.get(self.searched..)?;
        unseen.windows(2).position(|pair| pair == b"\n\n").map(|found| self.searched + found)
    }
}

/// The JSON within a frame; none in an empty one or a comment.
fn event(frame: &[u8]) -> Option<Vec<u8>> {
    let frame = frame.trim_ascii();
    if frame.is_empty() || frame.starts_with(b":") {
        return None;
    }
    if frame.starts_with(b"{") {
        return Some(frame.to_vec());
    }
    let data: Vec<&[u8]> = frame
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.strip_prefix(b"data:"))
        .map(<[u8]>::trim_ascii)
        .collect();
    if data.is_empty() { Some(frame.to_vec()) } else { Some(data.join(&b'\n')) }
}

#[cfg(test)]
mod tests {
    use super::Frames;

    fn pushed(pieces: &[&str]) -> Vec<String> {
        let mut frames = Frames::default();
        let mut events = Vec::new();
        for piece in pieces {
            events.extend(frames.push(piece.as_bytes()).unwrap());
        }
        events.extend(frames.finish());
        events.into_iter().map(|event| String::from_utf8(event).unwrap()).collect()
    }

    #[test]
    fn events_are_found_wherever_they_are_cut() {
        let text = "{\"a\":1}\n\n{\"b\":2}\r\n\r\n: ping\n\ndata: {\"c\":3}\n\n\n\n{\"d\":4}";
        let expected = ["{\"a\":1}", "{\"b\":2}", "{\"c\":3}", "{\"d\":4}"];
        for size in 1..text.len() {
            let pieces: Vec<&str> = text
                .as_bytes()
                .chunks(size)
                .map(|piece| std::str::from_utf8(piece).unwrap())
                .collect();
            assert_eq!(pushed(&pieces), expected, "in pieces of {size}");
        }
    }
}
