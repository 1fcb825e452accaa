//! What a volume or snapshot holds, as one digest.

use std::fmt;
use std::str::FromStr;

use blockdev::root;

use crate::error::{Cause, Error};

/// All that a volume or snapshot holds, as one digest over its size and the fingerprint of every block: two have one root only
/// if they hold the same, in whatever store and however they came there. `silt verify` computes it of a raw image too.
///
/// Its text is that of `silt verify`, and parses back.
///
/// ```
/// let text = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
/// let root: siltstone::Root = text.parse()?;
/// assert_eq!((root.to_string().as_str(), root.domain(), root.digest()[0]), (text, 0, 0xaf));
/// # Ok::<(), siltstone::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Root(pub(crate) root::Root);

impl Root {
    /// The dedupe domain whose fingerprints it is made of: roots of different domains cannot be compared.
    #[must_use]
    pub fn domain(&self) -> u32 {
        self.0.domain
    }

    /// The digest.
    #[must_use]
    pub fn digest(&self) -> &[u8; 32] {
        &self.0.digest
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Root {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Ok(Self(text.parse().map_err(Cause::Root)?))
    }
}
