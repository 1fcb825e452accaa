//! Names and other text in the configuration. What is committed has been checked, and what is read is checked again.

use std::fmt;
use std::str::FromStr;

use rkyv::rancor::{Fallible, Source, fail};
use rkyv::string::{ArchivedString, StringResolver};
use rkyv::{Archive, Deserialize, Place, Serialize, SerializeUnsized};

/// Most characters of a name.
pub const NAME_BYTES_MAX: usize = 63;

/// Most bytes of a text.
pub const TEXT_BYTES_MAX: usize = 1024;

/// Most bytes of a name in a certificate.
pub const IDENTITY_BYTES_MAX: usize = 255;

/// The name of a node, volume, snapshot or setting: `[a-z0-9][a-z0-9._-]{0,62}`, as a volume's on a single node.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Name(String);

/// Printable ASCII of at most [`TEXT_BYTES_MAX`] bytes, whose meaning is somebody else's: an address, a zone, a schedule,
/// a codec, the value of a setting.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Default)]
pub struct Text(String);

/// A name in the certificate of a client that may open a volume: 1 to [`IDENTITY_BYTES_MAX`] bytes without commas, control
/// characters, or spaces at its ends.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Identity(String);

/// What is wrong with a name or text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidText {
    /// It is no name.
    #[error("a name is 1 to {NAME_BYTES_MAX} of a-z, 0-9, '.', '_' and '-', and starts with a letter or digit")]
    Name,
    /// It is no text.
    #[error("a text is at most {TEXT_BYTES_MAX} printable ASCII characters")]
    Text,
    /// It is no name that a certificate has.
    #[error(
        "a name in a certificate is 1 to {IDENTITY_BYTES_MAX} bytes without commas, control characters, or spaces at its ends"
    )]
    Identity,
}

impl FromStr for Name {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        if is_name(text) { Ok(Self(text.to_owned())) } else { Err(InvalidText::Name) }
    }
}

impl FromStr for Text {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let is_printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if is_printable && text.len() <= TEXT_BYTES_MAX { Ok(Self(text.to_owned())) } else { Err(InvalidText::Text) }
    }
}

impl FromStr for Identity {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let fits = (1..=IDENTITY_BYTES_MAX).contains(&text.len()) && text.trim() == text;
        if fits && !text.contains(|c: char| c == ',' || c.is_control()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidText::Identity)
        }
    }
}

fn is_name(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let Some((&first, rest)) = text.as_bytes().split_first() else { return false };
    alphanumeric(first)
        && rest.len() < NAME_BYTES_MAX
        && rest.iter().all(|&byte| alphanumeric(byte) || b"._-".contains(&byte))
}

/// All are stored as strings, and only what follows the grammar comes out again.
macro_rules! checked_string {
    ($name:ident) => {
        impl $name {
            /// The characters.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl Archive for $name {
            type Archived = ArchivedString;
            type Resolver = StringResolver;

            fn resolve(&self, resolver: Self::Resolver, out: Place<Self::Archived>) {
                ArchivedString::resolve_from_str(&self.0, resolver, out);
            }
        }

        impl<S: Fallible + ?Sized> Serialize<S> for $name
        where
            S::Error: Source,
            str: SerializeUnsized<S>,
        {
            fn serialize(&self, serializer: &mut S) -> Result<Self::Resolver, S::Error> {
                ArchivedString::serialize_from_str(&self.0, serializer)
            }
        }

        impl<D: Fallible + ?Sized> Deserialize<$name, D> for ArchivedString
        where
            D::Error: Source,
        {
            fn deserialize(&self, _: &mut D) -> Result<$name, D::Error> {
                match self.as_str().parse() {
                    Ok(text) => Ok(text),
                    Err(error) => fail!(error),
                }
            }
        }
    };
}

checked_string!(Name);
checked_string!(Text);
checked_string!(Identity);

#[cfg(test)]
mod tests;
