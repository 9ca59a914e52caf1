//! Secrets at rest.
//!
//! ```text
//! key file (0600) ── key-encryption key ──wraps──▶ data key of a tenant ──seals──▶ variable
//!                                       (tenant id)                     (tenant id, name)
//!                                                 └────seals──▶ variable of one run
//!                                                               (tenant id, run id, name)
//!                                                 └────seals──▶ payload in object storage
//!                                                               (tenant id, hash of the body)
//! ```
//!
//! XChaCha20-Poly1305 with a random 24-byte nonce each time. What is in parentheses is
//! authenticated with the ciphertext: a value that is copied to another name, or to another
//! tenant, does not open. Rotating the key-encryption key means wrapping the data keys again;
//! the variables stay as they are.
//!
//! Forms, version first: wrapped data key `1 ‖ key id (8) ‖ nonce (24) ‖ ciphertext (48)`, sealed
//! value `1 ‖ nonce (24) ‖ ciphertext`.

mod key_file;

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use domain::id::{RunId, TenantId};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use zeroize::Zeroizing;

pub use key_file::KeyFileError;

use crate::secret::Secret;

const VERSION: u8 = 1;
const NONCE_BYTES: usize = 24;
const KEY_ID_BYTES: usize = 8;

/// The bytes do not open with this key under this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sealed bytes do not open with this key")]
pub struct Unopenable;

/// The key that wraps the data keys of all tenants. It comes from a file and is never stored.
#[derive(Clone)]
pub struct KeyEncryptionKey(Arc<Zeroizing<[u8; 32]>>);

/// The key of one tenant's variables.
pub(crate) struct DataKey(Zeroizing<[u8; 32]>);

/// Where a sealed value is stored; it opens nowhere else.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place<'a> {
    /// The tenant's variable of this name.
    Variable(&'a str),
    /// The value of this name that a caller gave for one run.
    OfRun(RunId, &'a str),
    /// The body of the tenant's payload with this hash.
    Payload(&'a [u8]),
}

impl KeyEncryptionKey {
    /// The key with these bytes, where they come from somewhere else than a file.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Arc::new(Zeroizing::new(bytes)))
    }

    /// A new random key.
    #[must_use]
    pub fn generate() -> Self {
        Self(Arc::new(random()))
    }

    /// Names the key without telling anything about it.
    fn id(&self) -> [u8; KEY_ID_BYTES] {
        let digest = Sha256::new()
            .chain_update(b"flowcell key-encryption key id")
            .chain_update(self.0.as_slice())
            .finalize();
        let mut id = [0; KEY_ID_BYTES];
        id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        id
    }

    /// The form of a tenant's data key that may be stored.
    pub(crate) fn wrap(&self, tenant: TenantId, key: &DataKey) -> Vec<u8> {
        let mut wrapped = vec![VERSION];
        wrapped.extend(self.id());
        wrapped.extend(encrypt(&self.0, &data_key_context(tenant), key.0.as_slice()));
        wrapped
    }

    /// The data key in a stored form.
    pub(crate) fn unwrap_key(
        &self,
        tenant: TenantId,
        wrapped: &[u8],
    ) -> Result<DataKey, Unopenable> {
        let rest = wrapped.strip_prefix(&[VERSION]).ok_or(Unopenable)?;
        let sealed = rest.strip_prefix(&self.id()).ok_or(Unopenable)?;
        let plain = decrypt(&self.0, &data_key_context(tenant), sealed)?;
        let bytes = <[u8; 32]>::try_from(plain.as_slice()).map_err(|_| Unopenable)?;
        Ok(DataKey(Zeroizing::new(bytes)))
    }
}

impl std::fmt::Debug for KeyEncryptionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyEncryptionKey(…)")
    }
}

impl DataKey {
    /// A new random key.
    pub(crate) fn generate() -> Self {
        Self(random())
    }

    /// The form of a value that may be stored at this place.
    pub(crate) fn seal(&self, tenant: TenantId, place: Place<'_>, value: &Secret) -> Vec<u8> {
        self.seal_bytes(tenant, place, value.expose().as_bytes())
    }

    /// The same for bytes that are no text.
    pub(crate) fn seal_bytes(&self, tenant: TenantId, place: Place<'_>, plain: &[u8]) -> Vec<u8> {
        let mut sealed = vec![VERSION];
        sealed.extend(encrypt(&self.0, &place.context(tenant), plain));
        sealed
    }

    /// The value in a stored form.
    pub(crate) fn open(
        &self,
        tenant: TenantId,
        place: Place<'_>,
        sealed: &[u8],
    ) -> Result<Secret, Unopenable> {
        let plain = self.open_bytes(tenant, place, sealed)?;
        std::str::from_utf8(&plain).map(Secret::new).map_err(|_| Unopenable)
    }

    /// The bytes in a stored form.
    pub(crate) fn open_bytes(
        &self,
        tenant: TenantId,
        place: Place<'_>,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Unopenable> {
        let rest = sealed.strip_prefix(&[VERSION]).ok_or(Unopenable)?;
        decrypt(&self.0, &place.context(tenant), rest)
    }
}

fn data_key_context(tenant: TenantId) -> Vec<u8> {
    [b"flowcell data key\0".as_slice(), tenant.uuid().as_bytes()].concat()
}

impl Place<'_> {
    /// Ids have a fixed length, so the parts cannot be shifted against each other.
    fn context(self, tenant: TenantId) -> Vec<u8> {
        let tenant = tenant.uuid();
        match self {
            Self::Variable(name) => {
                [b"flowcell variable\0".as_slice(), tenant.as_bytes(), name.as_bytes()].concat()
            }
            Self::OfRun(run, name) => {
                let (kind, run) = (b"flowcell run variable\0".as_slice(), run.uuid());
                [kind, tenant.as_bytes(), run.as_bytes(), name.as_bytes()].concat()
            }
            Self::Payload(sha256) => {
                [b"flowcell payload\0".as_slice(), tenant.as_bytes(), sha256].concat()
            }
        }
    }
}

fn random() -> Zeroizing<[u8; 32]> {
    let mut bytes = Zeroizing::new([0; 32]);
    rand::fill(bytes.as_mut_slice());
    bytes
}

fn encrypt(key: &[u8; 32], context: &[u8], plain: &[u8]) -> Vec<u8> {
    let mut nonce = [0; NONCE_BYTES];
    rand::fill(nonce.as_mut_slice());
    let cipher = XChaCha20Poly1305::new(&(*key).into());
    let sealed = cipher
        .encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: context })
        .expect("only a text of 256 GiB is too long to seal");
    let mut bytes = nonce.to_vec();
    bytes.extend(sealed);
    bytes
}

fn decrypt(
    key: &[u8; 32],
    context: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Unopenable> {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(Unopenable)?;
    let cipher = XChaCha20Poly1305::new(&(*key).into());
    cipher
        .decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: context })
        .map(Zeroizing::new)
        .map_err(|_| Unopenable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const A: Place<'_> = Place::Variable("A");

    fn tenant(n: u128) -> TenantId {
        TenantId(Uuid::from_u128(n))
    }

    #[test]
    fn a_value_opens_only_where_it_was_sealed() {
        let (key, value) = (DataKey::generate(), Secret::new("s3cret"));
        let sealed = key.seal(tenant(1), A, &value);
        assert_eq!(key.open(tenant(1), A, &sealed), Ok(value.clone()));
        assert_eq!(
            key.open(tenant(1), Place::Variable("B"), &sealed),
            Err(Unopenable),
            "another name"
        );
        assert_eq!(key.open(tenant(2), A, &sealed), Err(Unopenable), "another tenant");
        assert_eq!(DataKey::generate().open(tenant(1), A, &sealed), Err(Unopenable));
        let run = |n| Place::OfRun(RunId(Uuid::from_u128(n)), "A");
        assert_eq!(key.open(tenant(1), run(1), &sealed), Err(Unopenable), "a run");
        let of_run = key.seal(tenant(1), run(1), &value);
        assert_eq!(key.open(tenant(1), run(1), &of_run), Ok(value.clone()));
        assert_eq!(key.open(tenant(1), run(2), &of_run), Err(Unopenable), "another run");
        assert_eq!(key.open(tenant(1), A, &of_run), Err(Unopenable), "no run");
        assert_ne!(sealed, key.seal(tenant(1), A, &value), "a nonce is used once");
    }

    #[test]
    fn every_changed_byte_and_every_length_is_refused() {
        let key = DataKey::generate();
        let sealed = key.seal(tenant(1), A, &Secret::new("s3cret"));
        for position in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[position] ^= 1;
            assert_eq!(key.open(tenant(1), A, &changed), Err(Unopenable), "byte {position}");
            assert_eq!(key.open(tenant(1), A, &sealed[..position]), Err(Unopenable));
        }
    }

    #[test]
    fn a_data_key_opens_only_with_its_own_key_and_tenant() {
        let (kek, key) = (KeyEncryptionKey::generate(), DataKey::generate());
        let wrapped = kek.wrap(tenant(1), &key);
        assert_eq!(wrapped.len(), 1 + 8 + 24 + 48);
        assert!(kek.unwrap_key(tenant(1), &wrapped).is_ok_and(|opened| opened.0 == key.0));
        assert!(kek.unwrap_key(tenant(2), &wrapped).is_err());
        assert!(KeyEncryptionKey::generate().unwrap_key(tenant(1), &wrapped).is_err());
        assert!(kek.unwrap_key(tenant(1), &[]).is_err());
    }

    #[test]
    fn nothing_secret_is_printed() {
        assert_eq!(format!("{:?}", Secret::new("s3cret")), "Secret(…)");
        let kek = KeyEncryptionKey::from_bytes([7; 32]);
        assert_eq!(format!("{kek:?}"), "KeyEncryptionKey(…)");
    }
}
