//! A snapshot that comes into a volume of the cluster that is there: what a node has staged and proved becomes what every replica
//! holds.
//!
//! The volume's log carries it, in steps of which each may be the last before a crash:
//! 1. what the volume holds is frozen, as a snapshot that people do not see. From then on whoever freezes the volume gets that, at
//!    every replica, and who opens it is refused;
//! 2. the volume goes back to the base if it was changed since, and gets its new size and what differs;
//! 3. what it holds then is frozen, unseen too, and its root is compared;
//! 4. one record gives that snapshot its name and removes the first.
//!
//! As long as the first is there, the volume is put back to it: at once by who failed, at its next start by the node that ended, and
//! by the volume's primary if that node was removed from the cluster. The node notes when it goes on to the second step: before that
//! the volume has not changed, and only the snapshot goes. `docs/decisions/2026-11-26-send-and-receive.md` says why.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use lsm_store::id::VolumeId as StoreVolumeId;
use lsm_store::request::{BlockState, Write, Zeroing};
use lsm_store::store::Volume as StoreVolume;
use net::config::state::{Command, Node as ClusterNode, Volume};
use net::id::{NodeId, VolumeId};
use net::transport::Transport;
use parking_lot::Mutex;

use super::asking::Session;
use super::core::Core;
use super::export::records;
use super::imports::PATIENCE;
use super::volumes::{READY_LOOK, order, order_together, snapshot_error};
use super::{Cluster, ClusterError, ClusterSnapshot, Result};
use crate::export::Changes;
use crate::name::{SnapshotName, VolumeName};
use crate::node::{IntakeStage, Node, VolumeChanges, after_name, before_name, taker_of};
use crate::replica::operation::{Draft, Operation, Packer};
use crate::root::Root;
use crate::transfer::{TransferError, Watch, root_of};

/// Changed and unchanged ranges asked for at once.
const EXTENTS_MAX: usize = 1024;

/// Bytes ordered at once, about.
const BATCH_BYTES: usize = 4 << 20;

/// Ranges of zeros ordered at once.
const ZEROS_MAX: usize = 1024;

/// How long a volume may not be served until nobody can tell whether a snapshot comes into it: longer than another node needs to
/// take over, and shorter than a client may take to open a volume.
const TELL_PATIENCE: Duration = Duration::from_secs(8);

/// The snapshots that a node brings into volumes.
pub(super) struct Intakes {
    /// The volumes of those that are at work, or are being undone.
    under_way: Mutex<BTreeSet<VolumeId>>,
    /// Those that ended and are still to be undone.
    left: Mutex<BTreeMap<VolumeId, IntakeStage>>,
}

impl Intakes {
    /// Those that the node left as it ended.
    pub(super) fn left_by(node: &Node) -> Self {
        Self { under_way: Mutex::default(), left: Mutex::new(node.intakes().into_iter().collect()) }
    }

    fn is_under_way(&self, volume: VolumeId) -> bool {
        self.under_way.lock().contains(&volume)
    }
}

/// A snapshot that is to come into a volume.
pub(super) struct Arriving<'a> {
    pub(super) volume: VolumeId,
    /// What it is to be called.
    pub(super) name: &'a SnapshotName,
    /// What it goes on from: its name, and what this node's store has of it.
    pub(super) base: &'a SnapshotName,
    pub(super) base_id: StoreVolumeId,
    /// What it holds, by this node's store.
    pub(super) content: &'a StoreVolume,
    pub(super) root: Root,
    /// What the volume holds beside the base may be lost.
    pub(super) force: bool,
}

/// How far one has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The volume holds what it did.
    Frozen,
    /// It does not any more.
    Changing,
    /// It may have come to its end.
    Naming,
    Over,
}

/// One on its way. Dropped before its end, it puts the volume back to what that held.
struct Intake<'a> {
    cluster: &'a Arc<Cluster>,
    session: Session,
    arriving: &'a Arriving<'a>,
    step: Step,
}

impl Cluster {
    /// Has every replica of a volume hold what this node's store has, and names that: all of it or nothing.
    ///
    /// # Errors
    /// [`ClusterError::NoSuchVolume`], [`ClusterError::InUse`], [`ClusterError::Snapshot`], [`ClusterError::TakenIn`];
    /// [`TransferError::Changed`]; [`ClusterError::Disturbed`]; [`ClusterError::NotHere`] if this node lost its replica
    /// meanwhile; those of a client's write to the volume. It holds what it did before then, or will as soon as it is served;
    /// unless nobody told in time what came of the last record, which may have given the snapshot its name.
    pub(super) fn take_in(self: &Arc<Self>, arriving: &Arriving<'_>, watch: &mut Watch<'_>) -> Result<ClusterSnapshot> {
        let mut intake = Intake::begin(self, arriving)?;
        intake.freeze()?;
        intake.change()?;
        intake.prove(watch)?;
        intake.finish()
    }

    /// What a rollback of a volume has to do besides, to end what a node that is away has begun to bring into it.
    ///
    /// # Errors
    /// [`ClusterError::TakenIn`] if it is not away; those of [`Core::taker_of`].
    pub(super) fn end_of_intake(&self, name: &VolumeName, volume: VolumeId) -> Result<Vec<Operation>> {
        let core = &self.core;
        let Some(taker) = core.taker_of(volume)? else { return Ok(Vec::new()) };
        let is_at_work =
            if taker == core.me { core.intakes.is_under_way(volume) } else { core.transport().link(taker).is_some() };
        if is_at_work { Err(core.taken_in(name, taker)) } else { Ok(removal(taker).into()) }
    }
}

/// Ends an intake where the volume is.
fn removal(taker: NodeId) -> [Operation; 2] {
    [after_name(taker), before_name(taker)].map(|name| Operation::RemoveSnapshot { name })
}

/// True if two snapshots of a volume, or a snapshot and the volume, differ.
pub(super) fn differ(session: &Session, from: &VolumeName, to: Option<&VolumeName>) -> Result<bool> {
    let mut at = 0;
    loop {
        let page = session.changes(from.as_str(), to.map(VolumeName::as_str), (at, u64::MAX - at))?;
        let (before_bytes, size_bytes) = page.sizes_bytes;
        if before_bytes != size_bytes || page.extents.iter().any(|(_, changed)| *changed) {
            return Ok(true);
        }
        let said = page.extents.iter().map(|(len, _)| len).sum::<u64>();
        at += said;
        if at >= size_bytes || said == 0 {
            return Ok(at < size_bytes);
        }
    }
}

impl<'a> Intake<'a> {
    fn begin(cluster: &'a Arc<Cluster>, arriving: &'a Arriving<'a>) -> Result<Self> {
        let (core, id) = (cluster.core(), arriving.volume);
        if !core.intakes.under_way.lock().insert(id) {
            return Err(core.taken_in(&arriving.name.volume, core.me));
        }
        let session = Session::with_patience(Arc::clone(&core), id, PATIENCE);
        let intake = Self { cluster, session, arriving, step: Step::Over };
        cluster.check_unused(&arriving.name.volume, &intake.volume()?)?;
        cluster.check_free(arriving.name)?;
        Ok(intake)
    }

    fn core(&self) -> &Arc<Core> {
        &self.session.core
    }

    /// The volume, if it is still the one that the name means.
    fn volume(&self) -> Result<Volume> {
        let name = &self.arriving.name.volume;
        let found = self.core().ready_volume(name)?;
        if found.id == self.arriving.volume { Ok(found) } else { Err(ClusterError::NoSuchVolume(name.clone())) }
    }

    /// Freezes what the volume holds.
    fn freeze(&mut self) -> Result<()> {
        let (core, volume) = (Arc::clone(self.core()), self.arriving.volume);
        // What could not be undone of an earlier one.
        let earlier = core.intakes.left.lock().get(&volume).copied();
        core.undo_left(&self.session, earlier)?;
        core.node.note_intake(volume, IntakeStage::Frozen)?;
        core.intakes.left.lock().remove(&volume);
        self.step = Step::Frozen;
        loop {
            order(&self.session, Operation::Snapshot { name: before_name(core.me) })?;
            let known = self.session.snapshots()?;
            let takers = known.iter().filter_map(|entry| taker_of(&entry.name.parse().ok()?));
            match takers.min_by_key(|taker| *taker == core.me) {
                Some(taker) if taker == core.me => return Ok(()),
                Some(other) => return Err(core.taken_in(&self.arriving.name.volume, other)),
                // Another one kept this one out, and has come to its end since.
                None => {}
            }
        }
    }

    /// Has the volume hold what arrives.
    fn change(&mut self) -> Result<()> {
        let Arriving { name, base, content, .. } = self.arriving;
        let before = before_name(self.core().me);
        let was_changed = differ(&self.session, &base.snapshot, Some(&before))?;
        if was_changed && !self.arriving.force {
            return Err(TransferError::Changed { volume: name.volume.clone(), base: (*base).clone() }.into());
        }
        let (volume, size_bytes) = (self.volume()?, content.size_bytes());
        let differences = self.core().node.changes_between(self.arriving.base_id, content.id())?;
        self.core().node.note_intake(volume.id, IntakeStage::Changing)?;
        self.step = Step::Changing;
        if size_bytes < volume.size_bytes {
            // Nobody asks for what lies beyond before it goes.
            self.core().propose(Command::ResizeVolume { volume: volume.id, size_bytes })?;
        }
        let back = was_changed.then(|| Operation::RollBack { to: base.snapshot.clone() });
        let resize = (size_bytes != differences.from().1).then_some(Operation::Resize { size_bytes });
        let first: Vec<_> = back.into_iter().chain(resize).collect();
        if !first.is_empty() {
            order_together(&self.session, &first)?;
        }
        self.write(&differences)
    }

    fn write(&self, differences: &VolumeChanges) -> Result<()> {
        let (content, mut batch) = (self.arriving.content, Batch::default());
        let size = differences.from().1.max(differences.to().1);
        let mut at = 0;
        while at < size {
            for extent in differences.extents(at, size - at, EXTENTS_MAX)? {
                let end = at + extent.len;
                // What lies beyond the end went with the size.
                let inside = end.min(content.size_bytes());
                if extent.changed && at < inside {
                    batch.add(&self.session, content, (at, inside))?;
                }
                at = end;
            }
        }
        Ok(batch.order(&self.session)?)
    }

    /// Freezes what the volume holds now, and proves that it is what arrived.
    fn prove(&self, watch: &mut Watch<'_>) -> Result<()> {
        let (core, after) = (self.core(), after_name(self.core().me));
        let Arriving { volume, name, .. } = self.arriving;
        order(&self.session, Operation::Snapshot { name: after.clone() })?;
        self.wait_all_here()?;
        let held = core.node.replica_snapshot(*volume, &after)?;
        let found = root_of(held.volume(), watch)?.root;
        if found == self.arriving.root { Ok(()) } else { Err(ClusterError::Disturbed(name.volume.clone())) }
    }

    /// Waits until this node's store has all that was written.
    fn wait_all_here(&self) -> Result<()> {
        let (core, clock) = (self.core(), Arc::clone(self.core().node.store().clock()));
        let begun = clock.monotonic();
        while !core.has_all_here(self.arriving.volume)? {
            if core.is_stopping() || clock.monotonic() - begun >= PATIENCE {
                return Err(ClusterError::NotHere { name: self.arriving.base.clone() });
            }
            core.wait_change(READY_LOOK);
        }
        Ok(())
    }

    /// Gives the snapshot its name.
    fn finish(&mut self) -> Result<ClusterSnapshot> {
        let (me, name) = (self.core().me, self.arriving.name);
        let (after, before) = (after_name(me), before_name(me));
        let naming = Operation::RenameSnapshot { name: after.clone(), to: name.snapshot.clone() };
        self.step = Step::Naming;
        order_together(&self.session, &[naming, Operation::RemoveSnapshot { name: before }])?;
        if self.session.snapshots()?.iter().any(|entry| entry.name == after.as_str()) {
            // Another node made a snapshot of this name just before.
            self.step = Step::Changing;
            return Err(snapshot_error(name, true));
        }
        self.end();
        let named = self.cluster.wait_snapshot(name, true)?;
        named.ok_or_else(|| ClusterError::NotReady(name.volume.clone()))
    }

    /// Nothing is to be undone any more.
    fn end(&mut self) {
        self.step = Step::Over;
        let (core, volume) = (self.core(), self.arriving.volume);
        let forgotten = core.node.forget_intake(volume).map_err(ClusterError::from);
        if let Err(error) = forgotten.and_then(|()| core.settle_size(&self.session)) {
            // The next start forgets it, and nodes look after sizes.
            tracing::warn!(volume = %self.arriving.name.volume, %error, "what came into a volume is not tidied up");
        }
    }
}

impl Drop for Intake<'_> {
    fn drop(&mut self) {
        let (core, volume, step) = (Arc::clone(self.core()), self.arriving.volume, self.step);
        let undone = match step {
            Step::Over => Ok(()),
            // What clients of other nodes have written meanwhile stays.
            Step::Frozen => order_together(&self.session, &removal(core.me)),
            Step::Changing => core.undo_intake(&self.session, core.me, Some(&self.arriving.base.snapshot)),
            Step::Naming => core.undo_intake(&self.session, core.me, None),
        };
        let forgotten = undone.and_then(|()| match step {
            Step::Over => Ok(()),
            _ => Ok(core.node.forget_intake(volume)?),
        });
        if let Err(error) = forgotten {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(%volume, error, "a volume is put back later to what it held before a snapshot came into it");
            let stage = if step == Step::Frozen { IntakeStage::Frozen } else { IntakeStage::Changing };
            core.intakes.left.lock().insert(volume, stage);
        }
        core.intakes.under_way.lock().remove(&volume);
    }
}

/// Content that is ordered together.
#[derive(Default)]
struct Batch {
    writes: Vec<(u64, Vec<u8>)>,
    bytes: usize,
    zeros: Vec<Operation>,
    packer: Packer,
}

impl Batch {
    /// Adds what a range of `content` holds, whose first byte and end these are.
    fn add(&mut self, session: &Session, content: &StoreVolume, (mut at, end): (u64, u64)) -> lsm_store::Result<()> {
        while at < end {
            for extent in content.block_status(at, end - at, EXTENTS_MAX)? {
                let next = at + extent.len;
                match extent.state {
                    BlockState::Data => self.add_data(session, content, (at, next))?,
                    BlockState::Zero | BlockState::Hole => {
                        let zeros = Operation::Zero { offset: at, len: extent.len, zeroing: Zeroing::Hole };
                        self.zeros.push(zeros);
                        self.order_if(session, self.zeros.len() >= ZEROS_MAX)?;
                    }
                }
                at = next;
            }
        }
        Ok(())
    }

    fn add_data(&mut self, session: &Session, content: &StoreVolume, (at, end): (u64, u64)) -> lsm_store::Result<()> {
        for offset in (at..end).step_by(BATCH_BYTES) {
            let len = (end - offset).min(BATCH_BYTES as u64) as usize;
            let mut data = vec![0; len];
            content.read(offset, len)?.copy_to(&mut data);
            self.writes.push((offset, data));
            self.bytes += len;
            self.order_if(session, self.bytes >= BATCH_BYTES)?;
        }
        Ok(())
    }

    fn order_if(&mut self, session: &Session, is_due: bool) -> lsm_store::Result<()> {
        if is_due { self.order(session) } else { Ok(()) }
    }

    fn order(&mut self, session: &Session) -> lsm_store::Result<()> {
        let writes: Vec<_> = self.writes.iter().map(|(offset, data)| Write { offset: *offset, data }).collect();
        let mut drafts = records(&writes, &mut self.packer);
        if !self.zeros.is_empty() {
            drafts.push(Draft::of(&self.zeros));
        }
        if !drafts.is_empty() {
            session.write(&drafts)?;
        }
        self.writes.clear();
        self.zeros.clear();
        self.bytes = 0;
        Ok(())
    }
}

impl Core {
    /// The node that brings a snapshot into a volume now, if there is one. The volume's primary tells: other replicas may not
    /// have applied yet that it began.
    ///
    /// # Errors
    /// Those of [`Session::snapshots`]; [`lsm_store::Error::Io`] if nobody serves the volume for [`TELL_PATIENCE`].
    pub(super) fn taker_of(self: &Arc<Self>, volume: VolumeId) -> lsm_store::Result<Option<NodeId>> {
        if self.intakes.is_under_way(volume) {
            return Ok(Some(self.me));
        }
        let known = Session::with_patience(Arc::clone(self), volume, TELL_PATIENCE).snapshots()?;
        Ok(known.iter().find_map(|entry| taker_of(&entry.name.parse().ok()?)))
    }

    /// Why a volume cannot be used while this node brings a snapshot into it.
    pub(super) fn taken_in(&self, volume: &VolumeName, taker: NodeId) -> ClusterError {
        let configuration = self.configuration();
        let name = configuration.node(taker).map(|node| node.about.name.as_str().to_owned());
        let node = name.unwrap_or_else(|| taker.to_string());
        ClusterError::TakenIn { volume: volume.clone(), node }
    }

    /// Puts a volume back to what it held before a node began to bring a snapshot into it, if that has not come to its end. With a
    /// base, it has not: if what the volume held is known no more, that was rolled back to by hand, or was lost for the base.
    fn undo_intake(&self, session: &Session, taker: NodeId, base: Option<&VolumeName>) -> Result<()> {
        if self.volume(session.volume).is_none() {
            return Ok(());
        }
        let (known, before, after) = (session.snapshots()?, before_name(taker), after_name(taker));
        let has = |name: &VolumeName| known.iter().any(|entry| entry.name == name.as_str());
        let base = base.filter(|_| !has(&before)).cloned();
        if !has(&before) && !has(&after) && base.is_none() {
            return Ok(());
        }
        // There is no rollback to what is not there, and what came too late to be removed with it is removed now.
        let back = base.into_iter().chain([before]).map(|to| Operation::RollBack { to });
        let operations: Vec<_> = back.chain(removal(taker)).collect();
        order_together(session, &operations)?;
        self.settle_size(session)
    }

    /// Undoes what this node has left in a volume. That which was only frozen has not changed, and keeps what clients of other nodes
    /// have written since.
    fn undo_left(&self, session: &Session, stage: Option<IntakeStage>) -> Result<()> {
        match stage {
            Some(IntakeStage::Frozen) if self.volume(session.volume).is_none() => Ok(()),
            Some(IntakeStage::Frozen) => order_together(session, &removal(self.me)),
            Some(IntakeStage::Changing) | None => self.undo_intake(session, self.me, None),
        }
    }

    /// Puts volumes back that this node has left half changed, and of those that it serves also what nodes have left that are gone.
    pub(super) fn settle_intakes(self: &Arc<Self>) {
        let left: Vec<_> = self.intakes.left.lock().keys().copied().collect();
        left.into_iter().for_each(|volume| self.settle_own_intake(volume));
        let served = self.served();
        for (volume, taker) in
            served.into_iter().flat_map(|it| self.node.takers(it).into_iter().map(move |by| (it, by)))
        {
            if let Err(error) = self.settle_intake_of_lost(volume, taker) {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(%volume, error, "what a lost node has begun to bring into a volume stays for now");
            }
        }
    }

    /// Undoes what this node has left in a volume, and lets no other begin meanwhile. If one is under way, that does it or leaves it.
    fn settle_own_intake(self: &Arc<Self>, volume: VolumeId) {
        if self.intakes.under_way.lock().insert(volume) {
            let stage = self.intakes.left.lock().get(&volume).copied();
            if stage.is_some_and(|stage| self.forget_undone(volume, stage).is_ok()) {
                self.intakes.left.lock().remove(&volume);
            }
            self.intakes.under_way.lock().remove(&volume);
        }
    }

    fn forget_undone(self: &Arc<Self>, volume: VolumeId, stage: IntakeStage) -> Result<()> {
        self.undo_left(&Session::of_duty(Arc::clone(self), volume), Some(stage))?;
        Ok(self.node.forget_intake(volume)?)
    }

    fn settle_intake_of_lost(self: &Arc<Self>, volume: VolumeId, taker: NodeId) -> Result<()> {
        if self.fresh_configuration()?.node(taker).is_some_and(ClusterNode::is_present) {
            return Ok(());
        }
        self.undo_intake(&Session::of_duty(Arc::clone(self), volume), taker, None)
    }
}

#[cfg(test)]
mod tests;
