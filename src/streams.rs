//! Snapshots as streams of bytes, between stores or by way of a file. `docs/stream-format.md`.

use blockdev::lsm_store::codec::Codec;

use crate::root_digest::Root;

/// How a snapshot is received.
///
/// ```
/// let _codec = siltstone::ReceiveOptions::new().codec("zstd:9".parse()?).force(true);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ReceiveOptions {
    pub(crate) codec: Option<Codec>,
    pub(crate) force: bool,
}

impl ReceiveOptions {
    /// Loses nothing, and compresses as [`VolumeOptions`](crate::VolumeOptions) does.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How blocks of a new volume are compressed that come not compressed yet, and those written later.
    #[must_use]
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = Some(codec);
        self
    }

    /// What the volume holds may be lost where it was changed since the snapshot that the stream goes on from.
    #[must_use]
    pub fn force(mut self, force: bool) -> Self {
        self.force = force;
        self
    }
}

/// What was sent.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Sent {
    /// The snapshot's size in bytes.
    pub size_bytes: u64,
    /// Bytes of blocks that were sent, before compression.
    pub data_bytes: u64,
    /// Bytes of blocks that were offered and that the receiver had; 0 if it was not asked.
    pub had_bytes: u64,
    /// Bytes of the stream.
    pub stream_bytes: u64,
    /// What the snapshot holds.
    pub root: Root,
}

/// A snapshot that is coming by [`Store::accept`](crate::Store::accept), or was broken off.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ReceptionInfo {
    /// The volume that it is for.
    pub name: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// When it began, or was resumed last, in milliseconds since the Unix epoch.
    pub began_ms: u64,
    /// When it goes unless it is resumed.
    pub expires_ms: u64,
}

/// What was received.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Received {
    /// The snapshot, `VOLUME@NAME`. The volume holds the same.
    pub name: String,
    /// Its id.
    pub id: u64,
    /// The snapshot that the stream went on from, `VOLUME@NAME`; `None` if it brought everything.
    pub base: Option<String>,
    /// The snapshot's size in bytes.
    pub size_bytes: u64,
    /// Bytes of blocks that came, before compression.
    pub data_bytes: u64,
    /// Bytes of blocks that were offered and that the store had; 0 if nothing was offered.
    pub had_bytes: u64,
    /// What the snapshot holds: computed from what is stored, and the same as the sender's.
    pub root: Root,
}
