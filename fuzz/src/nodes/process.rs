//! What runs on a machine: a node with its store, and the replica.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use blockdev::node::Node;
use blockdev::replica::installation::Installing;
use blockdev::replica::ledger::{LOG_64THS, Ledger};
use blockdev::replica::log::Sizes;
use blockdev::replica::{Bounds, Call, LocalReplica, Outside, Setting};
use lsm_store::codec::Codec;
use lsm_store::id::VolumeId as StoreVolumeId;
use lsm_store::rng::SeededRng;
use lsm_store::store::{BackgroundMode, Budget};
use lsm_store::{Environment, Options, Store, VolumeSpec};
use net::replication::{Configuration, Epoch, Incarnation, Lsn, NodeId, Policy, TransferId, VolumeId};

use super::bug::Bug;
use super::content::{CELL_BYTES, CELLS};
use super::machine::Machine;
use super::outbox::Outbox;
use super::transfer::Errand;

/// The volume of the simulation.
pub(super) const VOLUME: VolumeId = VolumeId(7);

/// Memory of the store: small, so that it flushes, merges and collects all the time.
const MEMORY_BYTES: u64 = 1 << 20;

/// Logs are trimmed all the time, so that who was away needs content. One that meets a full disk fails its replica, since nobody
/// makes room while the only thread stands still.
const BOUNDS: Bounds = Bounds {
    kept_bytes: 96 << 10,
    log_files: Some(Sizes { file_bytes: 64 << 10, step_bytes: 4 << 10, reserve_bytes: 1 << 10 }),
    waits_for_room: false,
};

/// Something that is to be done at a time, unless another time was set meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Due(pub(super) u64);

impl Due {
    pub(super) const NEVER: Self = Self(u64::MAX);

    /// Sets it earlier; true if that is one.
    pub(super) fn bring_forward(&mut self, at: u64) -> bool {
        let is_earlier = at < self.0;
        self.0 = self.0.min(at);
        is_earlier
    }

    /// True if it is now, or should have been; then it is due no more.
    pub(super) fn is(&mut self, now: u64) -> bool {
        let is = self.0 <= now;
        if is {
            *self = Self::NEVER;
        }
        is
    }
}

/// A client's request that the replica has.
pub(super) struct Waiting {
    pub(super) client: usize,
    pub(super) request: u64,
    pub(super) call: Arc<Call>,
}

/// What a process knows of the transfers it takes part in.
#[derive(Default)]
pub(super) struct Transfers {
    /// From whom content may come.
    pub(super) expected: BTreeMap<TransferId, NodeId>,
    pub(super) cancelled: BTreeSet<TransferId>,
    pub(super) installing: Option<Installing>,
    /// What was frozen for nodes that are away.
    pub(super) pins: BTreeMap<NodeId, (StoreVolumeId, Lsn)>,
    pub(super) errands: BTreeMap<TransferId, Errand>,
}

/// A replica at work.
pub(super) struct Running {
    pub(super) replica: Arc<LocalReplica>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) executes: Due,
    pub(super) applies: Due,
    pub(super) syncs: Due,
    /// Since when the applier has had nothing to do.
    pub(super) idle_since: Option<u64>,
    pub(super) waiting: Vec<Waiting>,
    /// Up to here its log's records are known, as of this history.
    pub(super) history: net::replication::History,
}

pub(super) struct Process {
    pub(super) node: Arc<Node>,
    pub(super) running: Option<Running>,
    pub(super) transfers: Transfers,
}

impl Process {
    /// Starts what a machine has, or makes it.
    pub(super) fn start(machine: &mut Machine, bug: Option<Bug>, seed: u64) -> Result<Self, blockdev::node::NodeError> {
        let rng = Arc::new(SeededRng::new(seed));
        let environment = Environment { device: machine.device(bug), clock: machine.clock.clone(), rng };
        if !machine.has_store {
            if !Store::exists(&environment)? {
                Store::create(&environment, lsm_store::Settings::default())?;
            }
            machine.has_store = true;
        }
        let budget = Budget::divide(MEMORY_BYTES);
        let options = Options { budget, background: BackgroundMode::Manual, read_only: false };
        let node = Node::open(Store::open(environment, options)?, false)?;
        node.remove_unnamed_snapshots()?;
        Ok(Self { node, running: None, transfers: Transfers::default() })
    }

    /// Starts the replica.
    pub(super) fn start_replica(
        &mut self,
        machine: &Machine,
        (configuration, policy): (&Configuration, Policy),
        bug: Option<Bug>,
        rng: &SeededRng,
    ) -> Result<(), blockdev::replica::StartError> {
        let outbox = Arc::new(Outbox::new(machine.disk.clone(), Arc::clone(&machine.dies_after)));
        let store = Arc::clone(self.node.store());
        let ledger = Arc::new(Ledger::new(move |own| store.room_to_write(own, LOG_64THS).unwrap_or(0)));
        let setting = Setting {
            id: VOLUME,
            me: machine.id,
            incarnation: Incarnation(rng.next_u64()),
            device: machine.device(bug),
            boot: machine.boot,
            node: Arc::clone(&self.node),
            spec: VolumeSpec { size_bytes: CELLS * CELL_BYTES, codec: Codec::Lz4 },
            is_creator: configuration.epoch == Epoch(1) && configuration.primary == machine.id,
            is_alone: configuration.members.iter().all(|member| member.node == machine.id),
            source: None,
            policy,
            ledger,
            memory: Arc::default(),
            ticks: machine.ticks.clone(),
            outside: Arc::clone(&outbox) as Arc<dyn Outside>,
        };
        let replica = LocalReplica::start_manual(&setting, BOUNDS)?;
        let (executes, applies, syncs) = (Due::NEVER, Due::NEVER, Due::NEVER);
        let history = net::replication::History::default();
        let waiting = Vec::new();
        let idle_since = None;
        self.running = Some(Running { replica, outbox, executes, applies, syncs, idle_since, waiting, history });
        Ok(())
    }
}
