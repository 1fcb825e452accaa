//! One change of the store's durable state, and its stored form.
//!
//! The stored form is frozen: what a tag of `EditV2` means and the types in it never change. A new kind of edit is a new
//! tag at the end with a new commit version. Version 2 has added the tags from `AddLayer` on; the others have the bytes
//! they had, so one type reads both.

use std::time::Duration;

use rkyv::rancor;

use crate::codec::{Codec, ZstdLevel};
use crate::error::{Error, Result};
use crate::id::{BlockIndex, Epoch, FamilyId, Generation, LayerId, Lsn, RunId, SegmentId, Sequence, VolumeId};
use crate::map::{Key, RunMeta};
use crate::segment::{Class, Geometry, Identity, SegmentSummary};

/// The newest version of commit bodies that this program reads.
const EDIT_VERSION: u16 = 3;

/// The version of a commit body with these edits: the oldest that has them, so that a program which knows no segments of
/// class 3 goes on with a store that has none, and refuses one that has.
pub(super) fn version_of(edits: &[Edit]) -> u16 {
    let is_cold = |edit: &Edit| matches!(edit, Edit::AddSegment(segment) if segment.identity.class == Class::Cold);
    if edits.iter().any(is_cold) { 3 } else { 2 }
}

/// What the manifest keeps of a volume.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VolumeRecord {
    /// Size in bytes.
    pub size_bytes: u64,
    /// How new blocks are compressed.
    pub codec: Codec,
    /// The layer that takes its writes.
    pub layer: LayerId,
    /// The last LSN known to be in runs; the journal may hold later ones.
    pub lsn: Lsn,
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// It is a snapshot of this volume, which may be gone: nothing writes to its layer.
    pub snapshot_of: Option<VolumeId>,
}

/// Where replay of the journal starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct JournalStart {
    /// First generation to replay.
    pub tail: Generation,
    /// Sequence of its first record.
    pub first: Sequence,
    /// Which opening of the store wrote it; files of another opening are leftovers.
    pub incarnation: u64,
    /// The generation exists; `false` after a clean stop, which leaves no journal.
    pub exists: bool,
}

/// One change of the store's durable state.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Edit {
    /// Adds a volume, or replaces what is known of it.
    SetVolume(VolumeId, VolumeRecord),
    /// Removes a volume.
    RemoveVolume(VolumeId),
    /// Sets or (with `None`) removes a catalog record.
    SetRecord(Vec<u8>, Option<Vec<u8>>),
    /// Adds a sealed segment.
    AddSegment(SegmentSummary),
    /// Removes a segment.
    RemoveSegment(SegmentId),
    /// Adds a finished run.
    AddRun(RunMeta),
    /// Removes a run.
    RemoveRun(RunId),
    /// From where the journal is needed.
    SetJournal(JournalStart),
    /// Ids below these may be in use; the next opening starts from here.
    ReserveIds {
        /// Segments.
        segment: SegmentId,
        /// Runs.
        run: RunId,
        /// Volumes.
        volume: VolumeId,
        /// Layers.
        layer: LayerId,
    },
    /// Space to hold for the store, in bytes; `None` lets it grow on demand.
    SetCapacity(Option<u64>),
    /// Adds a layer on top of another, or (with `None`) the first of a family. What reads it follows in the same commit.
    AddLayer(LayerId, Option<LayerId>),
}

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize, Clone, Copy)]
struct CodecV1 {
    kind: u8,
    level: u8,
}

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct VolumeV1 {
    id: u64,
    size_bytes: u64,
    layer: u64,
    lsn: u64,
    created_ms: u64,
    codec: CodecV1,
}

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct SegmentV1 {
    id: u32,
    domain: u32,
    epoch: u64,
    created_ms: u64,
    slots: u32,
    frames_end: u32,
    frames: u32,
    blocks: u32,
    class: u8,
}

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct RunV1 {
    id: u64,
    bytes: u64,
    entries: u64,
    ranges: u64,
    blocks: u64,
    first_family: u64,
    first_block: u64,
    last_family: u64,
    last_block: u64,
    layer_min: u64,
    layer_max: u64,
    entry_pages: u32,
    range_pages: u32,
    level: u8,
}

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
enum EditV2 {
    SetVolume(VolumeV1),
    RemoveVolume(u64),
    SetRecord(Vec<u8>, Option<Vec<u8>>),
    AddSegment(SegmentV1),
    RemoveSegment(u32),
    AddRun(RunV1),
    RemoveRun(u64),
    SetJournal { tail: u64, first: u64, incarnation: u64, exists: bool },
    ReserveIds { segment: u32, run: u64, volume: u64, layer: u64 },
    SetCapacity(Option<u64>),
    AddLayer { layer: u64, parent: Option<u64> },
    SetSnapshot { snapshot: VolumeV1, of: u64 },
}

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct CommitV2 {
    edits: Vec<EditV2>,
}

/// The stored form of a commit's edits.
pub(super) fn encode(edits: &[Edit]) -> Vec<u8> {
    let commit = CommitV2 { edits: edits.iter().map(EditV2::from).collect() };
    rkyv::to_bytes::<rancor::Error>(&commit).expect("edits in memory have a stored form").to_vec()
}

/// The edits of a commit whose checksum has been verified; `None` if the bytes are not a commit of that version.
pub(super) fn decode(version: u16, body: &[u8]) -> Result<Option<Vec<Edit>>> {
    if !(1..=EDIT_VERSION).contains(&version) {
        return Err(Error::Unsupported { what: "manifest version", found: version.into() });
    }
    let Ok(commit) = rkyv::from_bytes::<CommitV2, rancor::Error>(body) else { return Ok(None) };
    Ok(commit.edits.into_iter().map(EditV2::into_edit).collect())
}

impl From<&Edit> for EditV2 {
    fn from(edit: &Edit) -> Self {
        match edit {
            Edit::SetVolume(id, volume) => {
                let stored = VolumeV1::from((*id, volume));
                match volume.snapshot_of {
                    None => Self::SetVolume(stored),
                    Some(of) => Self::SetSnapshot { snapshot: stored, of: of.0 },
                }
            }
            Edit::RemoveVolume(id) => Self::RemoveVolume(id.0),
            Edit::SetRecord(key, value) => Self::SetRecord(key.clone(), value.clone()),
            Edit::AddSegment(segment) => Self::AddSegment(SegmentV1::from(segment)),
            Edit::RemoveSegment(id) => Self::RemoveSegment(id.0),
            Edit::AddRun(run) => Self::AddRun(RunV1::from(run)),
            Edit::RemoveRun(id) => Self::RemoveRun(id.0),
            Edit::SetJournal(start) => Self::SetJournal {
                tail: start.tail.0,
                first: start.first.0,
                incarnation: start.incarnation,
                exists: start.exists,
            },
            Edit::ReserveIds { segment, run, volume, layer } => {
                Self::ReserveIds { segment: segment.0, run: run.0, volume: volume.0, layer: layer.0 }
            }
            Edit::SetCapacity(capacity) => Self::SetCapacity(*capacity),
            Edit::AddLayer(layer, parent) => Self::AddLayer { layer: layer.0, parent: parent.map(|parent| parent.0) },
        }
    }
}

impl From<(VolumeId, &VolumeRecord)> for VolumeV1 {
    fn from((id, volume): (VolumeId, &VolumeRecord)) -> Self {
        Self {
            id: id.0,
            size_bytes: volume.size_bytes,
            layer: volume.layer.0,
            lsn: volume.lsn.0,
            created_ms: volume.created_ms,
            codec: CodecV1::from(volume.codec),
        }
    }
}

impl VolumeV1 {
    fn into_edit(self, snapshot_of: Option<VolumeId>) -> Option<Edit> {
        let record = VolumeRecord {
            size_bytes: self.size_bytes,
            codec: self.codec.into_codec()?,
            layer: LayerId(self.layer),
            lsn: Lsn(self.lsn),
            created_ms: self.created_ms,
            snapshot_of,
        };
        Some(Edit::SetVolume(VolumeId(self.id), record))
    }
}

impl EditV2 {
    /// `None` if a field holds what no program writes.
    fn into_edit(self) -> Option<Edit> {
        Some(match self {
            Self::SetVolume(volume) => volume.into_edit(None)?,
            Self::SetSnapshot { snapshot, of } => snapshot.into_edit(Some(VolumeId(of)))?,
            Self::AddLayer { layer, parent } => Edit::AddLayer(LayerId(layer), parent.map(LayerId)),
            Self::RemoveVolume(id) => Edit::RemoveVolume(VolumeId(id)),
            Self::SetRecord(key, value) => Edit::SetRecord(key, value),
            Self::AddSegment(segment) => Edit::AddSegment(segment.into_summary()?),
            Self::RemoveSegment(id) => Edit::RemoveSegment(SegmentId(id)),
            Self::AddRun(run) => Edit::AddRun(run.into_meta()),
            Self::RemoveRun(id) => Edit::RemoveRun(RunId(id)),
            Self::SetJournal { tail, first, incarnation, exists } => {
                Edit::SetJournal(JournalStart { tail: Generation(tail), first: Sequence(first), incarnation, exists })
            }
            Self::ReserveIds { segment, run, volume, layer } => Edit::ReserveIds {
                segment: SegmentId(segment),
                run: RunId(run),
                volume: VolumeId(volume),
                layer: LayerId(layer),
            },
            Self::SetCapacity(capacity) => Edit::SetCapacity(capacity),
        })
    }
}

impl From<Codec> for CodecV1 {
    fn from(codec: Codec) -> Self {
        match codec {
            Codec::None => Self { kind: 0, level: 0 },
            Codec::Lz4 => Self { kind: 1, level: 0 },
            Codec::Zstd { level } => Self { kind: 2, level: level.value() },
        }
    }
}

impl CodecV1 {
    fn into_codec(self) -> Option<Codec> {
        match (self.kind, self.level) {
            (0, 0) => Some(Codec::None),
            (1, 0) => Some(Codec::Lz4),
            (2, level) => ZstdLevel::new(level).map(|level| Codec::Zstd { level }),
            _ => None,
        }
    }
}

impl From<&SegmentSummary> for SegmentV1 {
    fn from(summary: &SegmentSummary) -> Self {
        Self {
            id: summary.identity.id.0,
            domain: summary.identity.domain,
            epoch: summary.identity.epoch.0,
            created_ms: summary.identity.created.as_millis() as u64,
            slots: summary.geometry.slots(),
            frames_end: summary.geometry.frames_end(),
            frames: summary.frames,
            blocks: summary.blocks,
            class: summary.identity.class as u8,
        }
    }
}

impl SegmentV1 {
    fn into_summary(self) -> Option<SegmentSummary> {
        let identity = Identity {
            id: SegmentId(self.id),
            epoch: Epoch(self.epoch),
            class: Class::from_byte(self.class)?,
            domain: self.domain,
            created: Duration::from_millis(self.created_ms),
        };
        let geometry = Geometry::new(self.slots, self.frames_end)?;
        Some(SegmentSummary { identity, geometry, frames: self.frames, blocks: self.blocks })
    }
}

impl From<&RunMeta> for RunV1 {
    fn from(run: &RunMeta) -> Self {
        Self {
            id: run.id.0,
            bytes: run.bytes,
            entries: run.entries,
            ranges: run.ranges,
            blocks: run.blocks,
            first_family: run.first.family.0,
            first_block: run.first.block.0,
            last_family: run.last.family.0,
            last_block: run.last.block.0,
            layer_min: run.layer_min.0,
            layer_max: run.layer_max.0,
            entry_pages: run.entry_pages,
            range_pages: run.range_pages,
            level: run.level,
        }
    }
}

impl RunV1 {
    fn into_meta(self) -> RunMeta {
        RunMeta {
            id: RunId(self.id),
            level: self.level,
            bytes: self.bytes,
            entry_pages: self.entry_pages,
            range_pages: self.range_pages,
            entries: self.entries,
            ranges: self.ranges,
            blocks: self.blocks,
            first: Key { family: FamilyId(self.first_family), block: BlockIndex(self.first_block) },
            last: Key { family: FamilyId(self.last_family), block: BlockIndex(self.last_block) },
            layer_min: LayerId(self.layer_min),
            layer_max: LayerId(self.layer_max),
        }
    }
}
