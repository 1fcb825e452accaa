//! What is done with the cluster's volumes.

use std::sync::Arc;
use std::time::Duration;

use net::config::raft::ProposeError;
use net::config::state::{
    Command, Configuration, Copies, NewVolume as NewConfigured, NodeState, Outcome, Rejection, VOLUME_BYTES_MAX,
    Volume, VolumeState, choose_placement,
};
use net::forward::SnapshotEntry;
use net::id::{NodeId, VolumeId};

use super::asking::Session;
use super::core::Core;
use super::{Cluster, ClusterError, NewVolume, Result, VolumeReport};
use crate::name::{SnapshotName, VolumeName};
use crate::node::{NodeError, is_hidden};
use crate::replica::operation::{Draft, Operation};

/// How long a new volume may take until it can be used.
pub(super) const READY_WAIT: Duration = Duration::from_secs(15);

/// How long a new volume waits for nodes that have a token and have not shown it yet.
const INVITED_WAIT: Duration = Duration::from_secs(3);

/// Between two looks whether it can.
pub(super) const READY_LOOK: Duration = Duration::from_millis(20);

/// A snapshot of a volume of the cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClusterSnapshot {
    /// Its name.
    pub name: SnapshotName,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_ms: u64,
}

impl Cluster {
    /// A volume of the cluster.
    ///
    /// # Errors
    /// [`ClusterError::NoSuchVolume`].
    pub fn volume(&self, name: &VolumeName) -> Result<VolumeReport> {
        self.volume_of(self.core.volume_named(name)?.id, name)
    }

    /// True if a volume of the cluster has this name, as far as this node knows.
    pub fn has_volume(&self, name: &VolumeName) -> bool {
        self.core.volume_named(name).is_ok()
    }

    /// The volume of this number, which was called so.
    pub(super) fn volume_of(&self, id: VolumeId, name: &VolumeName) -> Result<VolumeReport> {
        let configuration = self.core.configuration();
        let found = configuration.volume(id);
        let report = found.and_then(|it| self.core.volume_report(&configuration, it, &self.core.copies.list()));
        report.ok_or_else(|| ClusterError::NoSuchVolume(name.clone()))
    }

    /// Makes a volume; returns when it can be used.
    ///
    /// # Errors
    /// [`ClusterError::NameTaken`], [`ClusterError::TooFewNodes`].
    pub fn create(&self, volume: &NewVolume) -> Result<VolumeReport> {
        let id = self.make(volume, VolumeState::Ready)?;
        self.begin_log(id, volume)?;
        self.volume_of(id, &volume.name)
    }

    /// Has the cluster know of a volume on nodes that are chosen.
    pub(super) fn make(&self, volume: &NewVolume, state: VolumeState) -> Result<VolumeId> {
        check_size(volume.size_bytes)?;
        let copies = Copies::of(volume.replicas);
        let placement = self.place(copies)?;
        let primary = placement.iter().copied().find(|node| *node == self.core.me);
        let primary = primary.or(placement.first().copied()).unwrap_or(self.core.me);
        let new = NewConfigured {
            name: volume.name.as_str().parse()?,
            size_bytes: volume.size_bytes,
            codec: volume.codec.to_string().parse()?,
            state,
            origin: None,
            copies,
            primary,
            placement,
            now_ms: self.core.wall_ms(),
        };
        self.configured(new, &volume.name)
    }

    /// Waits until a new volume can be used, and has its log begin with the size, so that whoever gets all of the log one day gets
    /// that too.
    pub(super) fn begin_log(&self, id: VolumeId, volume: &NewVolume) -> Result<()> {
        self.wait_usable(id, &volume.name)?;
        order(&Session::new(self.core(), id), Operation::Resize { size_bytes: volume.size_bytes })
    }

    /// Has the cluster know of a volume.
    pub(super) fn configured(&self, new: NewConfigured, name: &VolumeName) -> Result<VolumeId> {
        match self.core.propose(Command::CreateVolume(new)) {
            Err(ProposeError::Rejected(Rejection::VolumeNameTaken(_))) => Err(ClusterError::NameTaken(name.clone())),
            made => match made? {
                Outcome::Volume(id) => Ok(id),
                _ => Ok(self.core.volume_named(name)?.id),
            },
        }
    }

    /// Where a new volume is put. Nodes that are about to be members are waited for, and for a moment those that were invited.
    fn place(&self, copies: Copies) -> Result<Vec<NodeId>> {
        let clock = Arc::clone(self.core.node.store().clock());
        let begun = clock.monotonic();
        loop {
            let configuration = self.core.fresh_configuration()?;
            if let Ok(placement) = choose_placement(&configuration, copies, Some(self.core.me)) {
                return Ok(placement);
            }
            let wait = match configuration.nodes().any(|node| node.state == NodeState::Joining) {
                true => READY_WAIT,
                false if self.has_invited(&configuration) => INVITED_WAIT,
                false => Duration::ZERO,
            };
            if clock.monotonic() - begun >= wait {
                let found = configuration.nodes().filter(|node| node.takes_replicas()).count();
                return Err(ClusterError::TooFewNodes { wanted: copies.replicas, found });
            }
            self.core.wait_change(READY_LOOK);
        }
    }

    /// Whether there is a token that nobody has used and still can.
    fn has_invited(&self, configuration: &Configuration) -> bool {
        let now_ms = self.core.wall_ms();
        configuration.tokens().any(|token| token.used_by.is_none() && token.expires_ms > now_ms)
    }

    /// Waits until a new volume is served.
    pub(super) fn wait_usable(&self, id: VolumeId, name: &VolumeName) -> Result<()> {
        let clock = Arc::clone(self.core.node.store().clock());
        let session = Session::new(self.core(), id);
        let begun = clock.monotonic();
        while clock.monotonic() - begun < READY_WAIT {
            if session.is_served()? {
                return Ok(());
            }
            self.core.wait_change(READY_LOOK);
        }
        Err(ClusterError::NotReady(name.clone()))
    }

    /// Removes a volume and its content, with its snapshots if `with_snapshots`.
    ///
    /// # Errors
    /// [`ClusterError::NoSuchVolume`], [`ClusterError::InUse`], [`ClusterError::HasSnapshots`].
    pub fn remove(&self, name: &VolumeName, with_snapshots: bool) -> Result<()> {
        let volume = self.removable(name, with_snapshots)?;
        self.changed(Command::DeleteVolume { volume: volume.id, with_snapshots })
    }

    /// A volume, if it may go.
    pub(super) fn removable(&self, name: &VolumeName, with_snapshots: bool) -> Result<Volume> {
        let volume = self.core.volume_named(name)?;
        self.check_unused(name, &volume)?;
        // What is still being made has none.
        let may_have_some = !with_snapshots && volume.state == VolumeState::Ready;
        if may_have_some && !self.snapshots(name)?.is_empty() {
            return Err(ClusterError::HasSnapshots(name.clone()));
        }
        Ok(volume)
    }

    pub(super) fn check_unused(&self, name: &VolumeName, volume: &Volume) -> Result<()> {
        match self.core.open.lock().connections(volume.id) {
            0 => Ok(()),
            connections => Err(ClusterError::InUse { name: name.clone(), connections }),
        }
    }

    /// That no client of this node reads a snapshot, here or at another node.
    fn check_snapshot_unused(&self, name: &SnapshotName, volume: VolumeId) -> Result<()> {
        // A node without a replica has none of them.
        let known = self.core.node.replica_snapshots(volume).unwrap_or_default();
        let here = known.iter().find(|known| known.name.snapshot == name.snapshot).map_or(0, |known| known.connections);
        let elsewhere = self.core.open_snapshots.lock().connections(volume, name.snapshot.as_str());
        match here + elsewhere {
            0 => Ok(()),
            connections => Err(NodeError::InUse { name: name.clone().into(), connections }.into()),
        }
    }

    /// Makes a volume larger, or smaller if `allow_shrink`.
    ///
    /// # Errors
    /// [`ClusterError::NoSuchVolume`], [`ClusterError::WouldShrink`], [`ClusterError::InUse`], [`ClusterError::TakenIn`].
    pub fn resize(&self, name: &VolumeName, size_bytes: u64, allow_shrink: bool) -> Result<VolumeReport> {
        let volume = self.core.ready_volume(name)?;
        let (id, from_bytes) = (volume.id, volume.size_bytes);
        check_size(size_bytes)?;
        if let Some(taker) = self.core.taker_of(id)? {
            return Err(self.core.taken_in(name, taker));
        }
        if size_bytes < from_bytes {
            if !allow_shrink {
                return Err(ClusterError::WouldShrink { name: name.clone(), from_bytes, to_bytes: size_bytes });
            }
            self.check_unused(name, &volume)?;
            // Nobody asks for what lies beyond before it goes.
            self.changed(Command::ResizeVolume { volume: id, size_bytes })?;
            self.ordered(&volume, Operation::Resize { size_bytes })?;
        } else {
            // Nobody asks for what lies beyond before it is there.
            self.ordered(&volume, Operation::Resize { size_bytes })?;
            self.changed(Command::ResizeVolume { volume: id, size_bytes })?;
        }
        self.core.settle_size(&Session::new(self.core(), id))?;
        self.volume(name)
    }

    /// Has every replica do something, durably.
    pub(super) fn ordered(&self, volume: &Volume, operation: Operation) -> Result<()> {
        order(&Session::new(self.core(), volume.id), operation)
    }

    /// Changes how many copies a volume has.
    ///
    /// # Errors
    /// [`ClusterError::NoSuchVolume`], [`ClusterError::TooFewNodes`].
    pub fn set_replicas(&self, name: &VolumeName, replicas: u8) -> Result<VolumeReport> {
        let volume = self.core.ready_volume(name)?;
        let configuration = self.core.fresh_configuration()?;
        let mut placement = volume.replicas.placement.clone();
        while placement.len() > replicas.into() {
            // The primary stays, and who is a member rather than who is to become one.
            let set = &volume.replicas;
            let worth = |node: &NodeId| (*node == set.primary, set.is_member(*node), std::cmp::Reverse(node.0));
            let least = placement.iter().copied().min_by_key(worth);
            placement.retain(|node| Some(*node) != least);
        }
        let copies = Copies::of(replicas);
        if placement.len() < replicas.into() {
            let whole = choose_placement(&configuration, copies, Some(volume.replicas.primary)).map_err(|_| {
                let found = configuration.nodes().filter(|node| node.takes_replicas()).count();
                ClusterError::TooFewNodes { wanted: replicas, found }
            })?;
            let more = whole.into_iter().filter(|node| !placement.contains(node)).collect::<Vec<_>>();
            placement.extend(more.into_iter().take(usize::from(replicas) - placement.len()));
        }
        placement.sort_unstable();
        self.changed(Command::SetCopies { volume: volume.id, copies, placement })?;
        self.volume(name)
    }

    /// Moves a replica of a volume to a node that has none: the one on `from`, or one that is chosen.
    ///
    /// # Errors
    /// [`ClusterError::NoSuchVolume`], [`ClusterError::NoSuchNode`].
    pub fn move_replica(&self, name: &VolumeName, from: Option<&str>, to: &str) -> Result<VolumeReport> {
        let volume = self.core.ready_volume(name)?;
        let (set, to) = (&volume.replicas, self.node(to)?);
        let from = match from {
            Some(from) => Some(self.node(from)?),
            // The primary last: it would have to hand over first.
            None => set.placement.iter().copied().min_by_key(|node| *node == set.primary),
        };
        let stay = set.placement.iter().copied().filter(|node| Some(*node) != from && *node != to);
        let mut nodes: Vec<NodeId> = stay.chain([to]).collect();
        nodes.sort_unstable();
        self.changed(Command::PlaceReplicas { volume: volume.id, nodes })?;
        self.volume(name)
    }

    /// The snapshots of a volume, from the oldest.
    ///
    /// # Errors
    /// [`ClusterError::NoSuchVolume`].
    pub fn snapshots(&self, name: &VolumeName) -> Result<Vec<ClusterSnapshot>> {
        let volume = self.core.ready_volume(name)?;
        let session = Session::new(self.core(), volume.id);
        let described = |(snapshot, entry): (VolumeName, SnapshotEntry)| {
            let name = SnapshotName { volume: name.clone(), snapshot };
            ClusterSnapshot { name, size_bytes: entry.size_bytes, created_ms: entry.created_ms }
        };
        Ok(named(session.snapshots()?).map(described).collect())
    }

    /// Freezes what a volume holds now, on every replica at the same point of its order of writes.
    ///
    /// # Errors
    /// [`ClusterError::NoSuchVolume`], [`ClusterError::Snapshot`].
    pub fn snapshot(&self, name: &SnapshotName) -> Result<ClusterSnapshot> {
        let volume = self.core.ready_volume(&name.volume)?;
        self.check_free(name)?;
        self.ordered(&volume, Operation::Snapshot { name: name.snapshot.clone() })?;
        self.wait_snapshot(name, true)?.ok_or_else(|| ClusterError::NotReady(name.volume.clone()))
    }

    /// Removes a snapshot from every replica.
    ///
    /// # Errors
    /// [`ClusterError::NoSuchVolume`], [`ClusterError::Snapshot`]; [`NodeError::InUse`] if a client of this node has it open.
    pub fn remove_snapshot(&self, name: &SnapshotName) -> Result<()> {
        let volume = self.core.ready_volume(&name.volume)?;
        self.check_snapshot(name)?;
        self.check_snapshot_unused(name, volume.id)?;
        self.ordered(&volume, Operation::RemoveSnapshot { name: name.snapshot.clone() })?;
        self.wait_snapshot(name, false).map(drop)
    }

    /// Gives a snapshot another name among those of its volume.
    ///
    /// # Errors
    /// [`ClusterError::NoSuchVolume`], [`ClusterError::Snapshot`]; [`NodeError::InUse`] if a client of this node has it open.
    pub fn rename_snapshot(&self, name: &SnapshotName, to: &VolumeName) -> Result<ClusterSnapshot> {
        let volume = self.core.ready_volume(&name.volume)?;
        self.check_snapshot(name)?;
        self.check_snapshot_unused(name, volume.id)?;
        let new = SnapshotName { volume: name.volume.clone(), snapshot: to.clone() };
        self.check_free(&new)?;
        self.ordered(&volume, Operation::RenameSnapshot { name: name.snapshot.clone(), to: to.clone() })?;
        self.wait_snapshot(&new, true)?.ok_or_else(|| ClusterError::NotReady(name.volume.clone()))
    }

    /// Puts a volume back to what a snapshot of it holds. Ends what a node that is away has begun to receive into it.
    ///
    /// # Errors
    /// [`ClusterError::NoSuchVolume`], [`ClusterError::Snapshot`], [`ClusterError::InUse`], [`ClusterError::TakenIn`].
    pub fn roll_back(&self, name: &SnapshotName) -> Result<VolumeReport> {
        let volume = self.core.ready_volume(&name.volume)?;
        self.check_unused(&name.volume, &volume)?;
        let size_bytes = self.check_snapshot(name)?.size_bytes;
        let mut operations = vec![Operation::RollBack { to: name.snapshot.clone() }];
        operations.extend(self.end_of_intake(&name.volume, volume.id)?);
        let resize = Command::ResizeVolume { volume: volume.id, size_bytes };
        // Nobody asks for what lies beyond the smaller of the two meanwhile.
        if size_bytes < volume.size_bytes {
            self.changed(resize.clone())?;
        }
        let session = Session::new(self.core(), volume.id);
        order_together(&session, &operations)?;
        if size_bytes > volume.size_bytes {
            self.changed(resize)?;
        }
        self.core.settle_size(&session)?;
        self.volume(&name.volume)
    }

    /// That a snapshot can have this name.
    pub(super) fn check_free(&self, name: &SnapshotName) -> Result<()> {
        if is_hidden(&name.snapshot) {
            return Err(ClusterError::ReservedName(name.snapshot.clone()));
        }
        if self.snapshots(&name.volume)?.iter().any(|known| known.name == *name) {
            return Err(snapshot_error(name, true));
        }
        Ok(())
    }

    pub(super) fn check_snapshot(&self, name: &SnapshotName) -> Result<ClusterSnapshot> {
        let mut known = self.snapshots(&name.volume)?.into_iter();
        known.find(|known| known.name == *name).ok_or_else(|| snapshot_error(name, false))
    }

    /// Waits until the primary has a snapshot, or has it no longer.
    pub(super) fn wait_snapshot(&self, name: &SnapshotName, is_wanted: bool) -> Result<Option<ClusterSnapshot>> {
        let clock = Arc::clone(self.core.node.store().clock());
        let begun = clock.monotonic();
        loop {
            let found = self.snapshots(&name.volume)?.into_iter().find(|known| known.name == *name);
            if found.is_some() == is_wanted || clock.monotonic() - begun >= READY_WAIT {
                return Ok(found);
            }
            self.core.wait_change(READY_LOOK);
        }
    }
}

impl Core {
    /// Has the configuration say the size that the last of all resizes gave the volume: another node may have ordered one
    /// meanwhile, and have told the configuration earlier or later. Whoever tells it last looks again, so that the log's word counts.
    pub(super) fn settle_size(&self, session: &Session) -> Result<()> {
        let id = session.volume;
        loop {
            let size_bytes = session.size_bytes()?;
            let configuration = self.fresh_configuration()?;
            match configuration.volume(id) {
                Some(volume) if volume.size_bytes != size_bytes => {
                    self.propose(Command::ResizeVolume { volume: id, size_bytes })?;
                }
                _ => return Ok(()),
            }
        }
    }
}

/// The snapshots that people see.
pub(super) fn named(entries: Vec<SnapshotEntry>) -> impl Iterator<Item = (VolumeName, SnapshotEntry)> {
    let parsed = entries.into_iter().filter_map(|entry| Some((entry.name.parse().ok()?, entry)));
    parsed.filter(|(name, _)| !is_hidden(name))
}

/// Has every replica of a session's volume do something, durably.
pub(super) fn order(session: &Session, operation: Operation) -> Result<()> {
    order_together(session, &[operation])
}

/// The same, of what is done at once or not at all.
pub(super) fn order_together(session: &Session, operations: &[Operation]) -> Result<()> {
    session.write(&[Draft::of(operations)])?;
    Ok(session.flush()?)
}

pub(super) fn check_size(size_bytes: u64) -> Result<()> {
    match size_bytes {
        1..=VOLUME_BYTES_MAX => Ok(()),
        _ => Err(lsm_store::Error::Invalid { what: "a volume's size", must: "1 byte to 1 PiB" }.into()),
    }
}

pub(super) fn snapshot_error(name: &SnapshotName, exists: bool) -> ClusterError {
    ClusterError::Snapshot { volume: name.volume.clone(), snapshot: name.snapshot.clone(), exists }
}
