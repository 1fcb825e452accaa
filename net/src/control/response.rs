//! What a node answers. Answers and fields are only ever added, new fields with a default.
//!
//! These are also the documents the command prints with `--json`: sizes are integers in bytes, times are RFC 3339.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::cluster::{ClusterDescription, ClusterSummary, EventDescription, ReplicationDescription};
use super::objects::{ObjectDescription, Objects, Upload, UploadDescription};

/// The answer to a request; `answer` says which in JSON.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Response {
    /// It is done.
    Done,
    /// One volume.
    Volume(VolumeDescription),
    /// Many volumes, by name.
    Volumes {
        /// The volumes.
        volumes: Vec<VolumeDescription>,
    },
    /// One snapshot.
    Snapshot(SnapshotDescription),
    /// Many snapshots.
    Snapshots {
        /// The snapshots.
        snapshots: Vec<SnapshotDescription>,
        /// What to ask on with, if a page was asked for and there are more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<String>,
    },
    /// A volume went back to a time, or was cloned from one.
    Rewound(Box<Rewound>),
    /// Volumes in the trash.
    Trash {
        /// The volumes.
        volumes: Vec<TrashDescription>,
    },
    /// Health, space and memory.
    Status(Box<NodeStatus>),
    /// Space by volume.
    Usage(Usage),
    /// Where two volumes or snapshots differ.
    Changes(Changes),
    /// What blocks hold, after their fingerprints.
    Fingerprints(FingerprintPage),
    /// Where a volume can be reached.
    Uris(Uris),
    /// I/O counters.
    Counters(Counters),
    /// What was collected, or would be next.
    Collected(Collected),
    /// Where scrubs stand, and the damage that is known.
    Scrub(Box<ScrubDescription>),
    /// What the verification of volumes found.
    ScrubbedVolumes {
        /// The volumes and snapshots.
        volumes: Vec<ScrubbedVolume>,
    },
    /// What was packed, or would be.
    Packed(Packed),
    /// An import or export is complete.
    Transferred(Transferred),
    /// What a volume or snapshot holds, as one digest.
    Root(RootDescription),
    /// A stream is complete.
    Sent(SentDescription),
    /// A snapshot was received.
    Received(ReceivedDescription),
    /// One object.
    Object(ObjectDescription),
    /// Many objects, by name.
    Objects(Objects),
    /// Where an upload goes on.
    Upload(Upload),
    /// Objects that are not complete, by name.
    Uploads {
        /// They.
        uploads: Vec<UploadDescription>,
    },
    /// The nodes and the replicated volumes.
    Cluster(Box<ClusterDescription>),
    /// What happened, from the oldest.
    Events {
        /// The events.
        events: Vec<EventDescription>,
        /// Nodes that did not answer: what happened there is left out.
        #[serde(default)]
        silent: Vec<String>,
    },
    /// An invitation to a cluster. Who has it can join: it is a secret.
    Token {
        /// The token as text.
        token: String,
    },
    /// An answer of a newer version.
    #[serde(other)]
    Unknown,
}

/// A volume.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VolumeDescription {
    /// Its name.
    pub name: String,
    /// Its id, never reused; of a replicated volume, its number in the cluster.
    pub id: u64,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// How its blocks are compressed.
    pub codec: String,
    /// When it was made, RFC 3339.
    pub created: String,
    /// Clients that have it open now.
    pub connections: u64,
    /// `ready`, or `importing` while its content still comes.
    pub state: String,
    /// Its snapshots.
    #[serde(default)]
    pub snapshots: u64,
    /// What it was cloned from, if it was.
    #[serde(default)]
    pub origin: Option<OriginDescription>,
    /// How it is snapshot by itself, if it is.
    #[serde(default)]
    pub schedule: Option<ScheduleDescription>,
    /// Bytes that are kept for it, if any are.
    #[serde(default)]
    pub reserve_bytes: Option<u64>,
    /// Bytes that it may map, if that is bounded.
    #[serde(default)]
    pub quota_bytes: Option<u64>,
    /// Names of those who may open it over the network; none for everybody.
    #[serde(default)]
    pub allow: Vec<String>,
    /// How it is replicated; absent for a volume of this node alone.
    #[serde(default)]
    pub replication: Option<Box<ReplicationDescription>>,
}

/// How a volume is snapshot by itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ScheduleDescription {
    /// How often: a span like `10s`.
    pub every: String,
    /// What stays: rules `STEP:REACH`, joined by commas.
    pub keep: String,
}

/// A volume that went back to a time, or was cloned from one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rewound {
    /// The volume, or the clone.
    pub volume: VolumeDescription,
    /// The snapshot it holds now.
    pub to: String,
    /// The snapshot of what the volume held before; absent for a clone.
    #[serde(default)]
    pub before: Option<String>,
}

/// What a clone was made from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OriginDescription {
    /// The volume's id.
    pub volume_id: u64,
    /// The volume's name; absent if it is gone.
    #[serde(default)]
    pub volume: Option<String>,
    /// The snapshot's id; absent if the clone took what the volume held at that moment.
    #[serde(default)]
    pub snapshot_id: Option<u64>,
    /// The snapshot's name, `VOLUME@NAME`; absent if it is gone.
    #[serde(default)]
    pub snapshot: Option<String>,
}

/// A snapshot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SnapshotDescription {
    /// Its name, `VOLUME@NAME`.
    pub name: String,
    /// The volume it is of.
    pub volume: String,
    /// Its id, never reused, also not for a volume.
    pub id: u64,
    /// The size in bytes that the volume had.
    pub size_bytes: u64,
    /// When it was made, RFC 3339.
    pub created: String,
    /// Clients that have it open now.
    pub connections: u64,
    /// As in [`VolumeUsage::frees_bytes`]; absent unless it is known from a `Usage` since which nothing has changed.
    #[serde(default)]
    pub frees_bytes: Option<u64>,
}

/// A volume in the trash.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TrashDescription {
    /// The name it had.
    pub name: String,
    /// Its id.
    pub id: u64,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its snapshots, which are in the trash with it.
    pub snapshots: u64,
    /// When it was removed, RFC 3339.
    pub removed: String,
    /// When it goes for good, RFC 3339.
    pub expires: String,
}

/// A node's health, space and memory.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct NodeStatus {
    /// The node's version.
    pub version: String,
    /// Whether a daemon answered; otherwise the command looked at the stopped store.
    pub running: bool,
    /// The daemon's process id.
    pub pid: Option<u32>,
    /// When the daemon started, RFC 3339.
    pub started: Option<String>,
    /// The data directory.
    pub data: String,
    /// Where NBD clients can reach the node, without a volume's name.
    pub endpoints: Vec<String>,
    /// Volumes.
    pub volumes: u64,
    /// Snapshots.
    #[serde(default)]
    pub snapshots: u64,
    /// Sum of the volumes' sizes in bytes.
    pub size_bytes: u64,
    /// Volumes in the trash.
    #[serde(default)]
    pub trash: u64,
    /// Sum of their sizes in bytes.
    #[serde(default)]
    pub trash_size_bytes: u64,
    /// Objects.
    #[serde(default)]
    pub objects: u64,
    /// Sum of their lengths in bytes.
    #[serde(default)]
    pub objects_size_bytes: u64,
    /// Objects whose content still comes, or was broken off and can be resumed.
    #[serde(default)]
    pub uploads: u64,
    /// Snapshots that come by an exchange, or were broken off and can be gone on with, by the volume they are for.
    #[serde(default)]
    pub receptions: Vec<ReceptionDescription>,
    /// Clients of all volumes and snapshots now.
    pub connections: u64,
    /// The store below.
    pub store: StoreStatus,
    /// How full it is; absent from nodes too old to tell.
    #[serde(default)]
    pub space: Option<SpaceStatus>,
    /// Scrubs of it, and the damage that is known.
    #[serde(default)]
    pub scrub: ScrubDescription,
    /// The cluster that it is in, if it is in one.
    #[serde(default)]
    pub cluster: Option<ClusterSummary>,
}

/// A snapshot that comes by an exchange, or was broken off.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ReceptionDescription {
    /// The volume that it is for.
    pub name: String,
    /// Its size.
    pub size_bytes: u64,
    /// When it began, or was resumed last, RFC 3339.
    pub began: String,
    /// When it goes unless it is resumed, RFC 3339.
    pub expires: String,
}

/// Where scrubs stand, and the damage that is known.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ScrubDescription {
    /// `idle`, `running`, `paused`, `interrupted` while no daemon runs, or `stopped` with the store.
    pub state: String,
    /// Bytes read in a second at most.
    pub rate_bytes: u64,
    /// How often a pass begins by itself: a span like `30d`; absent if never.
    #[serde(default)]
    pub every: Option<String>,
    /// When the pass under way began, RFC 3339.
    #[serde(default)]
    pub began: Option<String>,
    /// Bytes it has verified.
    pub bytes_done: u64,
    /// Bytes it has to verify in all, as far as that is known now.
    pub bytes_total: u64,
    /// When the last pass ended that went to its end, RFC 3339.
    #[serde(default)]
    pub completed: Option<String>,
    /// The damaged places that are known.
    pub damage: Vec<DamageDescription>,
    /// Further places, which are not kept.
    pub damage_left_out: u64,
    /// Places that a later look found gone, ever.
    pub damage_gone_total: u64,
}

/// A place that is not as it was written.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DamageDescription {
    /// The file, relative to the data directory.
    pub file: String,
    /// Where in it, in bytes.
    pub offset: u64,
    /// What does not hold.
    pub what: String,
    /// When it was found, RFC 3339.
    pub found: String,
    /// What it touches; absent if that is not known yet.
    #[serde(default)]
    pub touched: Option<Vec<TouchedDescription>>,
    /// False if it may touch more than that.
    pub complete: bool,
}

/// A range of a volume or snapshot that damage touches.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TouchedDescription {
    /// The volume or snapshot.
    pub name: String,
    /// Its first byte.
    pub offset: u64,
    /// Its length.
    pub length: u64,
}

/// What the verification of a volume or snapshot found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ScrubbedVolume {
    /// Its name.
    pub name: String,
    /// Blocks that match their fingerprints.
    pub blocks_good: u64,
    /// Blocks that do not, or cannot be read.
    pub blocks_damaged: u64,
    /// Where these are: the first 1024 ranges.
    pub damage: Vec<DamagedRange>,
}

/// A damaged range of a volume.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DamagedRange {
    /// Its first byte.
    pub offset: u64,
    /// Its length.
    pub length: u64,
    /// What does not hold.
    pub what: String,
    /// The file that is damaged, relative to the data directory.
    pub file: String,
}

/// How full a node is.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SpaceStatus {
    /// What the store may fill: its capacity, or the file system, others' files included.
    pub total_bytes: u64,
    /// What of that is taken.
    pub used_bytes: u64,
    /// What new data may still take; `total_bytes` less `used_bytes` and `kept_bytes`.
    pub free_bytes: u64,
    /// What writes leave alone: for collection, the map and the manifest.
    pub kept_bytes: u64,
    /// What of `free_bytes` is reserved for volumes that do not use it yet.
    pub reserved_bytes: u64,
    /// The part of what data may take that is taken, in hundredths.
    pub used_percent: u64,
    /// In what time the free bytes are used up, at the rate of the last hour; absent if that is not known, or longer than a year.
    #[serde(default)]
    pub full_in_s: Option<u64>,
    /// The thresholds at which it warns, in hundredths.
    #[serde(default)]
    pub warn_at_percent: Vec<u64>,
    /// What to do about it, once a threshold is reached.
    #[serde(default)]
    pub warning: Option<String>,
}

/// A store's health and numbers.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct StoreStatus {
    /// Why the store stopped, if it did: it has to be restarted.
    pub poisoned: Option<String>,
    /// Gauges (`_bytes`, `_count`, `_permille`) and counters (`_total`), by name.
    pub numbers: BTreeMap<String, u64>,
}

/// Space by volume.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Usage {
    /// The volumes and snapshots asked for, by name.
    pub volumes: Vec<VolumeUsage>,
    /// All objects together, uploads included; absent if there are none.
    #[serde(default)]
    pub objects: Option<ObjectsUsage>,
    /// What has come of snapshots that are not complete, by the volume they are for; of those asked for.
    #[serde(default)]
    pub receptions: Vec<VolumeUsage>,
    /// The whole node.
    pub node: NodeUsage,
    /// What to ask on with, if a page was asked for and there are more volumes and snapshots. All else is on every page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What a volume or snapshot takes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct VolumeUsage {
    /// Its name.
    pub name: String,
    /// Its size.
    pub size_bytes: u64,
    /// How much of it holds data.
    pub mapped_bytes: u64,
    /// Its data after dedupe within the volume, before compression.
    pub distinct_bytes: u64,
    /// What that takes in the store, compressed.
    pub stored_bytes: u64,
    /// The part of `stored_bytes` that no other volume or snapshot uses.
    pub unique_bytes: u64,
    /// The part of `stored_bytes` that other volumes or snapshots use too.
    pub shared_bytes: u64,
    /// What `silt gc --now` gives back after its removal, beyond what it gives back without.
    #[serde(default)]
    pub frees_bytes: u64,
    /// `mapped_bytes / distinct_bytes`, 1 if nothing is mapped.
    pub dedupe_ratio: f64,
    /// `distinct_bytes / stored_bytes`, 1 if nothing is stored.
    pub compression_ratio: f64,
}

/// What objects take together.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ObjectsUsage {
    /// Objects.
    pub count: u64,
    /// Sum of their lengths in bytes.
    pub size_bytes: u64,
    /// How much of that is no zeros, in whole blocks.
    pub mapped_bytes: u64,
    /// What of that is left after dedupe among objects, before compression.
    pub distinct_bytes: u64,
    /// What that takes in the store, compressed.
    pub stored_bytes: u64,
    /// The part of `stored_bytes` that no volume or snapshot uses.
    pub unique_bytes: u64,
}

/// What was collected, or what the next batch would collect.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Collected {
    /// Segments.
    pub segments: u64,
    /// Their bytes.
    pub segment_bytes: u64,
    /// What of that is seen by somebody, and so moves.
    pub relocated_bytes: u64,
}

/// A batch of packing cold data.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Packed {
    /// Segments that were packed.
    pub segments: u64,
    /// Their bytes.
    pub segment_bytes: u64,
    /// Bytes that came of them.
    pub packed_bytes: u64,
    /// Segments that are left to do.
    pub left_segments: u64,
    /// Their bytes.
    pub left_bytes: u64,
    /// The newest segment that the pass takes.
    pub last_segment: u32,
}

/// What all volumes and snapshots take together.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct NodeUsage {
    /// Sum of the volumes' sizes and the objects' lengths.
    pub size_bytes: u64,
    /// How much of them holds data.
    pub mapped_bytes: u64,
    /// That after dedupe, before compression.
    pub distinct_bytes: u64,
    /// What that takes in the store, compressed.
    pub stored_bytes: u64,
    /// Blocks are shared in so many ways that `stored_bytes`, `distinct_bytes` and `shared_bytes` of volumes and snapshots are
    /// only an upper bound.
    #[serde(default)]
    pub coarse: bool,
    /// Everything the store has on disk: data, garbage not yet collected, map, journal.
    pub disk_bytes: u64,
    /// `mapped_bytes / distinct_bytes`, 1 if nothing is mapped.
    pub dedupe_ratio: f64,
    /// `distinct_bytes / stored_bytes`, 1 if nothing is stored.
    pub compression_ratio: f64,
}

/// One page of where two volumes or snapshots differ.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Changes {
    /// The earlier one's id. If it is another than on the page before, the name has come to mean something else.
    pub from_id: u64,
    /// The later one's id.
    pub to_id: u64,
    /// The earlier one's size.
    pub from_size_bytes: u64,
    /// The later one's size.
    pub to_size_bytes: u64,
    /// What differs, by offset; what only one of the two has room for does.
    pub extents: Vec<ChangedRange>,
    /// Where the next page begins; absent on the last.
    #[serde(default)]
    pub next_offset: Option<u64>,
}

/// One page of what blocks hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FingerprintPage {
    /// The volume's or snapshot's id. If it is another than on the page before, the name has come to mean something else.
    pub id: u64,
    /// Its size.
    pub size_bytes: u64,
    /// Up to here all is said: where the next page begins, unless this is the end of what was asked.
    pub next_offset: u64,
}

/// A range in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ChangedRange {
    /// Its first byte.
    pub offset: u64,
    /// Its length.
    pub length: u64,
}

/// Where a volume or snapshot can be reached by NBD.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Uris {
    /// The volume.
    pub name: String,
    /// Whether somebody serves it there now.
    pub running: bool,
    /// NBD URIs, the Unix socket first.
    pub uris: Vec<String>,
}

/// I/O counters of all volumes, and of the snapshots that clients had open.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Counters {
    /// The node's monotonic clock when they were read, in microseconds.
    pub uptime_us: u64,
    /// By volume.
    pub volumes: Vec<VolumeCounters>,
}

/// I/O counters of one volume or snapshot since the node started.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct VolumeCounters {
    /// The volume.
    pub name: String,
    /// Reads.
    #[serde(default)]
    pub read: OperationCounters,
    /// Writes.
    #[serde(default)]
    pub write: OperationCounters,
    /// Trims and zeroings.
    #[serde(default)]
    pub zero: OperationCounters,
    /// Flushes.
    #[serde(default)]
    pub flush: OperationCounters,
    /// Clients that have it open now.
    pub connections: u64,
}

/// Counters of one kind of request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct OperationCounters {
    /// Requests answered, failed ones included.
    pub requests_total: u64,
    /// Bytes they moved, or zeroed.
    pub bytes_total: u64,
    /// Requests that failed.
    pub errors_total: u64,
    /// Sum of their latencies, in microseconds.
    pub latency_us_total: u64,
}

/// A complete import or export.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Transferred {
    /// The volume.
    pub name: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Bytes that were moved; the rest are zeros.
    pub data_bytes: u64,
}

/// What a volume or snapshot holds, as one digest (`docs/roots.md`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RootDescription {
    /// The volume, or the snapshot as `VOLUME@NAME`; of an image, its path.
    pub name: String,
    /// Its id, unless it is an image.
    #[serde(default)]
    pub id: Option<u64>,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// How much of it is not zeros, in whole blocks.
    pub data_bytes: u64,
    /// The dedupe domain of the root.
    pub domain: u32,
    /// The root as text.
    pub root: String,
}

/// A snapshot that was sent as a stream.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SentDescription {
    /// The snapshot, `VOLUME@NAME`.
    pub name: String,
    /// What the stream goes on from, `VOLUME@NAME`; absent if it brings everything.
    #[serde(default)]
    pub from: Option<String>,
    /// The snapshot's size in bytes.
    pub size_bytes: u64,
    /// Bytes of blocks that were sent, before compression.
    pub data_bytes: u64,
    /// Bytes of blocks that were offered and that the receiver had.
    #[serde(default)]
    pub had_bytes: u64,
    /// Bytes of the stream.
    pub stream_bytes: u64,
    /// The snapshot's root as text.
    pub root: String,
}

/// A snapshot that was received from a stream.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReceivedDescription {
    /// The snapshot, `VOLUME@NAME`.
    pub name: String,
    /// Its id.
    pub id: u64,
    /// What the stream goes on from, `VOLUME@NAME`; absent if it brought everything.
    #[serde(default)]
    pub from: Option<String>,
    /// The snapshot's size in bytes.
    pub size_bytes: u64,
    /// Bytes of blocks that came, before compression.
    pub data_bytes: u64,
    /// Bytes of blocks that were offered and that the node had.
    #[serde(default)]
    pub had_bytes: u64,
    /// The snapshot's root as text.
    pub root: String,
}
