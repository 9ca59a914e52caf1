//! What a TLS client says first, as far as it can be read from outside: the name it asks for.
//!
//! A pure reader of a prefix of a connection. It never fails on any bytes, looks at a bounded
//! number of them, and says how many it needs before asking again makes sense.
//!
//! ```text
//! record  22 3 x length ─┬─ fragment ─┐
//! record  22 3 x length ─┴─ fragment ─┴▶ 1 length ─ version random session ciphers compression
//!                                                   extensions ─ 0: server_name ─ 65037: ECH
//! ```

/// Longest hello that is read. Those of today, with post-quantum key shares, have about 2 KiB.
pub const HELLO_BYTES_MAX: usize = 16 * 1024;
/// Records that a hello may be cut into: clients use one, or two to confuse middle boxes.
const RECORDS_MAX: usize = 16;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const RECORD_HEAD_BYTES: usize = 5;
const RECORD_BYTES_MAX: usize = 1 << 14;
const MESSAGE_HEAD_BYTES: usize = 4;

const EXTENSION_SERVER_NAME: u16 = 0;
const EXTENSION_ENCRYPTED_HELLO: u16 = 0xfe0d;
const NAME_TYPE_HOST: u8 = 0;

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum First {
    /// Not to be said yet.
    Incomplete {
        /// With fewer bytes than this in all, the answer stays the same.
        bytes_min: usize,
    },
    /// Not TLS.
    Other,
    /// TLS, but no hello that can be read.
    Malformed,
    /// A client's hello.
    Hello(Hello),
}

/// What a client's hello shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// The server's name in lower case, when one is asked for.
    pub name: Option<String>,
    /// Whether it says, or pretends, that the real name is encrypted in it (ECH).
    pub hides_name: bool,
}

/// Reads the first bytes of a connection.
#[must_use]
pub fn first(bytes: &[u8]) -> First {
    match bytes {
        [] => return First::Incomplete { bytes_min: 1 },
        [HANDSHAKE] | [HANDSHAKE, 3] => return First::Incomplete { bytes_min: RECORD_HEAD_BYTES },
        [HANDSHAKE, 3, 0..=4, ..] => {}
        _ => return First::Other,
    }
    let mut rest = bytes;
    let mut message = Vec::new();
    for _ in 0..RECORDS_MAX {
        let at = bytes.len().saturating_sub(rest.len());
        let Some((head, tail)) = rest.split_first_chunk::<RECORD_HEAD_BYTES>() else {
            return First::Incomplete { bytes_min: at.saturating_add(RECORD_HEAD_BYTES) };
        };
        let [kind, major, _, high, low] = *head;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if kind != HANDSHAKE || major != 3 || length == 0 || length > RECORD_BYTES_MAX {
            return First::Malformed;
        }
        let Some((fragment, tail)) = tail.split_at_checked(length) else {
            let bytes_min = at.saturating_add(RECORD_HEAD_BYTES).saturating_add(length);
            return First::Incomplete { bytes_min };
        };
        message.extend_from_slice(fragment);
        rest = tail;
        match whole(&message) {
            Whole::No => {}
            Whole::Yes(body) => return hello(body).map_or(First::Malformed, First::Hello),
            Whole::Never => return First::Malformed,
        }
    }
    First::Malformed
}

enum Whole<'a> {
    Yes(&'a [u8]),
    No,
    Never,
}

/// The body of the handshake message, once it is there.
fn whole(message: &[u8]) -> Whole<'_> {
    let Some((head, body)) = message.split_first_chunk::<MESSAGE_HEAD_BYTES>() else {
        return match message.first() {
            Some(&CLIENT_HELLO) => Whole::No,
            _ => Whole::Never,
        };
    };
    let [kind, high, middle, low] = *head;
    let length = u32::from_be_bytes([0, high, middle, low]);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if kind != CLIENT_HELLO || length > HELLO_BYTES_MAX {
        return Whole::Never;
    }
    body.get(..length).map_or(Whole::No, Whole::Yes)
}

/// Takes bytes from the front; `None` when there are not enough.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        let (bytes, rest) = self.0.split_first_chunk::<2>()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*bytes))
    }

    /// A block with a length of one byte before it.
    fn short(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.take(usize::from(length))
    }

    /// A block with a length of two bytes before it.
    fn long(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }
}

fn hello(body: &[u8]) -> Option<Hello> {
    let mut reader = Reader(body);
    let _version = reader.u16()?;
    let _random = reader.take(32)?;
    let _session = reader.short()?;
    let _ciphers = reader.long()?;
    let _compression = reader.short()?;
    let mut hello = Hello::default();
    if reader.0.is_empty() {
        // Extensions are optional up to TLS 1.2.
        return Some(hello);
    }
    let mut extensions = Reader(reader.long()?);
    if !reader.0.is_empty() {
        return None;
    }
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        let data = extensions.long()?;
        match kind {
            // A second one would let the server take the name that we did not read.
            EXTENSION_SERVER_NAME if hello.name.is_some() => return None,
            EXTENSION_SERVER_NAME => hello.name = Some(server_name(data)?),
            EXTENSION_ENCRYPTED_HELLO => hello.hides_name = true,
            _ => {}
        }
    }
    Some(hello)
}

/// The one host name of the extension.
fn server_name(data: &[u8]) -> Option<String> {
    let mut outer = Reader(data);
    let mut list = Reader(outer.long()?);
    let kind = list.u8()?;
    let name = list.long()?;
    let is_alone = outer.0.is_empty() && list.0.is_empty();
    if kind != NAME_TYPE_HOST || !is_alone || name.is_empty() {
        return None;
    }
    let text = std::str::from_utf8(name).ok()?;
    let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    is_visible.then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block16(bytes: &[u8]) -> Vec<u8> {
        [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
    }

    fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
        [kind.to_be_bytes().to_vec(), block16(data)].concat()
    }

    fn name(host: &str) -> Vec<u8> {
        let entry = [vec![NAME_TYPE_HOST], block16(host.as_bytes())].concat();
        extension(EXTENSION_SERVER_NAME, &block16(&entry))
    }

    fn message(extensions: Option<&[u8]>) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.push(32);
        body.extend([9; 32]);
        body.extend(block16(&[0x13, 1, 0x13, 2]));
        body.extend([1, 0]);
        if let Some(extensions) = extensions {
            body.extend(block16(extensions));
        }
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&[CLIENT_HELLO], &length[1..], &body].concat()
    }

    fn records(message: &[u8], fragment: usize) -> Vec<u8> {
        message
            .chunks(fragment)
            .flat_map(|part| [vec![HANDSHAKE, 3, 1], block16(part)].concat())
            .collect()
    }

    fn of(extensions: &[Vec<u8>]) -> First {
        first(&records(&message(Some(&extensions.concat())), 1 << 14))
    }

    fn named(host: &str) -> First {
        First::Hello(Hello { name: Some(host.into()), hides_name: false })
    }

    #[test]
    fn the_name_is_read() {
        assert_eq!(of(&[name("Api.OpenAI.com")]), named("api.openai.com"));
        assert_eq!(
            of(&[extension(43, &[2, 3, 4]), name("a.b"), extension(21, &[0; 300])]),
            named("a.b")
        );
        assert_eq!(of(&[]), First::Hello(Hello::default()));
        assert_eq!(first(&records(&message(None), 1 << 14)), First::Hello(Hello::default()));
        let hidden = of(&[name("public.name"), extension(EXTENSION_ENCRYPTED_HELLO, &[0; 50])]);
        assert_eq!(
            hidden,
            First::Hello(Hello { name: Some("public.name".into()), hides_name: true })
        );
    }

    #[test]
    fn a_real_hello_is_read() {
        let bytes = include_bytes!("../tests/fixtures/client_hello.bin");
        assert_eq!(first(bytes), named("api.openai.com"), "as OpenSSL 3 sends it");
        assert!(bytes.iter().enumerate().all(|(end, _)| {
            matches!(first(&bytes[..end]), First::Incomplete { bytes_min } if bytes_min > end)
        }));
    }

    #[test]
    fn a_hello_in_pieces_is_put_together() {
        let message = message(Some(&name("a.example")));
        let bytes = records(&message, 10);
        assert_eq!(first(&bytes), named("a.example"));
        for end in 0..bytes.len() {
            let First::Incomplete { bytes_min } = first(&bytes[..end]) else {
                panic!("{end}: {:?}", first(&bytes[..end]));
            };
            assert!(bytes_min > end && bytes_min <= bytes.len(), "{end}: {bytes_min}");
        }
        assert_eq!(first(&records(&message, 4)), First::Malformed, "too many records");
        let more = [bytes, vec![23, 3, 3, 0, 1, 0]].concat();
        assert_eq!(first(&more), named("a.example"), "what follows is not looked at");
    }

    #[test]
    fn what_is_not_tls_is_told_at_once() {
        for other in ["GET / HTTP/1.1\r\n", "PRI * HTTP/2.0", "SSH-2.0-x", "\0\0\0\u{8}\u{4}"] {
            assert_eq!(first(other.as_bytes()), First::Other, "{other:?}");
        }
        assert_eq!(first(&[22, 2]), First::Other);
        assert_eq!(first(&[0x80, 0x2e, 1, 3, 1]), First::Other, "SSL 2");
    }

    #[test]
    fn ambiguity_is_malformed() {
        let two =
            [vec![NAME_TYPE_HOST], block16(b"a.org"), vec![NAME_TYPE_HOST], block16(b"b.org")];
        let list = extension(EXTENSION_SERVER_NAME, &block16(&two.concat()));
        assert_eq!(of(&[list]), First::Malformed, "two names in one list");
        assert_eq!(of(&[name("a.org"), name("b.org")]), First::Malformed, "two lists");
        assert_eq!(of(&[name("")]), First::Malformed);
        assert_eq!(of(&[name("a b")]), First::Malformed);
        assert_eq!(of(&[name("ä.org")]), First::Malformed);
        assert_eq!(first(&[22, 3, 1, 0, 0]), First::Malformed, "an empty record");
        assert_eq!(first(&[22, 3, 1, 0, 1, 2]), First::Malformed, "a server's hello");
        assert_eq!(first(&[22, 3, 1, 0, 4, 1, 1, 0, 0]), First::Malformed, "too long");
        let mut trailing = message(Some(&name("a.org")));
        trailing.push(0);
        trailing[3] += 1;
        assert_eq!(first(&records(&trailing, 1 << 14)), First::Malformed);
    }

    #[test]
    fn no_bytes_are_too_strange() {
        use rand::{RngExt, SeedableRng};
        let mut rng = rand::rngs::StdRng::seed_from_u64(3);
        let good =
            records(&message(Some(&[name("a.example"), extension(51, &[5; 40])].concat())), 60);
        for _ in 0..200_000 {
            let mut bytes = good.clone();
            for _ in 0..rng.random_range(1..6) {
                let at = rng.random_range(0..bytes.len());
                bytes[at] = rng.random();
            }
            bytes.truncate(rng.random_range(0..=bytes.len()));
            if let First::Incomplete { bytes_min } = first(&bytes) {
                assert!(bytes_min > bytes.len());
            }
        }
    }
}
