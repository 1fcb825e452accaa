//! What a tool can ask of a node. Requests and fields are only ever added, new fields with a default.

use serde::{Deserialize, Serialize};

use super::cluster::{MoveReplica, NodeAction};
use super::objects::PutObject;
use super::response::ChangedRange;

/// Blocks of one [`Request::FingerprintsOf`].
pub const FINGERPRINTS_MAX: u64 = 4096;

/// A request; `verb` says which in JSON.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Request {
    /// Health, space and memory of the node. Answer: `Status`.
    Status,
    /// All volumes. Answer: `Volumes`.
    List,
    /// One volume or snapshot. Answer: `Volume` or `Snapshot`.
    Info {
        /// The volume, or the snapshot as `VOLUME@NAME`.
        name: String,
    },
    /// Makes a volume. Answer: `Volume`.
    Create(CreateVolume),
    /// Changes a volume's size. Answer: `Volume`.
    Resize(ResizeVolume),
    /// Removes a volume and its content for good. Answer: `Done`.
    Remove {
        /// The volume.
        name: String,
        /// Its snapshots may go too; without this a volume with snapshots stays.
        #[serde(default)]
        snapshots: bool,
    },
    /// Moves a volume and its snapshots to the trash. Answer: `Trash`, with this one.
    Discard {
        /// The volume.
        name: String,
        /// Its snapshots may go too; without this a volume with snapshots stays.
        #[serde(default)]
        snapshots: bool,
        /// How long it is kept, in seconds.
        keep_s: u64,
    },
    /// The volumes in the trash. Answer: `Trash`, from the one removed first.
    ListTrash,
    /// Takes a volume and its snapshots out of the trash. Answer: `Volume`.
    Restore {
        /// The name it had.
        name: String,
        /// Its id; needed if several in the trash had this name.
        #[serde(default)]
        id: Option<u64>,
        /// Its new name; the one it had if absent.
        #[serde(default)]
        to: Option<String>,
    },
    /// Removes volumes in the trash for good. Answer: `Trash`, with what they were.
    Purge(Purge),
    /// Freezes what volumes hold, all at the same moment. Answer: `Snapshots`, in the order of the names.
    Snapshot {
        /// The snapshots to make, as `VOLUME@NAME`; each of another volume.
        names: Vec<String>,
    },
    /// The snapshots, from the oldest of each volume. Answer: `Snapshots`.
    ListSnapshots {
        /// The volume; all if absent.
        #[serde(default)]
        volume: Option<String>,
        /// Absent for all at once. For a page of them, by volume: empty for the first, then `next` of the answer before.
        #[serde(default)]
        after: Option<String>,
    },
    /// Removes a snapshot. Answer: `Done`.
    RemoveSnapshot {
        /// The snapshot, as `VOLUME@NAME`.
        name: String,
    },
    /// Gives a snapshot another name. Answer: `Snapshot`.
    RenameSnapshot {
        /// The snapshot, as `VOLUME@NAME`.
        name: String,
        /// Its new name, without the volume.
        to: String,
    },
    /// Puts a volume back to what a snapshot of it holds, its size too. Answer: `Volume`.
    RollBack {
        /// The snapshot, as `VOLUME@NAME`.
        name: String,
    },
    /// Puts a volume back to its newest snapshot from a time or before, after a snapshot of what it holds now; or makes a
    /// clone of that snapshot. Answer: `Rewound`.
    Rewind(Rewind),
    /// Changes settings of a volume. Answer: `Volume`.
    Set(SetVolume),
    /// Makes a volume that holds what another volume or a snapshot holds. Answer: `Volume`.
    Clone {
        /// The volume, or the snapshot as `VOLUME@NAME`.
        of: String,
        /// The new volume's name.
        name: String,
    },
    /// The clones made of a snapshot, or of a volume and its snapshots. Answer: `Volumes`.
    Children {
        /// The volume, or the snapshot as `VOLUME@NAME`.
        name: String,
    },
    /// Space by volume and snapshot. Answer: `Usage`.
    Usage {
        /// The volumes, and snapshots as `VOLUME@NAME`, to report; all if empty.
        #[serde(default)]
        names: Vec<String>,
        /// As in [`Request::ListSnapshots`].
        #[serde(default)]
        after: Option<String>,
    },
    /// Where `to` differs from `from`, from an offset on. Answer: `Changes`, one page of it.
    Changes {
        /// The earlier one: a volume, or a snapshot as `VOLUME@NAME`.
        from: String,
        /// The later one, of the same family.
        to: String,
        /// Where to begin: 0, then `next_offset` of the answer before.
        #[serde(default)]
        offset: u64,
    },
    /// What blocks hold, by fingerprint. Answer: `Fingerprints`, one page of it, after the fingerprints as content.
    Fingerprints {
        /// The volume, or the snapshot as `VOLUME@NAME`.
        name: String,
        /// Where to begin, a multiple of the block: then `next_offset` of the answer before.
        offset: u64,
        /// How far to go.
        length: u64,
    },
    /// What the blocks of several ranges hold, by fingerprint. Answer: `Fingerprints`, after the fingerprints of all of them as
    /// content.
    FingerprintsOf {
        /// The volume, or the snapshot as `VOLUME@NAME`.
        name: String,
        /// By offset, each a multiple of the block, not empty and within the volume; with at most
        /// [`FINGERPRINTS_MAX`](super::FINGERPRINTS_MAX) blocks altogether.
        ranges: Vec<ChangedRange>,
    },
    /// Where a volume or snapshot can be reached by NBD. Answer: `Uris`.
    Uris {
        /// The volume, or the snapshot as `VOLUME@NAME`.
        name: String,
    },
    /// I/O counters of all volumes, and of the snapshots that clients had open, since the node started. Answer: `Counters`.
    Counters,
    /// Allocates the store's space ahead, or lets it grow on demand. Answer: `Done`.
    SetCapacity {
        /// Bytes to allocate; `None` to grow on demand.
        capacity_bytes: Option<u64>,
    },
    /// Gives back the space of what nobody sees any more. Answer: `Collected`.
    Collect(Collect),
    /// Begins, pauses or resumes a scrub, changes how scrubs are done, or only tells. Answer: `Scrub`.
    Scrub(Scrub),
    /// Verifies here and now what a volume or snapshot sees. Answer: `ScrubbedVolumes`.
    ScrubVolume {
        /// The volume, or the snapshot as `VOLUME@NAME`.
        name: String,
        /// Its snapshots too.
        #[serde(default)]
        snapshots: bool,
    },
    /// Compresses some of the data that nobody reads in groups. Answer: `Packed`.
    PackCold(PackCold),
    /// Makes a volume from content that follows. Answer: `Transferred`.
    Import(ImportVolume),
    /// Gives the content of a volume or snapshot. Answer: `Transferred`, after the content.
    Export {
        /// The volume, or the snapshot as `VOLUME@NAME`.
        name: String,
    },
    /// The root of a snapshot, or of what a volume holds now. Answer: `Root`.
    Root {
        /// The volume, or the snapshot as `VOLUME@NAME`.
        name: String,
    },
    /// Gives a snapshot as a stream (`docs/stream-format.md`). Answer: `Sent`, after the stream.
    Send {
        /// The snapshot, as `VOLUME@NAME`.
        name: String,
        /// The snapshot that the stream goes on from, as `VOLUME@NAME`; without it everything is sent.
        #[serde(default)]
        from: Option<String>,
    },
    /// Makes a snapshot from a stream that follows. Answer: `Received`.
    Receive(ReceiveSnapshot),
    /// Gives a snapshot to a receiver that says what it lacks, in a conversation. Answer: `Sent`.
    Offer {
        /// The snapshot, as `VOLUME@NAME`.
        name: String,
        /// As in `Send`.
        #[serde(default)]
        from: Option<String>,
    },
    /// Makes a snapshot of what a sender offers, in a conversation. Answer: `Received`.
    Accept(ReceiveSnapshot),
    /// Removes what was kept of an exchange that broke off. Answer: `Done`.
    RemoveReception {
        /// The volume that it was for.
        name: String,
    },
    /// Makes an object from content that follows, in order; what lies between is zeros. Answer: `Object`.
    PutObject(PutObject),
    /// Where `PutObject` of the same would go on. Answer: `Upload`, after up to 1 MiB of what is there before that.
    FindUpload(PutObject),
    /// Gives the content of an object, or a part of it; offsets count from the beginning of that. Answer: `Transferred`, after
    /// the content.
    GetObject {
        /// The object.
        name: String,
        /// Where to begin.
        #[serde(default)]
        offset: u64,
        /// How much to give; all that is left if absent, and not more than that.
        #[serde(default)]
        length: Option<u64>,
    },
    /// One object. Answer: `Object`.
    ObjectInfo {
        /// The object.
        name: String,
    },
    /// Objects by name. Answer: `Objects`, one page of them.
    ListObjects {
        /// What their names begin with.
        #[serde(default)]
        prefix: String,
        /// The name to go on behind: `next` of the answer before.
        #[serde(default)]
        after: Option<String>,
    },
    /// Objects that are not complete. Answer: `Uploads`.
    ListUploads,
    /// Removes an object for good, or what was broken off of one. Answer: `Done`.
    RemoveObject {
        /// The object.
        name: String,
        /// Not the object but what was broken off.
        #[serde(default)]
        upload: bool,
    },
    /// Makes a cluster of this node alone. Answer: `Cluster`.
    ClusterInit {
        /// What the node is called; chosen if absent.
        #[serde(default)]
        name: Option<String>,
        /// What fails together with it.
        #[serde(default)]
        zone: Option<String>,
    },
    /// An invitation to the cluster, for one node. Answer: `Token`.
    ClusterToken {
        /// For how long it is good, in seconds.
        validity_s: u64,
    },
    /// The nodes and the replicated volumes. Answer: `Cluster`.
    ClusterStatus,
    /// Changes settings of the whole cluster. Answer: `Done`.
    ClusterSet {
        /// How many bytes a second each node sends at most to bring replicas up to date; 0 for no limit. It stays as it is if
        /// absent.
        #[serde(default)]
        catch_up_rate_bytes: Option<u64>,
    },
    /// Begins to replace the cluster's certificate authority, or gives up what was begun. Answer: `Cluster`.
    ClusterRotateAuthority {
        /// Give the new authority up that not all nodes trust yet.
        #[serde(default)]
        cancel: bool,
    },
    /// What happened, at all nodes of the cluster that are reached. Answer: `Events`.
    Events {
        /// From so many seconds ago on; all that is kept if absent.
        #[serde(default)]
        since_s: Option<u64>,
    },
    /// Does something about a node of the cluster. Answer: `Done`.
    Node {
        /// The node, by name or number.
        name: String,
        /// What to do.
        action: NodeAction,
    },
    /// Moves a replica of a volume to a node that has none. Answer: `Volume`.
    MoveReplica(MoveReplica),
    /// A request of a newer version.
    #[serde(other)]
    Unknown,
}

impl Request {
    /// True if the asker sends content after the request.
    #[must_use]
    pub fn uploads(&self) -> bool {
        matches!(self, Self::Import(_) | Self::PutObject(_) | Self::Receive(_))
    }

    /// True if the asker brings content piece by piece, each when the node wants it.
    #[must_use]
    pub fn converses(&self) -> bool {
        matches!(self, Self::Offer { .. } | Self::Accept(_))
    }
}

/// A time for a volume to go back to: exactly one of `ago_s` and `at` is given.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Rewind {
    /// The volume.
    pub name: String,
    /// Seconds before now.
    #[serde(default)]
    pub ago_s: Option<u64>,
    /// The time, RFC 3339.
    #[serde(default)]
    pub at: Option<String>,
    /// The clone to make; the volume itself goes back if absent.
    #[serde(default)]
    pub to: Option<String>,
}

/// Settings of a volume; what is absent stays as it is.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SetVolume {
    /// The volume.
    pub name: String,
    /// How often it is snapshot: a span like `10s`, or `off`.
    #[serde(default)]
    pub snap_every: Option<String>,
    /// Which of these snapshots stay: rules `STEP:REACH`, joined by commas.
    #[serde(default)]
    pub keep: Option<String>,
    /// Bytes kept for it that other volumes cannot take; 0 for none.
    #[serde(default)]
    pub reserve_bytes: Option<u64>,
    /// Bytes it may map at most; 0 for no bound.
    #[serde(default)]
    pub quota_bytes: Option<u64>,
    /// Names of those who may open it over the network; none for everybody.
    #[serde(default)]
    pub allow: Option<Vec<String>>,
    /// How many copies a replicated volume has.
    #[serde(default)]
    pub replicas: Option<u8>,
}

/// Which volumes in the trash go for good: exactly one of `name`, `expired` and `all` is given.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Purge {
    /// The one that had this name.
    #[serde(default)]
    pub name: Option<String>,
    /// With `name`: its id; needed if several in the trash had this name.
    #[serde(default)]
    pub id: Option<u64>,
    /// Those whose time is over.
    #[serde(default)]
    pub expired: bool,
    /// All.
    #[serde(default)]
    pub all: bool,
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
    /// An existing volume of the same size is a success; its settings stay.
    #[serde(default)]
    pub reuse: bool,
    /// As in [`SetVolume::reserve_bytes`].
    #[serde(default)]
    pub reserve_bytes: Option<u64>,
    /// As in [`SetVolume::quota_bytes`].
    #[serde(default)]
    pub quota_bytes: Option<u64>,
    /// How many nodes of the cluster hold it; absent for a volume of this node alone.
    #[serde(default)]
    pub replicas: Option<u8>,
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

/// How to collect.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Collect {
    /// Collect also where only little is dead.
    #[serde(default)]
    pub now: bool,
    /// Only tell what the next batch would do.
    #[serde(default)]
    pub dry_run: bool,
}

/// What to do about scrubs, after the settings that are given are changed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Scrub {
    /// What to do.
    #[serde(default)]
    pub action: ScrubAction,
    /// Bytes read in a second at most.
    #[serde(default)]
    pub rate_bytes: Option<u64>,
    /// How often a pass begins by itself: a span like `30d`, or `off`.
    #[serde(default)]
    pub every: Option<String>,
}

/// What to do about the scrub.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ScrubAction {
    /// Only tell.
    #[default]
    Status,
    /// Begin a pass, unless one is under way; a paused one goes on.
    Start,
    /// Let it wait until it is resumed.
    Pause,
    /// Go on.
    Resume,
    /// An action of a newer version.
    #[serde(other)]
    Unknown,
}

/// Which cold data to pack. A pass is a request for each batch, until the answer says that nothing is left.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PackCold {
    /// Take also what was read lately.
    #[serde(default)]
    pub all: bool,
    /// Only tell what is left to do.
    #[serde(default)]
    pub dry_run: bool,
    /// The newest segment that the pass takes: `None` at its beginning, then what the answer to that said.
    #[serde(default)]
    pub last_segment: Option<u32>,
}

/// A volume to make from content.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
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
    /// How many nodes of the cluster hold it; absent: this node alone.
    #[serde(default)]
    pub replicas: Option<u8>,
}

/// Where a stream goes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ReceiveSnapshot {
    /// The volume; a new one if the stream brings everything.
    pub name: String,
    /// What the volume holds beside the snapshot that the stream goes on from may be lost.
    #[serde(default)]
    pub force: bool,
    /// As in [`CreateVolume::codec`], for a new volume.
    #[serde(default)]
    pub codec: Option<String>,
    /// As in [`ImportVolume::replicas`]; the stream has to bring everything then.
    #[serde(default)]
    pub replicas: Option<u8>,
}
