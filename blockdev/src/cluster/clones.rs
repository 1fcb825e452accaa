//! Clones of the cluster's volumes, on the nodes that hold their source.
//!
//! A clone is made in steps, each of which may be the last before a crash:
//! 1. the cluster agrees on a volume that is not complete: it has a number and nodes, and nobody begins with it;
//! 2. the source's log has every replica of the source freeze what the clone starts with, its seed;
//! 3. replicas of the clone begin where there is a seed;
//! 4. the clone is served, so that somebody has all of it: it is complete, and begins with content where there is no seed.
//!
//! Whoever leads the agreement completes what somebody else has left, or gives it up; the source's primary removes seeds that
//! are of no use any more (`duties`). `docs/decisions/2026-11-26-clones-of-replicated-volumes.md` says why.

use std::sync::Arc;
use std::time::Duration;

use net::config::raft::ProposeError;
use net::config::state::{
    Command, Configuration, NewVolume as NewConfigured, Node, Origin, Rejection, Volume, VolumeState,
};
use net::id::{NodeId, VolumeId};

use super::asking::Session;
use super::core::Core;
use super::volumes::{READY_LOOK, READY_WAIT};
use super::{Cluster, ClusterError, Result, VolumeReport};
use crate::name::{ExportName, VolumeName};
use crate::node::seed_name;
use crate::replica::operation::Operation;

impl Cluster {
    /// Makes a volume that holds what `of` holds at some moment of the call, at a cost that does not depend on how much that is.
    /// From then on neither knows of the other.
    ///
    /// # Errors
    /// [`ClusterError::NoSuchVolume`], [`ClusterError::Snapshot`], [`ClusterError::NameTaken`];
    /// [`ClusterError::TooFewNodes`] if too few of the source's nodes take replicas; [`ClusterError::NotReady`] if it
    /// takes long: then it is completed later, or given up.
    pub fn clone_volume(&self, of: &ExportName, name: &VolumeName) -> Result<VolumeReport> {
        let source = self.core.ready_volume(of.volume())?;
        let (snapshot, size_bytes) = match of {
            ExportName::Volume(_) => (None, source.size_bytes),
            ExportName::Snapshot(of) => (Some(of.snapshot.clone()), self.check_snapshot(of)?.size_bytes),
        };
        let configuration = self.core.fresh_configuration()?;
        let new = configured(&configuration, &source, name, size_bytes, self.core.wall_ms())?;
        let clone = self.configured(new, name)?;
        self.ordered(&source, Operation::Seed { clone, of: snapshot })?;
        let Some(seed_bytes) = self.wait_seed(source.id, clone, READY_WAIT)? else {
            return Err(self.without_seed(of, name, clone));
        };
        self.core.note_change();
        self.wait_usable(clone, name)?;
        self.core.complete_clone(clone, Some(seed_bytes))?;
        self.volume(name)
    }

    /// The size in bytes of a clone's seed, once the source's primary has it; `None` if it gets none.
    fn wait_seed(&self, source: VolumeId, clone: VolumeId, patience: Duration) -> Result<Option<u64>> {
        let (clock, session) = (Arc::clone(self.core.node.store().clock()), Session::new(self.core(), source));
        let begun = clock.monotonic();
        loop {
            let found = seed_bytes(&session, clone)?;
            if found.is_some() || clock.monotonic() - begun >= patience {
                return Ok(found);
            }
            self.core.wait_change(READY_LOOK);
        }
    }

    /// Why there is no seed: what was to be cloned is gone, and then so is the clone; or it takes long.
    fn without_seed(&self, of: &ExportName, name: &VolumeName, clone: VolumeId) -> ClusterError {
        let ExportName::Snapshot(of) = of else { return ClusterError::NotReady(name.clone()) };
        match self.check_snapshot(of) {
            Ok(_) => ClusterError::NotReady(name.clone()),
            Err(gone) => {
                if let Err(error) = self.core.propose(Command::DeleteVolume { volume: clone, with_snapshots: true }) {
                    tracing::warn!(volume = %name, %error, "a clone of what is gone is removed later");
                }
                gone
            }
        }
    }

    /// The clones of a volume, those of its snapshots too.
    ///
    /// # Errors
    /// [`ClusterError::NoSuchVolume`].
    pub fn children(&self, of: &VolumeName) -> Result<Vec<VolumeReport>> {
        let (configuration, parent) = (self.core.configuration(), self.core.volume_named(of)?.id);
        let is_child =
            |volume: &&Volume| volume.trashed.is_none() && volume.origin.is_some_and(|origin| origin.volume == parent);
        let children = configuration.volumes().filter(is_child);
        let mut reports: Vec<_> = children
            .filter_map(|volume| self.core.volume_report(&configuration, volume, &self.core.copies.list()))
            .collect();
        reports.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(reports)
    }
}

impl Core {
    /// Declares a clone complete, which is served, so that somebody has all of it.
    pub(super) fn complete_clone(&self, clone: VolumeId, seed_bytes: Option<u64>) -> Result<()> {
        // The source may have been resized before its content was frozen.
        let incomplete = self.volume(clone).filter(|volume| volume.state == VolumeState::Importing);
        let known = incomplete.map(|volume| volume.size_bytes);
        if let Some(size_bytes) = seed_bytes.filter(|bytes| known.is_some_and(|known| known != *bytes)) {
            self.propose(Command::ResizeVolume { volume: clone, size_bytes })?;
        }
        match self.propose(Command::FinishImport { volume: clone }) {
            // Somebody else was faster.
            Err(ProposeError::Rejected(Rejection::NotImporting(_))) => Ok(()),
            done => Ok(done.map(drop)?),
        }
    }
}

/// The size in bytes of the seed of a clone, as the primary of its source has it. Waits for there to be one.
pub(super) fn seed_bytes(source: &Session, clone: VolumeId) -> Result<Option<u64>> {
    let seed = seed_name(clone);
    let known = source.snapshots()?;
    Ok(known.into_iter().find(|entry| entry.name == seed.as_str()).map(|entry| entry.size_bytes))
}

/// A clone to make, on the nodes of its source.
fn configured(
    configuration: &Configuration,
    source: &Volume,
    name: &VolumeName,
    size_bytes: u64,
    now_ms: u64,
) -> Result<NewConfigured> {
    let takes_replicas = |node: &NodeId| configuration.node(*node).is_some_and(Node::takes_replicas);
    let placement: Vec<NodeId> = source.replicas.placement.iter().copied().filter(takes_replicas).collect();
    if placement.len() < source.copies.in_sync_min.into() {
        return Err(ClusterError::TooFewNodes { wanted: source.copies.in_sync_min, found: placement.len() });
    }
    let primary = placement.iter().copied().find(|node| *node == source.replicas.primary);
    Ok(NewConfigured {
        name: name.as_str().parse()?,
        size_bytes,
        codec: source.codec.clone(),
        state: VolumeState::Importing,
        origin: Some(Origin { volume: source.id, snapshot: None }),
        copies: source.copies,
        primary: primary.or(placement.first().copied()).unwrap_or(source.replicas.primary),
        placement,
        now_ms,
    })
}

#[cfg(test)]
mod tests;
