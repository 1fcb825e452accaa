//! What a user says of an object: a few small keys with values.

use std::collections::BTreeMap;

/// Keys at most.
const KEYS_MAX: usize = 64;
/// Bytes of a key at most.
const KEY_BYTES_MAX: usize = 128;
/// Bytes of a value at most.
const VALUE_BYTES_MAX: usize = 1024;

/// Bytes of all keys and values at most: they are in memory and in the manifest.
pub const METADATA_BYTES_MAX: usize = 8192;

/// Keys and values of text, within bounds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Metadata(BTreeMap<String, String>);

/// What is wrong with metadata.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMetadata {
    /// A key cannot be one.
    #[error("a key is 1 to 128 bytes without control characters and '='")]
    Key,
    /// A value cannot be one.
    #[error("the value of {0} must have at most 1024 bytes and no control characters")]
    Value(String),
    /// It is too much.
    #[error("an object has at most 64 keys, which have 8192 bytes with their values")]
    TooMuch,
}

impl Metadata {
    /// Checks that it is within bounds.
    ///
    /// # Errors
    /// [`InvalidMetadata`].
    pub fn new(pairs: BTreeMap<String, String>) -> Result<Self, InvalidMetadata> {
        for (key, value) in &pairs {
            if !is_key(key) {
                return Err(InvalidMetadata::Key);
            }
            if value.len() > VALUE_BYTES_MAX || value.chars().any(char::is_control) {
                return Err(InvalidMetadata::Value(key.clone()));
            }
        }
        let bytes: usize = pairs.iter().map(|(key, value)| key.len() + value.len()).sum();
        if pairs.len() > KEYS_MAX || bytes > METADATA_BYTES_MAX {
            return Err(InvalidMetadata::TooMuch);
        }
        Ok(Self(pairs))
    }

    /// The keys and values, by key.
    #[must_use]
    pub fn pairs(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// Appends its record's part: for each pair, by key, the length of the key (1 byte), of the value (2 bytes), both.
    pub(crate) fn encode(&self, record: &mut Vec<u8>) {
        for (key, value) in &self.0 {
            record.push(key.len() as u8);
            record.extend_from_slice(&(value.len() as u16).to_le_bytes());
            record.extend_from_slice(key.as_bytes());
            record.extend_from_slice(value.as_bytes());
        }
    }

    /// Reads what [`Metadata::encode`] wrote; `None` if it is not that.
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let mut pairs = BTreeMap::new();
        while let Some((&[key_len, low, high], rest)) = bytes.split_first_chunk() {
            let (key, rest) = rest.split_at_checked(usize::from(key_len))?;
            let (value, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes([low, high])))?;
            let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
            let key = text(key)?;
            let is_next = pairs.last_key_value().is_none_or(|(last, _)| *last < key);
            pairs.insert(key, text(value)?).is_none().then_some(())?;
            is_next.then_some(())?;
            bytes = rest;
        }
        if bytes.is_empty() { Self::new(pairs).ok() } else { None }
    }
}

fn is_key(text: &str) -> bool {
    (1..=KEY_BYTES_MAX).contains(&text.len()) && !text.chars().any(|c| c == '=' || c.is_control())
}

#[cfg(test)]
mod tests;
