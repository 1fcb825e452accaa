//! Who a client is, and who may open a volume.
//!
//! A volume without a list is for everybody whom the listener lets in. A list is for the network: who comes by a local
//! socket has passed its permissions and opens what is there.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

#[cfg(test)]
mod tests;

/// Bytes of one name.
pub const NAME_BYTES_MAX: usize = 255;

/// Names in one list.
pub const NAMES_MAX: usize = 64;

/// A client, as far as it proved who it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Principal {
    /// It came by a local socket.
    Local,
    /// It came by the network and proved nothing.
    Anonymous,
    /// It came by the network with a certificate of these names, of an authority that the listener trusts.
    Certified(Vec<String>),
}

/// The names of those who may open a volume; everybody if there are none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AllowList(BTreeSet<String>);

/// What is wrong with a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidAllowList {
    /// A name that no certificate can have, or that cannot be told from two.
    #[error("a name in a list is 1 to 255 bytes without commas, control characters, or spaces at its ends")]
    Name,
    /// Too many names.
    #[error("a list has at most 64 names: give those who belong together one certificate name")]
    TooLong,
}

impl AllowList {
    /// The list of `names`; none of them is for everybody.
    ///
    /// # Errors
    /// [`InvalidAllowList`]: correct the names.
    pub fn new<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Result<Self, InvalidAllowList> {
        let names: BTreeSet<String> = names.into_iter().map(Into::into).collect();
        if !names.iter().all(|name| is_name(name)) {
            return Err(InvalidAllowList::Name);
        }
        if names.len() > NAMES_MAX { Err(InvalidAllowList::TooLong) } else { Ok(Self(names)) }
    }

    /// True if everybody may.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names, sorted.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// True if `client` may open the volume.
    #[must_use]
    pub fn admits(&self, client: &Principal) -> bool {
        match client {
            Principal::Local => true,
            Principal::Anonymous => self.is_empty(),
            Principal::Certified(names) => self.is_empty() || names.iter().any(|name| self.0.contains(name)),
        }
    }
}

/// True if a list can hold `name`.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let fits = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.trim() == name;
    fits && !name.contains(|c: char| c == ',' || c.is_control())
}

impl FromStr for AllowList {
    type Err = InvalidAllowList;

    /// Names joined by commas; nothing is for everybody.
    fn from_str(text: &str) -> Result<Self, InvalidAllowList> {
        if text.is_empty() { Ok(Self::default()) } else { Self::new(text.split(',')) }
    }
}

impl fmt::Display for AllowList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().collect::<Vec<_>>().join(","))
    }
}
