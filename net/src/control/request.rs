//! What a tool can ask of a node. Requests and fields are only ever added, new fields with a default.

use serde::{Deserialize, Serialize};

/// A request; `verb` says which in JSON.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Request {
    /// Health, space and memory of the node. Answer: `Status`.
    Status,
    /// All volumes. Answer: `Volumes`.
    List,
    /// One volume. Answer: `Volume`.
    Info {
        /// The volume.
        name: String,
    },
    /// Makes a volume. Answer: `Volume`.
    Create(CreateVolume),
    /// Changes a volume's size. Answer: `Volume`.
    Resize(ResizeVolume),
    /// Removes a volume and its content. Answer: `Done`.
    Remove {
        /// The volume.
        name: String,
    },
    /// Space by volume. Answer: `Usage`.
    Usage {
        /// The volumes to report; all if empty.
        #[serde(default)]
        names: Vec<String>,
    },
    /// Where a volume can be reached by NBD. Answer: `Uris`.
    Uris {
        /// The volume.
        name: String,
    },
    /// I/O counters of all volumes since the node started. Answer: `Counters`.
    Counters,
    /// Allocates the store's space ahead, or lets it grow on demand. Answer: `Done`.
    SetCapacity {
        /// Bytes to allocate; `None` to grow on demand.
        capacity_bytes: Option<u64>,
    },
    /// Makes a volume from content that follows. Answer: `Transferred`.
    Import(ImportVolume),
    /// Gives a volume's content. Answer: `Transferred`, after the content.
    Export {
        /// The volume.
        name: String,
    },
    /// A request of a newer version.
    #[serde(other)]
    Unknown,
}

impl Request {
    /// True if the asker sends content after the request.
    #[must_use]
    pub fn uploads(&self) -> bool {
        matches!(self, Self::Import(_))
    }
}

/// A volume to make.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CreateVolume {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// How its blocks are compressed: `lz4`, `zstd[:LEVEL]` or `none`; the node's default if absent.
    #[serde(default)]
    pub codec: Option<String>,
    /// An existing volume of the same size is a success.
    #[serde(default)]
    pub reuse: bool,
}

/// A volume's new size.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ResizeVolume {
    /// The volume.
    pub name: String,
    /// Its new size in bytes.
    pub size_bytes: u64,
    /// What lies beyond the new size may be lost.
    #[serde(default)]
    pub allow_shrink: bool,
}

/// A volume to make from content.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ImportVolume {
    /// Its name.
    pub name: String,
    /// The content's size in bytes, if known ahead.
    #[serde(default)]
    pub size_bytes: Option<u64>,
    /// As in [`CreateVolume::codec`].
    #[serde(default)]
    pub codec: Option<String>,
    /// Keeps what has come if the import fails.
    #[serde(default)]
    pub keep_partial: bool,
}
