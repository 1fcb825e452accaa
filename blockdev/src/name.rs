//! Names: of a volume `[a-z0-9][a-z0-9._-]{0,62}`, of a snapshot `VOLUME@NAME`, where NAME has the same grammar.
//!
//! A volume's name never becomes part of a path in the store; the narrow alphabet is for URIs, shells, logs and
//! orchestrators. An object's name is freer ([`ObjectName`]).

mod object;

use std::fmt;
use std::str::FromStr;

pub use object::{OBJECT_NAME_BYTES_MAX, ObjectName};

/// Most characters of a volume's name.
pub const NAME_BYTES_MAX: usize = 63;

/// A valid volume name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct VolumeName(String);

/// A snapshot's name: `VOLUME@NAME`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct SnapshotName {
    /// The volume it is of.
    pub volume: VolumeName,
    /// Its name among the snapshots of this volume.
    pub snapshot: VolumeName,
}

/// The name of what can be read: a volume or a snapshot. Frontends export under it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum ExportName {
    /// A volume.
    Volume(VolumeName),
    /// A snapshot of one.
    Snapshot(SnapshotName),
}

/// What is wrong with a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidName {
    /// It breaks the grammar.
    #[error("a name is 1 to 63 of a-z, 0-9, '.', '_' and '-', and starts with a letter or digit")]
    Grammar,
    /// It is a snapshot's, where a volume is asked for.
    #[error("this names a snapshot, which never changes: only a volume will do here")]
    Snapshot,
    /// It is not a snapshot's, where one is asked for.
    #[error("a snapshot is named VOLUME@NAME")]
    NotASnapshot,
    /// It cannot be an object's.
    #[error("an object's name is 1 to 255 bytes of UTF-8 without control characters, and does not start with '/'")]
    Object,
}

impl VolumeName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ExportName {
    /// The volume, or the one that the snapshot is of.
    #[must_use]
    pub fn volume(&self) -> &VolumeName {
        match self {
            Self::Volume(name) => name,
            Self::Snapshot(name) => &name.volume,
        }
    }

    /// What the name is one of: "volume" or "snapshot".
    #[must_use]
    pub fn noun(&self) -> &'static str {
        match self {
            Self::Volume(_) => "volume",
            Self::Snapshot(_) => "snapshot",
        }
    }
}

impl FromStr for VolumeName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        match text.split_once('@') {
            None if is_name(text) => Ok(Self(text.to_owned())),
            Some((volume, snapshot)) if is_name(volume) && is_name(snapshot) => Err(InvalidName::Snapshot),
            _ => Err(InvalidName::Grammar),
        }
    }
}

impl FromStr for SnapshotName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let (volume, snapshot) = text.split_once('@').ok_or(InvalidName::NotASnapshot)?;
        if is_name(volume) && is_name(snapshot) {
            Ok(Self { volume: VolumeName(volume.to_owned()), snapshot: VolumeName(snapshot.to_owned()) })
        } else {
            Err(InvalidName::Grammar)
        }
    }
}

impl FromStr for ExportName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        match text.parse() {
            Ok(volume) => Ok(Self::Volume(volume)),
            Err(InvalidName::Snapshot) => text.parse().map(Self::Snapshot),
            Err(error) => Err(error),
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

impl fmt::Display for VolumeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for SnapshotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.volume, self.snapshot)
    }
}

impl fmt::Display for ExportName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Volume(name) => name.fmt(f),
            Self::Snapshot(name) => name.fmt(f),
        }
    }
}

impl From<VolumeName> for ExportName {
    fn from(name: VolumeName) -> Self {
        Self::Volume(name)
    }
}

impl From<SnapshotName> for ExportName {
    fn from(name: SnapshotName) -> Self {
        Self::Snapshot(name)
    }
}

impl AsRef<str> for VolumeName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests;
