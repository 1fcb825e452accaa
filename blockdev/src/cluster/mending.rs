//! Damage on this node's disk that another node can repair: blocks of replicas, by their fingerprints.
//!
//! Whoever has a block lends it, whatever it is of there; so every node of the cluster is asked, those with a replica of the
//! volume first.

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use lsm_store::id::BlockIndex;
use net::envelope::Message;
use net::id::{NodeId, VolumeId};
use net::transport::{Link, RequestError, Transport, call};
use parking_lot::Mutex;

use super::core::Core;
use crate::events::kind;
use crate::replica::LocalReplica;
use crate::replica::content::{Asking, repair};

/// How long a node may take to look for blocks.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often all nodes are asked: those that have a block only in memory can lend it the next time.
const ATTEMPTS: u32 = 5;

/// Between two of these.
const PAUSE: Duration = Duration::from_millis(300);

/// Between two looks whether there is damage.
const LOOK: Duration = Duration::from_secs(1);

/// Before damage that nobody could repair is tried again.
const AGAIN: Duration = Duration::from_secs(60);

/// When damage was last tried to be repaired, by file and place.
#[derive(Default)]
pub(super) struct Mending(Mutex<HashMap<(String, u64), Duration>>);

struct Lender<'a> {
    core: &'a Core,
    link: Link,
}

impl Asking for Lender<'_> {
    fn ask(&self, message: Message) -> Result<Message, RequestError> {
        call(self.core.transport(), self.link, message, PATIENCE)
    }
}

impl Core {
    /// Works until the node stops. What other nodes cannot lend takes its time, which replicas are not to wait for.
    pub(super) fn keep_mended(&self) {
        let clock = self.node.store().clock();
        while !self.is_stopping() {
            let begun = clock.monotonic();
            self.mend_known();
            while !self.is_stopping() && clock.monotonic() - begun < LOOK {
                self.wait_change(LOOK);
            }
        }
    }

    /// Repairs what scrubs and reads have found damaged, as far as it is of replicas.
    fn mend_known(&self) {
        let store = self.node.store();
        let now = store.clock().monotonic();
        let damages = store.scrub_status().damages;
        let mut tried = self.mending.0.lock();
        tried.retain(|(file, offset), _| damages.iter().any(|it| it.file == *file && it.offset == *offset));
        let is_due = |at: Option<&Duration>| at.is_none_or(|at| now.saturating_sub(*at) >= AGAIN);
        let due: Vec<_> = damages.into_iter().filter(|it| is_due(tried.get(&(it.file.clone(), it.offset)))).collect();
        tried.extend(due.iter().map(|damage| ((damage.file.clone(), damage.offset), now)));
        drop(tried);
        for range in due.iter().filter_map(|damage| damage.touched.as_ref()).flat_map(|touched| &touched.ranges) {
            let replicas = self.replicas.read();
            let replica = replicas.values().find(|replica| replica.shared().volume.id() == range.volume).cloned();
            drop(replicas);
            if let Some(replica) = replica {
                self.mend(&replica, range.first..BlockIndex(range.first.0 + range.count));
            }
        }
    }

    /// Repairs blocks of a replica; true if all of them have content again that can be read.
    pub(super) fn mend(&self, replica: &LocalReplica, blocks: Range<BlockIndex>) -> bool {
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                self.wait_change(PAUSE);
            }
            if self.is_stopping() {
                return false;
            }
            if self.try_mend(replica, &blocks) {
                return true;
            }
        }
        false
    }

    fn try_mend(&self, replica: &LocalReplica, blocks: &Range<BlockIndex>) -> bool {
        let (volume, id) = (&replica.shared().volume, replica.shared().id);
        for node in self.lenders(id) {
            let Some(link) = self.transport().link(node) else { continue };
            match repair(volume, blocks.clone(), &Lender { core: self, link }) {
                Ok(repaired) => {
                    tracing::warn!(volume = %id, %node, restored = repaired.blocks_restored, missing = repaired.blocks_missing,
                        first = blocks.start.0, "damaged blocks were repaired from another node");
                    if repaired.blocks_restored > 0 {
                        self.note_repair(id, node, repaired.blocks_restored);
                    }
                    if repaired.blocks_missing == 0 {
                        return true;
                    }
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(volume = %id, %node, error, "damage cannot be repaired from this node");
                }
            }
        }
        false
    }

    fn note_repair(&self, volume: VolumeId, from: NodeId, blocks: u64) {
        let configuration = self.configuration();
        let volume = configuration.volume(volume).map_or_else(|| volume.to_string(), |it| it.name.as_str().to_owned());
        let from = configuration.node(from).map_or_else(|| from.to_string(), |it| it.about.name.as_str().to_owned());
        let text = format!("{blocks} damaged blocks of volume {volume} were repaired from node {from}");
        self.node.events().note(kind::DAMAGE_REPAIRED, &volume, &text);
    }

    /// The other nodes, those with a replica of the volume first.
    fn lenders(&self, volume: VolumeId) -> Vec<NodeId> {
        let configuration = self.configuration();
        let has_it = |node: NodeId| configuration.volume(volume).is_some_and(|it| it.replicas.is_member(node));
        let others = configuration.nodes().filter(|node| node.is_present() && node.id != self.me);
        let mut others: Vec<_> = others.map(|node| node.id).collect();
        others.sort_by_key(|node| !has_it(*node));
        others
    }
}
