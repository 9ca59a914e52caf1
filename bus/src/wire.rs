//! Messages as JSON, with errors that name the subject.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;

/// The message as bytes.
///
/// # Errors
/// [`Error::Encode`] when the value has no JSON form.
pub fn encode<T: Serialize>(subject: &str, value: &T) -> Result<Bytes, Error> {
    match serde_json::to_vec(value) {
        Ok(bytes) => Ok(Bytes::from(bytes)),
        Err(source) => Err(Error::Encode { subject: subject.to_owned(), source }),
    }
}

/// The message in these bytes.
///
/// # Errors
/// [`Error::Decode`] when the bytes are something else.
pub fn decode<T: DeserializeOwned>(subject: &str, bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes)
        .map_err(|source| Error::Decode { subject: subject.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_subject() {
        let bytes = encode("fc.runs", &vec![1, 2]).unwrap();
        assert_eq!(decode::<Vec<u32>>("fc.runs", &bytes).unwrap(), [1, 2]);
        let error = decode::<String>("fc.runs", &bytes).unwrap_err();
        assert!(error.to_string().contains("fc.runs"), "{error}");
    }
}
