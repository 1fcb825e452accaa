//! Names of objects: text that may look like a path. Nothing in the store is a file of that name.

use std::fmt;
use std::str::FromStr;

use super::InvalidName;

/// Most bytes of an object's name.
pub const OBJECT_NAME_BYTES_MAX: usize = 255;

/// A valid object name: 1 to 255 bytes of UTF-8 without control characters that do not start with `/`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct ObjectName(String);

impl ObjectName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ObjectName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let is_valid = (1..=OBJECT_NAME_BYTES_MAX).contains(&text.len())
            && !text.starts_with('/')
            && !text.chars().any(char::is_control);
        if is_valid { Ok(Self(text.to_owned())) } else { Err(InvalidName::Object) }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests;
