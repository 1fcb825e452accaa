//! Names of volumes: `[a-z0-9][a-z0-9._-]{0,62}`.
//!
//! A name never becomes part of a path in the store; the narrow alphabet is for URIs, shells, logs and orchestrators.

use std::fmt;
use std::str::FromStr;

/// Most characters of a name.
pub const NAME_BYTES_MAX: usize = 63;

/// A valid volume name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct VolumeName(String);

/// What is wrong with a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a volume name is 1 to 63 of a-z, 0-9, '.', '_' and '-', and starts with a letter or digit")]
pub struct InvalidName;

impl VolumeName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for VolumeName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let (&first, rest) = text.as_bytes().split_first().ok_or(InvalidName)?;
        let valid = alphanumeric(first)
            && rest.len() < NAME_BYTES_MAX
            && rest.iter().all(|&byte| alphanumeric(byte) || b"._-".contains(&byte));
        if valid { Ok(Self(text.to_owned())) } else { Err(InvalidName) }
    }
}

impl fmt::Display for VolumeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl AsRef<str> for VolumeName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests;
