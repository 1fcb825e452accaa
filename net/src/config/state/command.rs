//! What can be asked of the configuration, one command for each change.
//!
//! The types here are also the stored form of commands, version 1 (`docs/protocol.md`, "Configuration"): fields never
//! change, and a new command is a new variant at the end with a new version of the record. It must not be larger than the
//! largest there is: all variants take the same room, so that would move the bytes of the others. One that needs more has it
//! out of line, as lists and boxes are.

use super::super::id::{ClusterId, Epoch, Lsn, NodeId, StoreId, TokenId, VolumeId};
use super::super::name::{Identity, Name, Text};
use super::limits::VolumeLimits;
use super::node::About;
use super::rotation::RotationStage;
use super::token::KeptKey;
use super::volume::{Copies, Origin, VolumeState};
use crate::identity::{Fingerprint, PublicKey};
use crate::replication;

/// One change of the configuration. Times are milliseconds since the Unix epoch, by the clock of whoever asks.
#[derive(Clone, PartialEq, Eq, Debug, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub enum Command {
    /// Makes the cluster, with one node as its only member. The first command of all.
    Found {
        /// The cluster's id, by chance.
        cluster: ClusterId,
        /// The node, described.
        node: About,
        /// Now.
        now_ms: u64,
    },
    /// Makes a token, and forgets those that have expired.
    CreateToken {
        /// Its id, by chance.
        token: TokenId,
        /// What a proof of its secret is checked with.
        key: KeptKey,
        /// Until when it lets a node in.
        expires_ms: u64,
        /// Now.
        now_ms: u64,
    },
    /// Takes a token away.
    RemoveToken {
        /// The token.
        token: TokenId,
    },
    /// Uses a token up and makes the node that came with it, both or neither. For the key that used it already it gives the
    /// same node again, until it expires.
    Join {
        /// The token, whose secret the node was found to know.
        token: TokenId,
        /// The node's key.
        key: PublicKey,
        /// Now.
        now_ms: u64,
    },
    /// Says what a node is, once it knows that itself. Its file is its file for good.
    DescribeNode {
        /// The node.
        node: NodeId,
        /// The name.
        name: Name,
        /// Where it listens, best first.
        addresses: Vec<Text>,
        /// What fails together with it.
        zone: Text,
        /// Its configuration file.
        store: StoreId,
    },
    /// Makes a joining node a member, once it has described itself and has the configuration.
    AdmitNode {
        /// The node.
        node: NodeId,
    },
    /// Changes where a node is.
    MoveNode {
        /// The node.
        node: NodeId,
        /// Where it listens, best first.
        addresses: Vec<Text>,
        /// What fails together with it.
        zone: Text,
    },
    /// Gives a node another name.
    RenameNode {
        /// The node.
        node: NodeId,
        /// The name.
        name: Name,
    },
    /// Gives a node another key, for its next certificate; the old one is no longer good.
    RenewKey {
        /// The node.
        node: NodeId,
        /// The key.
        key: PublicKey,
    },
    /// Begins to take a node out of the cluster.
    DrainNode {
        /// The node.
        node: NodeId,
    },
    /// Makes a draining node a member again.
    ResumeNode {
        /// The node.
        node: NodeId,
    },
    /// Removes a draining or joining node that holds nothing any more. It can never come back.
    RemoveNode {
        /// The node.
        node: NodeId,
    },
    /// Removes a node that is lost with all it held. It can never come back.
    ForgetNode {
        /// The node.
        node: NodeId,
    },
    /// Makes a volume.
    CreateVolume(NewVolume),
    /// Says that a volume's content is complete.
    FinishImport {
        /// The volume.
        volume: VolumeId,
    },
    /// Gives a volume another name.
    RenameVolume {
        /// The volume.
        volume: VolumeId,
        /// The name.
        name: Name,
    },
    /// Gives a volume another size.
    ResizeVolume {
        /// The volume.
        volume: VolumeId,
        /// The size in bytes.
        size_bytes: u64,
    },
    /// Changes how new blocks are compressed.
    SetCodec {
        /// The volume.
        volume: VolumeId,
        /// The codec.
        codec: Text,
    },
    /// Gives a volume a schedule or takes it away.
    SetSchedule {
        /// The volume.
        volume: VolumeId,
        /// The schedule.
        schedule: Option<Text>,
    },
    /// Changes how many copies a volume is to have.
    SetCopies {
        /// The volume.
        volume: VolumeId,
        /// How many.
        copies: Copies,
        /// Who shall have them, as in [`Command::PlaceReplicas`].
        placement: Vec<NodeId>,
    },
    /// Puts a volume, with its snapshots, into the trash. Its name is free.
    TrashVolume {
        /// The volume.
        volume: VolumeId,
        /// When it may go for good.
        expires_ms: u64,
        /// Now.
        now_ms: u64,
    },
    /// Takes a volume out of the trash, under a name that may be another.
    RestoreVolume {
        /// The volume.
        volume: VolumeId,
        /// The name.
        name: Name,
    },
    /// Removes a volume for good, in the trash or not.
    DeleteVolume {
        /// The volume.
        volume: VolumeId,
        /// Its snapshots may go with it.
        with_snapshots: bool,
    },
    /// Changes who replicates a volume, as its replicas propose.
    ChangeReplicas {
        /// The volume.
        volume: VolumeId,
        /// The configuration that follows the present one.
        next: replication::Configuration,
    },
    /// Says who shall hold a volume: from `copies.in_sync_min` to `copies.replicas` nodes. Its replicas see to it.
    PlaceReplicas {
        /// The volume.
        volume: VolumeId,
        /// The nodes.
        nodes: Vec<NodeId>,
    },
    /// Names snapshots that were made at the same moment: all of them or none.
    CreateSnapshots {
        /// Each volume once.
        cuts: Vec<Cut>,
        /// When they were made.
        now_ms: u64,
    },
    /// Gives a snapshot another name.
    RenameSnapshot {
        /// Its volume.
        volume: VolumeId,
        /// Its name.
        name: Name,
        /// Its new name.
        to: Name,
    },
    /// Removes snapshots of one volume: all of them or none.
    RemoveSnapshots {
        /// Their volume.
        volume: VolumeId,
        /// Their names.
        names: Vec<Name>,
    },
    /// Sets a setting of the whole cluster or takes it away.
    SetSetting {
        /// Its name.
        name: Name,
        /// Its value.
        value: Option<Text>,
    },
    /// Removes a volume in the trash for good, unless it was taken out of it meanwhile.
    PurgeVolume {
        /// The volume.
        volume: VolumeId,
        /// When it came into the trash.
        removed_ms: u64,
    },
    /// Says who may open a volume and its snapshots over the network. Clones made later start with it.
    SetAllowed {
        /// The volume.
        volume: VolumeId,
        /// The names in their certificates; none: everybody.
        names: Vec<Identity>,
    },
    /// Says what a volume may take of every node that holds it, and what is kept for it there.
    SetLimits {
        /// The volume.
        volume: VolumeId,
        /// All of them: what is not in it ends.
        limits: VolumeLimits,
    },
    /// Begins to take up another authority, and makes all tokens void. Its key is at the node alone.
    BeginRotation {
        /// The node that made it.
        node: NodeId,
        /// Its certificate, X.509 DER.
        certificate: Vec<u8>,
    },
    /// Says that a node has done what the stage asks of it, so that no crash undoes it.
    ConfirmRotation {
        /// The node.
        node: NodeId,
        /// The new authority.
        authority: Fingerprint,
        /// The stage.
        stage: RotationStage,
    },
    /// Gives a new authority up that not all nodes trust yet.
    CancelRotation {
        /// The new authority.
        authority: Fingerprint,
    },
}

impl Command {
    /// About how long the stored form is.
    pub(in super::super) fn encoded_bytes(&self) -> usize {
        rkyv::to_bytes::<rkyv::rancor::Error>(self).expect("a command in memory has a stored form").len()
    }
}

/// A volume to be made.
#[derive(Clone, PartialEq, Eq, Debug, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct NewVolume {
    /// Its name.
    pub name: Name,
    /// Size in bytes, 1 to [`super::VOLUME_BYTES_MAX`].
    pub size_bytes: u64,
    /// How new blocks are compressed.
    pub codec: Text,
    /// Whether its content is there already.
    pub state: VolumeState,
    /// What it is cloned from.
    pub origin: Option<Origin>,
    /// How many copies it is to have.
    pub copies: Copies,
    /// Who orders writes, and has the volume already; one of the placement.
    pub primary: NodeId,
    /// Who holds it: at least `copies.in_sync_min` nodes, at most `copies.replicas`.
    pub placement: Vec<NodeId>,
    /// Now.
    pub now_ms: u64,
}

/// Where a volume was cut for a snapshot.
#[derive(Clone, PartialEq, Eq, Debug, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct Cut {
    /// The volume.
    pub volume: VolumeId,
    /// The epoch whose primary made the cut.
    pub epoch: Epoch,
    /// The snapshot's name.
    pub name: Name,
    /// The last write in it.
    pub lsn: Lsn,
}
