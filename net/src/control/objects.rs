//! What tools and nodes say of objects.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// An object to make from content.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PutObject {
    /// Its name.
    pub name: String,
    /// It lies as it is, in blocks that it shares with volumes, and is not cut where its content says.
    #[serde(default)]
    pub fixed: bool,
    /// How it is compressed: `lz4`, `zstd[:LEVEL]` or `none`; zstd if absent.
    #[serde(default)]
    pub codec: Option<String>,
    /// What is said of it.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// Seconds after which it goes by itself; never if absent.
    #[serde(default)]
    pub keep_s: Option<u64>,
    /// It may take the place of an object of its name.
    #[serde(default)]
    pub replace: bool,
    /// If it is broken off it is kept for a while; what was broken off before is gone on with.
    #[serde(default)]
    pub resume: bool,
    /// Where the content that follows begins: what `FindUpload` answered, else 0.
    #[serde(default)]
    pub offset: u64,
}

/// An object.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ObjectDescription {
    /// Its name.
    pub name: String,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// When it was complete, RFC 3339.
    pub created: String,
    /// When it goes by itself, RFC 3339; absent if never.
    #[serde(default)]
    pub expires: Option<String>,
    /// How it was cut: `fixed`, or the name of a chunker.
    pub chunker: String,
    /// How it was compressed when it came.
    pub codec: String,
    /// What is said of it.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

/// Some objects, by name.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Objects {
    /// The objects.
    pub objects: Vec<ObjectDescription>,
    /// There are more behind this name; absent on the last page.
    #[serde(default)]
    pub next: Option<String>,
}

/// An object that is not complete.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct UploadDescription {
    /// The name that it will have.
    pub name: String,
    /// When it began, or was resumed last, RFC 3339.
    pub began: String,
    /// When it goes unless it is resumed, RFC 3339; absent if it goes as soon as it is broken off.
    #[serde(default)]
    pub expires: Option<String>,
}

/// Where an upload goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Upload {
    /// Bytes of the content that are there.
    pub offset: u64,
}
