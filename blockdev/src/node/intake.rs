//! Snapshots on their way into replicated volumes that are there, as a node keeps them.
//!
//! What a volume holds before one comes into it is frozen under a hidden name, which says which node brings it; so is what it holds
//! behind that, until it is proved. As long as there is the first of the two, whoever freezes the volume gets that: nobody sees a
//! part of what comes.

use std::sync::Arc;

use lsm_store::id::VolumeId;
use lsm_store::store::Record;
use net::id::{NodeId, VolumeId as ClusterVolume};

use super::replica::{NOTED_VERSION, entry, noted_key, number_under};
use super::seed::seed_of;
use super::{Import, Node, Result};
use crate::catalog::Catalog;
use crate::name::VolumeName;

/// What the keys of notes of such volumes begin with.
const INTAKES: &[u8] = b"intake/";

const PREFIX: &str = "intake-";
const BEFORE: &str = "-before";
const AFTER: &str = "-after";

/// How far what a node brings into a volume has come, as the node notes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum IntakeStage {
    /// The volume holds what it did, and what clients of other nodes have written since.
    Frozen,
    /// It may hold something else.
    Changing,
}

impl IntakeStage {
    fn encode(self) -> Vec<u8> {
        vec![NOTED_VERSION, u8::from(self == Self::Changing)]
    }

    fn decode(value: &[u8]) -> Self {
        if value.get(1) == Some(&0) { Self::Frozen } else { Self::Changing }
    }
}

fn hidden_name(node: NodeId, moment: &str) -> VolumeName {
    format!("{PREFIX}{:016x}{moment}", node.0).parse().expect("letters, hyphens and digits are a name")
}

/// What a volume's content from before is called while this node brings a snapshot into it.
pub(crate) fn before_name(node: NodeId) -> VolumeName {
    hidden_name(node, BEFORE)
}

/// What the content that this node has brought into a volume is called until it is proved.
pub(crate) fn after_name(node: NodeId) -> VolumeName {
    hidden_name(node, AFTER)
}

/// The node that brings a snapshot into a volume, if a snapshot of this name is what the volume held before.
pub(crate) fn taker_of(name: &VolumeName) -> Option<NodeId> {
    let number = name.as_str().strip_prefix(PREFIX)?.strip_suffix(BEFORE)?;
    let node = u64::from_str_radix(number, 16).ok().map(NodeId)?;
    (before_name(node) == *name).then_some(node)
}

fn is_of_intake(name: &VolumeName) -> bool {
    let number = name.as_str().strip_prefix(PREFIX).and_then(|name| name.strip_suffix(AFTER));
    let node = number.and_then(|number| u64::from_str_radix(number, 16).ok());
    taker_of(name).is_some() || node.is_some_and(|node| after_name(NodeId(node)) == *name)
}

/// Whether a replica's snapshot of this name is one that people do not see.
pub(crate) fn is_hidden(name: &VolumeName) -> bool {
    seed_of(name).is_some() || is_of_intake(name)
}

/// What a snapshot of a volume called `name` is to hold, if a snapshot is on its way into the volume: what the volume held before.
pub(super) fn shown_meanwhile(catalog: &Catalog, of: VolumeId, name: &VolumeName) -> Option<VolumeId> {
    let mut snapshots = catalog.snapshots(of);
    let before = snapshots.find(|(known, _)| taker_of(known).is_some()).map(|(_, id)| id);
    before.filter(|_| !is_of_intake(name))
}

/// Whether a snapshot called `name` is what a volume holds before one comes into it, and another is on its way already. A node that
/// freezes the volume then has to find only that other one: what the volume holds may be a part of what comes.
pub(super) fn is_second_intake(catalog: &Catalog, of: VolumeId, name: &VolumeName) -> bool {
    taker_of(name).is_some() && catalog.snapshots(of).any(|(known, _)| known != name && taker_of(known).is_some())
}

impl Node {
    /// The nodes that bring a snapshot into a volume, as the replica here knows.
    pub(crate) fn takers(&self, volume: ClusterVolume) -> Vec<NodeId> {
        let catalog = self.catalog.read();
        let Ok(entry) = entry(&catalog, volume) else { return Vec::new() };
        catalog.snapshots(entry.id).filter_map(|(name, _)| taker_of(name)).collect()
    }

    /// Notes that this node brings a snapshot into a volume of the cluster, and how far that has come.
    pub(crate) fn note_intake(&self, volume: ClusterVolume, stage: IntakeStage) -> Result<()> {
        let noted = Record { key: noted_key(INTAKES, volume), value: Some(stage.encode()) };
        Ok(self.store.put_records(vec![noted])?)
    }

    /// That has come to its end.
    pub(crate) fn forget_intake(&self, volume: ClusterVolume) -> Result<()> {
        Ok(self.store.put_records(vec![Record { key: noted_key(INTAKES, volume), value: None }])?)
    }

    /// The volumes of which it is noted that this node brings a snapshot into them, and how far that has come.
    pub(crate) fn intakes(&self) -> Vec<(ClusterVolume, IntakeStage)> {
        let noted = |record: Record| Some((number_under(INTAKES, &record.key)?, IntakeStage::decode(&record.value?)));
        self.store.records().into_iter().filter_map(noted).collect()
    }

    /// As [`Self::hidden_clone`], of a snapshot of a replica.
    pub(crate) fn hidden_clone_of_replica(self: &Arc<Self>, snapshot: VolumeId, purpose: &str) -> Result<Import> {
        self.hidden_clone_from(self.catalog.write(), snapshot, None, purpose)
    }
}
