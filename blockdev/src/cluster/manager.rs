//! Keeps this node's replicas as the cluster has agreed on them; and, on the node that leads the agreement, has the cluster
//! agree on other places for what is on nodes that are to leave.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lsm_store::codec::Codec;
use lsm_store::store::VolumeSpec;
use net::config::raft::Consensus;
use net::config::state::{Command, Configuration, MOVING_MAX, NodeState, Volume, VolumeState, choose_replacement};
use net::id::{Epoch, NodeId, VolumeId};
use net::replication::{Event, Incarnation, Policy, Role};
use net::transport::{Channel, Class, Link, Peer, Transport};

use super::core::Core;
use super::limits::limits_of;
use crate::replica::{LocalReplica, Outside, Setting, StartError};

/// Between two looks, unless something changes.
const LOOK: Duration = Duration::from_millis(500);

/// How long a replica that failed stays silent: longer than the others need to go on without it.
const FAILED_PAUSE_US: u64 = 5_000_000;

/// How long a volume may have another size than its configuration says: whoever changes it tells both, one after the other.
const SIZE_PATIENCE: Duration = Duration::from_secs(5);

/// Between two looks whether others have taken over.
const HAND_OVER_LOOK: Duration = Duration::from_millis(10);

/// Between two looks after a failure.
const LOOK_AFTER_FAILURE: Duration = Duration::from_secs(2);

impl Core {
    /// Works until the node stops.
    pub(super) fn manage(self: &Arc<Self>, outside: &Arc<dyn Outside>) {
        let mut has_forgotten = false;
        while !self.is_stopping() {
            let is_done = self.keep_replicas(outside);
            has_forgotten = has_forgotten || self.forget_gone();
            self.keep_wishes();
            self.keep_placements();
            self.keep_sizes();
            self.keep_reservations();
            self.wait_change(if is_done { LOOK } else { LOOK_AFTER_FAILURE });
        }
        let replicas = std::mem::take(&mut *self.replicas.write());
        replicas.values().for_each(|replica| replica.stop());
    }

    /// Starts and ends replicas as need be; false if something is left to do.
    fn keep_replicas(&self, outside: &Arc<dyn Outside>) -> bool {
        if !self.differs(&self.configuration()) {
            return true;
        }
        // What this node knows may be old: a replica that is started as if its volume were new, or removed as if it were not
        // wanted, must be that now.
        let Ok(configuration) = self.fresh_configuration() else { return false };
        let wanted: BTreeSet<_> = self.wanted(&configuration).collect();
        let mut is_done = true;
        for id in self.present().difference(&wanted) {
            is_done &= self.remove_replica(*id);
        }
        for id in wanted {
            let Some(volume) = configuration.volume(id) else { continue };
            is_done &= self.start_replica(volume, outside);
        }
        is_done
    }

    /// Forgets that there were replicas here of volumes that are no more; false if nobody says which these are.
    fn forget_gone(&self) -> bool {
        let noted = self.node.noted();
        if noted.is_empty() {
            return true;
        }
        let Ok(configuration) = self.fresh_configuration() else { return false };
        let is_gone = |id: &VolumeId| configuration.volume(*id).is_none() && !self.present().contains(id);
        for id in noted.into_iter().filter(is_gone) {
            if let Err(error) = self.node.forget_replica(id) {
                tracing::warn!(volume = %id, %error, "a note of a replica that is gone stays");
            }
        }
        true
    }

    fn differs(&self, configuration: &Configuration) -> bool {
        let wanted: BTreeSet<_> = self.wanted(configuration).collect();
        let replicas = self.replicas.read();
        let is_running = |id: &VolumeId| replicas.get(id).is_some_and(|replica| !replica.has_failed());
        !wanted.iter().all(is_running) || self.present() != wanted
    }

    fn wanted<'a>(&'a self, configuration: &'a Configuration) -> impl Iterator<Item = VolumeId> + use<'a> {
        let me = self.me;
        let has_it = move |volume: &&Volume| volume.replicas.placement.contains(&me) || volume.replicas.is_member(me);
        configuration.volumes().filter(has_it).filter(|volume| self.can_begin(volume)).map(|volume| volume.id)
    }

    /// A clone that is not complete begins where there is what it starts with. Once it is complete somebody has all of it, and
    /// it begins everywhere. All others begin with nothing.
    fn can_begin(&self, volume: &Volume) -> bool {
        let has_seed = || volume.origin.is_some_and(|origin| self.node.has_seed(origin.volume, volume.id));
        let is_whole = volume.state == VolumeState::Ready || volume.origin.is_none();
        is_whole || self.node.has_replica(volume.id) || has_seed()
    }

    /// The volumes of which there is a replica, at work or on disk.
    fn present(&self) -> BTreeSet<VolumeId> {
        self.replicas.read().keys().copied().chain(self.node.replicas()).collect()
    }

    fn remove_replica(&self, id: VolumeId) -> bool {
        let replica = self.replicas.write().remove(&id);
        if let Some(replica) = replica {
            replica.stop();
        }
        self.forget_transfers(id);
        self.share_memory();
        tracing::info!(volume = %id, "removing a replica that is not wanted here");
        self.reported(id, LocalReplica::remove(&*self.device, &self.node, id)).is_some()
    }

    fn start_replica(&self, volume: &Volume, outside: &Arc<dyn Outside>) -> bool {
        let known = self.replica(volume.id);
        if known.as_ref().is_some_and(|replica| !replica.has_failed()) {
            return true;
        }
        // Until the others have had time to go on without it: it may fail again at once.
        if known.as_ref().is_some_and(|failed| failed.failed_us() < FAILED_PAUSE_US) {
            return false;
        }
        if let Some(failed) = known {
            tracing::warn!(volume = %volume.id, "starting a replica again");
            failed.stop();
            self.forget_transfers(volume.id);
        }
        let Some(replica) = self.reported(volume.id, self.started(volume, outside)) else { return false };
        replica.tell(Event::Placement(volume.replicas.placement.clone()));
        {
            // Under the lock, so that no change of the limits comes in between.
            let mut replicas = self.replicas.write();
            replica.set_quota(limits_of(&self.configuration(), volume.id).quota_bytes);
            replicas.insert(volume.id, replica);
        }
        self.share_memory();
        self.note_change();
        true
    }

    /// Tells all replicas what each of so many may hold.
    fn share_memory(&self) {
        let replicas = self.replicas.read();
        let windows = self.memory.windows(replicas.len());
        replicas.values().for_each(|replica| replica.tell(Event::Windows(windows)));
    }

    fn started(&self, volume: &Volume, outside: &Arc<dyn Outside>) -> Result<Arc<LocalReplica>, StartError> {
        let codec = volume.codec.as_str().parse().unwrap_or(Codec::Lz4);
        let windows = self.memory.windows(self.present().len());
        let policy = Policy { in_sync_min: volume.copies.in_sync_min.into(), windows, ..Policy::DEFAULT };
        LocalReplica::start(Setting {
            id: volume.id,
            me: self.me,
            incarnation: Incarnation(self.random()),
            device: Arc::clone(&self.device),
            boot: self.boot,
            node: Arc::clone(&self.node),
            spec: VolumeSpec { size_bytes: volume.size_bytes, codec },
            // What a clone starts with is not nothing.
            is_creator: volume.origin.is_none()
                && volume.replicas.epoch == Epoch(1)
                && volume.replicas.primary == self.me,
            source: volume.origin.map(|origin| origin.volume),
            is_alone: volume.replicas.members.iter().all(|member| member.node == self.me),
            policy,
            ledger: Arc::clone(&self.ledger),
            memory: Arc::clone(&self.memory),
            ticks: Arc::clone(&self.ticks),
            outside: Arc::clone(outside),
        })
    }

    fn reported<T>(&self, volume: VolumeId, done: Result<T, StartError>) -> Option<T> {
        let failed = |error: &StartError| {
            tracing::error!(%volume, error = error as &dyn std::error::Error, "a replica cannot be had");
        };
        done.inspect_err(failed).ok()
    }

    /// Finds other places for replicas on nodes that are to leave, if this node leads.
    fn keep_placements(&self) {
        if self.consensus().metrics().leader != Some(self.me) {
            return;
        }
        let configuration = self.configuration();
        for volume in configuration.volumes() {
            let placement = &volume.replicas.placement;
            let leaves = |node: &&NodeId| {
                configuration
                    .node(**node)
                    .is_none_or(|node| matches!(node.state, NodeState::Draining | NodeState::Removed))
            };
            let leaving = placement.iter().find(leaves).copied();
            let is_short = placement.len() < usize::from(volume.copies.replicas);
            let next = match leaving {
                Some(node) => replaced(&configuration, volume, node),
                None if is_short => grown(&configuration, volume),
                None => None,
            };
            let Some(nodes) = next else { continue };
            if is_moving(&configuration, volume, &nodes) {
                continue;
            }
            tracing::info!(volume = %volume.name, ?nodes, "a replica gets another place");
            if let Err(error) = self.propose(Command::PlaceReplicas { volume: volume.id, nodes }) {
                tracing::warn!(volume = %volume.name, %error, "a replica cannot get another place yet");
            }
        }
    }

    /// Has the configuration say what size the log gave a volume that this node serves, if whoever ordered that has not said so for
    /// a while.
    fn keep_sizes(&self) {
        let (configuration, now) = (self.configuration(), self.node.store().clock().monotonic());
        let replicas: Vec<_> = self.replicas.read().iter().map(|(id, replica)| (*id, Arc::clone(replica))).collect();
        let mut odd = self.odd_sizes.lock();
        for (id, replica) in replicas {
            let said = configuration.volume(id).map(|volume| volume.size_bytes);
            let found = if replica.serves() { replica.size_bytes() } else { None };
            let (Some(said), Some(size_bytes)) = (said, found) else { continue };
            if said == size_bytes {
                odd.remove(&id);
                continue;
            }
            let since = odd.entry(id).or_insert((size_bytes, now));
            if since.0 != size_bytes {
                *since = (size_bytes, now);
            } else if now.saturating_sub(since.1) >= SIZE_PATIENCE {
                tracing::warn!(volume = %id, size_bytes, "the size of a volume was changed, and its configuration was not told");
                if let Err(error) = self.propose(Command::ResizeVolume { volume: id, size_bytes }) {
                    tracing::warn!(volume = %id, %error, "the size of a volume cannot be told yet");
                }
            }
        }
    }

    /// Gives the volumes that this node serves to others, so that clients need not wait until it is missed.
    pub(super) fn hand_over_all(&self, timeout: Duration) {
        let clock = self.node.store().clock();
        let begun = clock.monotonic();
        let served = || {
            let replicas = self.replicas.read();
            replicas
                .values()
                .filter_map(|replica| Some((Arc::clone(replica), self.successor(replica)?)))
                .collect::<Vec<_>>()
        };
        served().iter().for_each(|(replica, to)| replica.tell(Event::HandOver { request: None, to: *to }));
        while !served().is_empty() && clock.monotonic() - begun < timeout {
            self.wait_change(HAND_OVER_LOOK);
        }
    }

    /// Who could take over a volume that this node serves.
    fn successor(&self, replica: &LocalReplica) -> Option<NodeId> {
        let (Role::Primary, Some(configuration)) = replica.role()? else { return None };
        let mut others = configuration.others(self.me);
        others.find(|node| self.transport().link(*node).is_some())
    }

    /// The nodes to be connected with.
    pub(super) fn set_peers(&self, configuration: &Configuration) {
        let others = configuration.nodes().filter(|node| node.is_present() && node.id != self.me);
        let peers = others.map(|node| Peer {
            node: node.id,
            addresses: node.about.addresses.iter().filter_map(|address| address.as_str().parse().ok()).collect(),
        });
        self.transport().set_peers(peers.collect());
    }

    /// Tells replicas what the cluster has agreed on.
    pub(super) fn spread(&self, configuration: &Configuration) {
        for (id, replica) in &*self.replicas.read() {
            let Some(volume) = configuration.volume(*id) else { continue };
            replica.tell(Event::InSyncMin(volume.copies.in_sync_min.into()));
            replica.tell(Event::Placement(volume.replicas.placement.clone()));
            replica.set_quota(limits_of(configuration, *id).quota_bytes);
            let configuration = volume.replicas.configuration();
            replica.tell(Event::Configuration { configuration, is_fresh: false });
        }
        self.end_channels(configuration);
        self.note_change();
    }

    /// Ends the channels of journals that do not have a replica at both ends any more.
    fn end_channels(&self, configuration: &Configuration) {
        let is_placed = |volume: &Volume, node: NodeId| {
            volume.replicas.placement.contains(&node) || volume.replicas.is_member(node)
        };
        let is_journal_of_both = |link: Link, channel: Channel| {
            let volume = configuration.volume(VolumeId(channel.id));
            volume.is_some_and(|volume| is_placed(volume, self.me) && is_placed(volume, link.peer))
        };
        self.transport()
            .retain_channels(&|link, channel| channel.class != Class::Journal || is_journal_of_both(link, channel));
    }
}

/// The placement with another node in place of this one; `None` if there is no other.
fn replaced(configuration: &Configuration, volume: &Volume, node: NodeId) -> Option<Vec<NodeId>> {
    let other = choose_replacement(configuration, volume.id, node)?;
    let stay = volume.replicas.placement.iter().copied().filter(|placed| *placed != node);
    Some(sorted(stay.chain([other])))
}

/// The placement with one node more.
fn grown(configuration: &Configuration, volume: &Volume) -> Option<Vec<NodeId>> {
    // Nobody leaves: no node has this number.
    let other = choose_replacement(configuration, volume.id, NodeId(0))?;
    Some(sorted(volume.replicas.placement.iter().copied().chain([other])))
}

/// Whether the replicas of a volume are on the move already: one at a time is, so that few copies too many are made.
fn is_moving(configuration: &Configuration, volume: &Volume, next: &[NodeId]) -> bool {
    let is_present = |node: &NodeId| configuration.node(*node).is_some_and(|node| node.is_present());
    let members = volume.replicas.members.iter().map(|member| member.node).filter(is_present);
    let all: BTreeSet<NodeId> = members.chain(next.iter().copied()).collect();
    all.len() > usize::from(volume.copies.replicas) + MOVING_MAX
}

fn sorted(nodes: impl Iterator<Item = NodeId>) -> Vec<NodeId> {
    let nodes: BTreeSet<NodeId> = nodes.collect();
    nodes.into_iter().collect()
}
