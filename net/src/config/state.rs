//! The configuration of a cluster as a pure state machine: [`Configuration::apply`] takes one [`Command`] and either
//! changes the state and says what it did, or changes nothing and says why. Every node applies the same commands in the same
//! order, so nothing here may depend on anything else: times come with commands, chance does not come at all.
//!
//! Invariants, which [`Configuration::check`] verifies and every restored snapshot must satisfy: ids and epochs only grow and
//! are never reused; names, files and keys are unique; the primary is a member, and some member is not removed; a placement is
//! of nodes that are not removed, and of no more than the volume is to have copies.

mod access;
mod check;
mod command;
mod limits;
mod node;
mod nodes;
mod outcome;
mod placement;
mod replicas;
mod rotation;
mod snapshots;
mod stored;
mod token;
mod tokens;
mod volume;
mod volumes;
mod voters;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use check::Broken;
pub use command::{Command, Cut, NewVolume};
pub use limits::VolumeLimits;
pub use node::{About, Node, NodeState};
pub use outcome::{Limit, Outcome, Rejection};
pub use placement::{choose_placement, choose_replacement};
pub use rotation::{AUTHORITY_BYTES_MAX, Rotation, RotationStage};
pub use token::{KeptKey, Token};
pub use volume::{Copies, Origin, ReplicaSet, Snapshot, Trashed, Volume, VolumeState};
pub use voters::{Membership, Step, VOTERS_MAX, choose_voters, next_step};

use super::id::{ClusterId, NodeId, SnapshotId, TokenId, VolumeId};
use super::name::{Identity, Name, Text};

/// Most bytes of a volume: 1 PiB, as in a node's store.
pub const VOLUME_BYTES_MAX: u64 = 1 << 50;

/// Most replicas of a volume.
pub const REPLICAS_MAX: u8 = 7;

/// How many nodes may hold a volume beyond its copies while one of them is being replaced.
pub const MOVING_MAX: usize = 1;

/// Most addresses of a node.
pub const ADDRESSES_MAX: usize = 8;

/// Most nodes that are not removed.
pub const NODES_MAX: usize = 1024;

/// Most tokens.
pub const TOKENS_MAX: usize = 1024;

/// Most volumes, those in the trash included.
pub const VOLUMES_MAX: usize = 1 << 16;

/// Most snapshots of all volumes.
pub const SNAPSHOTS_MAX: usize = 1 << 18;

/// Most settings.
pub const SETTINGS_MAX: usize = 256;

/// Most names in the list of who may open a volume.
pub const IDENTITIES_MAX: usize = 64;

/// The id that comes next, of each kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct NextIds {
    node: NodeId,
    volume: VolumeId,
    snapshot: SnapshotId,
}

impl Default for NextIds {
    fn default() -> Self {
        Self { node: NodeId(1), volume: VolumeId(1), snapshot: SnapshotId(1) }
    }
}

/// Everything the cluster agrees on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Configuration {
    cluster: Option<ClusterId>,
    next: NextIds,
    nodes: BTreeMap<NodeId, Node>,
    tokens: BTreeMap<TokenId, Token>,
    volumes: BTreeMap<VolumeId, Volume>,
    /// By the volume they are of, then by name. A volume without snapshots is not in it.
    snapshots: BTreeMap<VolumeId, BTreeMap<Name, Snapshot>>,
    settings: BTreeMap<Name, Text>,
    /// Who may open a volume over the network. A volume that is open to everybody is not in it.
    allowed: BTreeMap<VolumeId, Vec<Identity>>,
    /// Reservations and quotas. A volume without is not in it.
    limits: BTreeMap<VolumeId, VolumeLimits>,
    /// The certificate of the authority in force; none as long as that is the first.
    authority: Option<Vec<u8>>,
    /// Another authority that is being taken up.
    rotation: Option<Rotation>,
    /// Volumes that are not in the trash, by name; derived.
    names: BTreeMap<Name, VolumeId>,
    /// Of all volumes; derived.
    snapshot_count: usize,
}

impl Configuration {
    /// Applies one command.
    ///
    /// # Errors
    /// [`Rejection`]; then nothing has changed.
    pub fn apply(&mut self, command: &Command) -> Result<Outcome, Rejection> {
        if self.cluster.is_none() && !matches!(command, Command::Found { .. }) {
            return Err(Rejection::NotFounded);
        }
        match command {
            Command::Found { cluster, node, now_ms } => self.found(*cluster, node, *now_ms),
            Command::CreateToken { token, key, expires_ms, now_ms } => {
                self.create_token(*token, *key, *expires_ms, *now_ms)
            }
            Command::RemoveToken { token } => self.remove_token(*token),
            Command::Join { token, key, now_ms } => self.join(*token, *key, *now_ms),
            Command::DescribeNode { node, name, addresses, zone, store } => {
                self.describe_node(*node, name, addresses, zone, *store)
            }
            Command::AdmitNode { node } => self.admit_node(*node),
            Command::MoveNode { node, addresses, zone } => self.move_node(*node, addresses, zone),
            Command::RenameNode { node, name } => self.rename_node(*node, name),
            Command::RenewKey { node, key } => self.renew_key(*node, *key),
            Command::DrainNode { node } => self.drain_node(*node),
            Command::ResumeNode { node } => self.resume_node(*node),
            Command::RemoveNode { node } => self.remove_node(*node),
            Command::ForgetNode { node } => self.forget_node(*node),
            Command::CreateVolume(new) => self.create_volume(new),
            Command::FinishImport { volume } => self.finish_import(*volume),
            Command::RenameVolume { volume, name } => self.rename_volume(*volume, name),
            Command::ResizeVolume { volume, size_bytes } => self.resize_volume(*volume, *size_bytes),
            Command::SetCodec { volume, codec } => self.set_codec(*volume, codec),
            Command::SetSchedule { volume, schedule } => self.set_schedule(*volume, schedule.as_ref()),
            Command::SetCopies { volume, copies, placement } => self.set_copies(*volume, *copies, placement),
            Command::TrashVolume { volume, expires_ms, now_ms } => self.trash_volume(*volume, *expires_ms, *now_ms),
            Command::RestoreVolume { volume, name } => self.restore_volume(*volume, name),
            Command::DeleteVolume { volume, with_snapshots } => self.delete_volume(*volume, *with_snapshots),
            Command::PurgeVolume { volume, removed_ms } => self.purge_volume(*volume, *removed_ms),
            Command::ChangeReplicas { volume, next } => self.change_replicas(*volume, next),
            Command::PlaceReplicas { volume, nodes } => self.place_replicas(*volume, nodes),
            Command::CreateSnapshots { cuts, now_ms } => self.create_snapshots(cuts, *now_ms),
            Command::RenameSnapshot { volume, name, to } => self.rename_snapshot(*volume, name, to),
            Command::RemoveSnapshots { volume, names } => self.remove_snapshots(*volume, names),
            Command::SetSetting { name, value } => self.set_setting(name, value.as_ref()),
            Command::SetAllowed { volume, names } => self.set_allowed(*volume, names),
            Command::SetLimits { volume, limits } => self.set_limits(*volume, *limits),
            Command::BeginRotation { node, certificate } => self.begin_rotation(*node, certificate),
            Command::ConfirmRotation { node, authority, stage } => self.confirm_rotation(*node, *authority, *stage),
            Command::CancelRotation { authority } => self.cancel_rotation(*authority),
        }
    }

    /// The cluster's id, once it exists.
    #[must_use]
    pub fn cluster(&self) -> Option<ClusterId> {
        self.cluster
    }

    /// A node, removed or not.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(&id)
    }

    /// All nodes, removed ones too, by id.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// All tokens, by id.
    pub fn tokens(&self) -> impl Iterator<Item = &Token> {
        self.tokens.values()
    }

    /// A token, expired or not.
    #[must_use]
    pub fn token(&self, id: TokenId) -> Option<&Token> {
        self.tokens.get(&id)
    }

    /// A volume, in the trash or not.
    #[must_use]
    pub fn volume(&self, id: VolumeId) -> Option<&Volume> {
        self.volumes.get(&id)
    }

    /// The volume that `name` means; none in the trash.
    #[must_use]
    pub fn volume_named(&self, name: &Name) -> Option<&Volume> {
        self.volumes.get(self.names.get(name)?)
    }

    /// All volumes, those in the trash too, by id.
    pub fn volumes(&self) -> impl Iterator<Item = &Volume> {
        self.volumes.values()
    }

    /// The snapshots of a volume, by name.
    pub fn snapshots(&self, volume: VolumeId) -> impl Iterator<Item = (&Name, &Snapshot)> {
        self.snapshots.get(&volume).into_iter().flatten()
    }

    /// A snapshot of a volume.
    #[must_use]
    pub fn snapshot(&self, volume: VolumeId, name: &Name) -> Option<&Snapshot> {
        self.snapshots.get(&volume)?.get(name)
    }

    /// A setting.
    #[must_use]
    pub fn setting(&self, name: &Name) -> Option<&Text> {
        self.settings.get(name)
    }

    /// All settings, by name.
    pub fn settings(&self) -> impl Iterator<Item = (&Name, &Text)> {
        self.settings.iter()
    }

    fn set_setting(&mut self, name: &Name, value: Option<&Text>) -> Result<Outcome, Rejection> {
        match value {
            None => {
                self.settings.remove(name);
            }
            Some(_) if self.settings.len() >= SETTINGS_MAX && !self.settings.contains_key(name) => {
                return Err(Rejection::Full(Limit::Settings));
            }
            Some(value) => {
                self.settings.insert(name.clone(), value.clone());
            }
        }
        Ok(Outcome::Done)
    }
}

/// The id after one of a kind.
fn after(id: u64) -> Result<u64, Rejection> {
    id.checked_add(1).ok_or(Rejection::Full(Limit::Ids))
}
