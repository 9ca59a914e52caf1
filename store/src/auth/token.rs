//! Random tokens: shown once, stored as a hash.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::secret::Secret;

/// Characters by which a stored key is found and recognised: `sk-` and 8 of the 43.
const PREFIX_CHARS: usize = 11;

/// A token of 256 random bits.
pub(crate) struct NewToken {
    pub(crate) secret: Secret,
    pub(crate) prefix: String,
    /// Plain SHA-256 suffices: unlike a password, the token cannot be guessed.
    pub(crate) hash: Vec<u8>,
}

impl NewToken {
    /// `<kind>` and 43 characters that need no escaping anywhere.
    pub(crate) fn generate(kind: &str) -> Self {
        let mut bytes = Zeroizing::new([0u8; 32]);
        rand::fill(bytes.as_mut_slice());
        let text = format!("{kind}{}", URL_SAFE_NO_PAD.encode(bytes.as_slice()));
        let (prefix, hash) = (prefix_of(&text).to_owned(), hash_token(&text));
        Self { secret: Secret::from(text), prefix, hash }
    }
}

/// What is stored of a token.
pub(crate) fn hash_token(token: &str) -> Vec<u8> {
    Sha256::digest(token).to_vec()
}

/// By which its row is found.
pub(crate) fn prefix_of(token: &str) -> &str {
    token.get(..PREFIX_CHARS).unwrap_or(token)
}
