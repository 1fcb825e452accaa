//! What a [`Store`](crate::Store) stands on: an engine in this process, or the daemon that has the store.
//!
//! The rest of the library knows only this trait, so that its users cannot tell which it is.

#[cfg(feature = "connect")]
pub(crate) mod connected;
pub(crate) mod embedded;
mod other;
mod pieces;

use std::io::{self, Read};
use std::ops::Range;

use blockdev::export::{StatusExtent, Write, Zeroing};
use blockdev::lsm_store::fingerprint::Fingerprint;
use blockdev::lsm_store::request::BlockIdentity;
use blockdev::name::{ExportName, ObjectName, SnapshotName, VolumeName};
use blockdev::node::{Shrink, SnapshotLoss};

use crate::byte_range::ByteRange;
use crate::error::Caused;
use crate::objects::{ObjectInfo, ObjectOptions, Upload, UploadInfo};
use crate::progress::Watch;
use crate::root_digest::Root;
use crate::scrub::{ScrubStatus, Verified};
use crate::snapshot::SnapshotInfo;
use crate::space::{Collected, Space, Usage};
use crate::streams::{ReceiveOptions, Received, ReceptionInfo, Sent};
use crate::volume::{VolumeInfo, VolumeOptions};
pub(crate) use other::Other;
pub(crate) use pieces::{PIECE_BYTES, read_piece};

/// Blocks whose fingerprints are asked for together.
pub(crate) const FINGERPRINTS_MAX: u64 = 4096;

/// Extents in one page of an answer.
pub(crate) const PAGE_EXTENTS_MAX: usize = 8192;

/// A store with names.
pub(crate) trait Backend: Objects + Streams + Send + Sync {
    fn is_read_only(&self) -> bool;
    fn close(&self) -> Caused<()>;

    fn volumes(&self) -> Caused<Vec<VolumeInfo>>;
    fn volume(&self, name: &VolumeName) -> Caused<VolumeInfo>;
    fn create_volume(&self, name: &VolumeName, options: &VolumeOptions) -> Caused<VolumeInfo>;
    fn resize_volume(&self, name: &VolumeName, size_bytes: u64, shrink: Shrink) -> Caused<VolumeInfo>;
    fn remove_volume(&self, name: &VolumeName, loss: SnapshotLoss) -> Caused<()>;
    fn clone_volume(&self, of: &ExportName, name: &VolumeName) -> Caused<VolumeInfo>;

    fn snapshots(&self, of: Option<&VolumeName>) -> Caused<Vec<SnapshotInfo>>;
    fn snapshot(&self, name: &SnapshotName) -> Caused<SnapshotInfo>;
    fn create_snapshots(&self, names: &[SnapshotName]) -> Caused<Vec<SnapshotInfo>>;
    fn rename_snapshot(&self, name: &SnapshotName, to: &VolumeName) -> Caused<SnapshotInfo>;
    fn remove_snapshot(&self, name: &SnapshotName) -> Caused<()>;
    fn roll_back(&self, to: &SnapshotName) -> Caused<VolumeInfo>;

    /// Opens what can be read under a name; it stays until this is dropped.
    fn open(&self, name: &ExportName) -> Caused<Box<dyn Data>>;
    /// Where `to` differs from `from`; both are open.
    fn changes(&self, from: &ExportName, to: &ExportName) -> Caused<Box<dyn Differences>>;

    fn space(&self) -> Caused<Space>;
    fn usage(&self, watch: Watch<'_>) -> Caused<Usage>;
    fn collect(&self, now: bool) -> Caused<Collected>;
    fn start_scrub(&self) -> Caused<()>;
    fn scrub_status(&self) -> Caused<ScrubStatus>;
    fn verify(&self, name: &ExportName, watch: Watch<'_>) -> Caused<Verified>;
}

/// The objects of a store.
pub(crate) trait Objects {
    fn object(&self, name: &ObjectName) -> Caused<ObjectInfo>;
    /// Those whose names begin with `prefix`, by name, from behind `after` on.
    fn objects(&self, prefix: &str, after: Option<&ObjectName>) -> Caused<ObjectPage>;
    fn remove_object(&self, name: &ObjectName) -> Caused<()>;
    fn open_object(&self, name: &ObjectName, range: ByteRange) -> Caused<OpenedObject>;
    /// Makes an object of what is there up to `offset` and of `content`, which follows.
    fn put_object(
        &self,
        name: &ObjectName,
        options: &ObjectOptions,
        offset: u64,
        content: &mut dyn Read,
        watch: Watch<'_>,
    ) -> Caused<ObjectInfo>;

    fn find_upload(&self, name: &ObjectName, options: &ObjectOptions) -> Caused<Upload>;
    fn uploads(&self) -> Caused<Vec<UploadInfo>>;
    fn remove_upload(&self, name: &ObjectName) -> Caused<()>;
}

/// Some objects, and the name behind which there are more.
pub(crate) type ObjectPage = (Vec<ObjectInfo>, Option<ObjectName>);

/// An object to read.
pub(crate) struct OpenedObject {
    pub(crate) info: ObjectInfo,
    /// The part of it that comes.
    pub(crate) range: Range<u64>,
    pub(crate) pieces: Box<dyn Pieces>,
}

/// What is left to come of an object.
pub(crate) trait Pieces: Send {
    /// The next piece, of about 1 MiB at most and never empty; `None` at the end.
    fn next_piece(&mut self) -> Caused<Option<Vec<u8>>>;
}

/// Snapshots as streams, and what proves them.
pub(crate) trait Streams {
    fn root(&self, name: &ExportName, watch: Watch<'_>) -> Caused<Root>;
    fn send(
        &self,
        name: &SnapshotName,
        base: Option<&SnapshotName>,
        to: &mut dyn io::Write,
        watch: Watch<'_>,
    ) -> Caused<Sent>;
    fn receive(
        &self,
        name: &VolumeName,
        options: &ReceiveOptions,
        from: &mut dyn Read,
        watch: Watch<'_>,
    ) -> Caused<Received>;
    /// As `send`, to a receiver that is heard.
    fn offer(
        &self,
        name: &SnapshotName,
        base: Option<&SnapshotName>,
        other: &mut Other<'_>,
        watch: Watch<'_>,
    ) -> Caused<Sent>;
    /// As `receive`, from a sender that listens.
    fn accept(
        &self,
        name: &VolumeName,
        options: &ReceiveOptions,
        other: &mut Other<'_>,
        watch: Watch<'_>,
    ) -> Caused<Received>;
    fn receptions(&self) -> Caused<Vec<ReceptionInfo>>;
    fn remove_reception(&self, name: &VolumeName) -> Caused<()>;
}

/// The content of a volume or snapshot. Ranges are within its size.
pub(crate) trait Data: Send + Sync {
    /// Size in bytes when it was opened.
    fn size_bytes(&self) -> u64;
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Caused<()>;
    fn write_at(&self, offset: u64, data: &[u8]) -> Caused<()>;
    fn zero(&self, offset: u64, len: u64, zeroing: Zeroing) -> Caused<()>;
    fn flush(&self) -> Caused<()>;
    /// The states of a range that is not empty, from its start and perhaps not to its end.
    fn states(&self, offset: u64, len: u64) -> Caused<Vec<StatusExtent>>;
    /// What blocks of a range that is not empty hold, from its start and perhaps not to its end.
    fn fingerprints(&self, first_block: u64, block_count: u64) -> Caused<Vec<BlockIdentity>>;
    /// What each block of these ranges of blocks holds, `None` for zeros; at most `FINGERPRINTS_MAX` of them, by place.
    fn fingerprints_of(&self, ranges: &[Range<u64>]) -> Caused<Vec<Option<Fingerprint>>> {
        let mut found = Vec::new();
        for range in ranges {
            let mut at = range.start;
            while at < range.end {
                for identity in self.fingerprints(at, range.end - at)? {
                    at += identity.block_count();
                    match identity {
                        BlockIdentity::Data(fingerprint) => found.push(Some(fingerprint)),
                        BlockIdentity::Zeros(count) => found.extend((0..count).map(|_| None)),
                    }
                }
            }
        }
        Ok(found)
    }
    /// The bytes of several ranges, of `PIECE_BYTES` at most each.
    fn read_many(&self, ranges: &[Range<u64>]) -> Caused<Vec<Vec<u8>>> {
        let read = |range: &Range<u64>| {
            let mut data = vec![0; (range.end - range.start) as usize];
            self.read_at(range.start, &mut data).map(|()| data)
        };
        ranges.iter().map(read).collect()
    }
    /// Writes at several places; what of it was written is unknown after an error.
    fn write_many(&self, writes: &[Write<'_>]) -> Caused<()> {
        writes.iter().try_for_each(|write| self.write_at(write.offset, write.data))
    }
    /// Gives adjacent blocks, `STORED_BLOCKS_MAX` at most, the content with these fingerprints, as far as the store is known to
    /// have it; which of them that were. The others stay as they are.
    fn write_known(&self, first_block: u64, fingerprints: &[Fingerprint]) -> Caused<Vec<bool>>;
}

/// Where two volumes or snapshots differ.
pub(crate) trait Differences: Send {
    /// The ranges in `[from, to)` that differ, by offset, up to where all is said: a page of them.
    fn page(&mut self, from: u64, to: u64) -> Caused<(Vec<Range<u64>>, u64)>;
}
