//! What the parts of a node in a cluster share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lsm_store::device::Device;
use lsm_store::id::VolumeId as StoreVolumeId;
use lsm_store::rng::Rng;
use lsm_store::store::Store;
use net::config::raft::{Consensus, ProposeError, Raft};
use net::config::state::{Command, Configuration, Outcome, Volume, VolumeState};
use net::config::storage::View;
use net::id::{NodeId, VolumeId};
use net::replication::Event;
use net::transport::quic::QuicTransport;
use net::transport::{Link, Transport};
use parking_lot::{Condvar, Mutex, RwLock};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::{ClusterError, Result};
use crate::name::VolumeName;
use crate::node::Node;
use crate::replica::LocalReplica;
use crate::replica::content::Throttle;
use crate::replica::ledger::{LOG_64THS, Ledger};
use crate::replica::log::BootId;
use crate::replica::memory::Memory;
use crate::replica::ticks::Ticks;

use super::answer_room::AnswerRoom;
use super::answering::Sessions;
use super::copying::Copies;
use super::intake::Intakes;
use super::mending::Mending;
use super::opened::{Opened, OpenedSnapshots};
use super::transfers::Transfers;

/// How long a command waits for the news that came before it.
const REFRESH_WAIT: Duration = Duration::from_secs(1);

/// Everything of a node in a cluster.
pub(crate) struct Core {
    pub(super) me: NodeId,
    pub(super) node: Arc<Node>,
    pub(super) device: Arc<dyn Device>,
    pub(super) boot: BootId,
    /// What its replicas have promised of the store's room, and their memory.
    pub(super) ledger: Arc<Ledger>,
    pub(super) memory: Arc<Memory>,
    pub(super) ticks: Arc<dyn Ticks>,
    pub(super) rng: Arc<dyn Rng>,
    pub(super) runtime: Handle,
    pub(super) transport: OnceLock<Arc<QuicTransport>>,
    pub(super) consensus: OnceLock<Raft>,
    pub(super) replicas: RwLock<HashMap<VolumeId, Arc<LocalReplica>>>,
    pub(super) transfers: Transfers,
    pub(super) copies: Copies,
    /// How fast content is sent.
    pub(super) throttle: Throttle,
    pub(super) mending: Mending,
    pub(super) sessions: Sessions,
    /// For answers to other nodes' reads.
    pub(super) answer_room: Arc<AnswerRoom>,
    /// Clients of this node that have a volume open.
    pub(super) open: Mutex<Opened>,
    /// Clients of this node that have a snapshot open that another node has.
    pub(super) open_snapshots: Mutex<OpenedSnapshots>,
    /// Sizes of volumes that are not those of the configuration, and since when.
    pub(super) odd_sizes: Mutex<HashMap<VolumeId, (u64, Duration)>>,
    /// What this node keeps of reservations that it has no room for.
    pub(super) short_reserves: Mutex<HashMap<VolumeId, u64>>,
    pub(super) view: OnceLock<watch::Receiver<View>>,
    /// Imports that were broken off and are still to be removed.
    pub(super) left_imports: Mutex<Vec<VolumeId>>,
    /// Snapshots that this node brings into volumes.
    pub(super) intakes: Intakes,
    /// Counts changes of what requests wait for.
    changes: Mutex<u64>,
    changed: Condvar,
    is_stopping: AtomicBool,
    /// The last wait for news was in vain, as nobody led.
    is_leaderless: AtomicBool,
}

/// Where a request of a volume goes.
pub(super) enum Route {
    /// To this node's replica, which serves it now.
    Here(Arc<LocalReplica>),
    /// To the primary, which is reached by this link.
    There(Link),
    /// Nowhere at the moment.
    Nowhere,
}

/// Left free on the disk of the logs, for what is in them besides records.
const LOGS_RESERVE_BYTES: u64 = 4 << 20;

/// Room for records of replicas: in the store, and on the disk for their logs.
fn room(store: &Store, own: Option<StoreVolumeId>, logs: &dyn Device) -> u64 {
    let in_store = store.room_to_write(own, LOG_64THS).unwrap_or_else(|error| {
        tracing::debug!(%error, "a store that does not say what room it has counts as full");
        0
    });
    let free = logs.space().map_or(0, |space| space.available_bytes);
    in_store.min(free.saturating_sub(LOGS_RESERVE_BYTES) / LOG_64THS * 64)
}

impl Core {
    pub(super) fn new(
        me: NodeId,
        node: Arc<Node>,
        device: Arc<dyn Device>,
        boot: BootId,
        ticks: Arc<dyn Ticks>,
        rng: Arc<dyn Rng>,
        runtime: Handle,
    ) -> Self {
        let store = Arc::clone(node.store());
        let memory = Arc::new(Memory::of_budget(store.budget().total_bytes));
        store.lend_memory(memory.limit_bytes());
        let logs = Arc::clone(&device);
        let ledger = Arc::new(Ledger::new(move |own| room(&store, own, &*logs)));
        let left_imports = Mutex::new(node.imports());
        let answer_room = Arc::new(AnswerRoom::of(node.store().budget().total_bytes));
        let intakes = Intakes::left_by(&node);
        Self {
            me,
            node,
            device,
            boot,
            ledger,
            memory,
            ticks,
            rng,
            runtime,
            transport: OnceLock::new(),
            consensus: OnceLock::new(),
            replicas: RwLock::default(),
            transfers: Transfers::default(),
            copies: Copies::default(),
            throttle: Throttle::default(),
            mending: Mending::default(),
            sessions: Sessions::default(),
            answer_room,
            open: Mutex::default(),
            open_snapshots: Mutex::default(),
            odd_sizes: Mutex::default(),
            short_reserves: Mutex::default(),
            view: OnceLock::new(),
            left_imports,
            intakes,
            changes: Mutex::default(),
            changed: Condvar::new(),
            is_stopping: AtomicBool::new(false),
            is_leaderless: AtomicBool::new(false),
        }
    }

    pub(super) fn transport(&self) -> &QuicTransport {
        self.transport.get().expect("it is set before anything is asked of it")
    }

    pub(super) fn consensus(&self) -> &Raft {
        self.consensus.get().expect("it is set before anything is asked of it")
    }

    /// What the cluster has agreed on, as far as this node knows.
    pub(super) fn configuration(&self) -> Arc<Configuration> {
        self.view.get().map_or_else(Arc::default, |view| Arc::clone(&view.borrow().configuration))
    }

    /// What the cluster has agreed on up to now. Blocks.
    pub(super) fn fresh_configuration(&self) -> Result<Arc<Configuration>, ProposeError> {
        Ok(self.runtime.block_on(self.consensus().read())?.configuration)
    }

    /// Waits until this node knows all that the cluster had agreed on when this was called: whoever calls may have heard of it
    /// from another node. Blocks, but not longer than [`REFRESH_WAIT`]: where nobody can say, what is known must do.
    pub(super) fn refresh(&self) {
        // Between two leaders it is worth the wait, but not for each of many requests while a majority is away.
        if self.consensus().metrics().leader.is_none() && self.is_leaderless.load(Ordering::Relaxed) {
            return;
        }
        let read = async { tokio::time::timeout(REFRESH_WAIT, self.consensus().read()).await };
        let is_told = matches!(self.runtime.block_on(read), Ok(Ok(_)));
        self.is_leaderless.store(!is_told && self.consensus().metrics().leader.is_none(), Ordering::Relaxed);
        if !is_told {
            tracing::debug!("nobody says whether this node knows what the cluster has agreed on");
        }
    }

    /// Has the cluster agree on something, and waits until this node knows of it. Blocks.
    pub(super) fn propose(&self, command: Command) -> Result<Outcome, ProposeError> {
        self.runtime.block_on(async {
            let committed = self.consensus().propose(command).await?;
            if let Some(view) = self.view.get() {
                // The change is made; that this node stops before it sees that is of no account.
                let _ = view.clone().wait_for(|view| view.applied >= committed.index).await;
            }
            Ok(committed.outcome)
        })
    }

    /// A volume that is not in the trash.
    pub(super) fn volume_named(&self, name: &VolumeName) -> Result<Volume> {
        let configuration = self.configuration();
        let parsed = name.as_str().parse()?;
        configuration.volume_named(&parsed).cloned().ok_or_else(|| ClusterError::NoSuchVolume(name.clone()))
    }

    /// A volume that is not in the trash and can be used.
    pub(super) fn ready_volume(&self, name: &VolumeName) -> Result<Volume> {
        let volume = self.volume_named(name)?;
        match volume.state {
            VolumeState::Ready => Ok(volume),
            VolumeState::Importing => Err(ClusterError::BeingMade(name.clone())),
        }
    }

    pub(super) fn volume(&self, id: VolumeId) -> Option<Volume> {
        self.configuration().volume(id).cloned()
    }

    /// Size in bytes of a volume; 0 if there is none.
    pub(super) fn size_bytes(&self, id: VolumeId) -> u64 {
        self.view.get().and_then(|view| view.borrow().configuration.volume(id).map(|it| it.size_bytes)).unwrap_or(0)
    }

    /// The replica of a volume on this node.
    pub(super) fn replica(&self, volume: VolumeId) -> Option<Arc<LocalReplica>> {
        self.replicas.read().get(&volume).cloned()
    }

    /// Where requests of a volume go now.
    pub(super) fn route(&self, volume: VolumeId) -> Route {
        if let Some(replica) = self.replica(volume).filter(|replica| replica.serves()) {
            return Route::Here(replica);
        }
        let view = self.view.get().map(|view| view.borrow());
        let primary = view.and_then(|view| view.configuration.volume(volume).map(|it| it.replicas.primary));
        match primary.filter(|primary| *primary != self.me).and_then(|primary| self.transport().link(primary)) {
            Some(link) => Route::There(link),
            None => Route::Nowhere,
        }
    }

    /// Tells a volume's replica something.
    pub(super) fn tell(&self, volume: VolumeId, event: Event) {
        if let Some(replica) = self.replicas.read().get(&volume) {
            replica.tell(event);
        }
    }

    /// Now, in milliseconds since the Unix epoch.
    pub(super) fn wall_ms(&self) -> u64 {
        self.node.store().clock().wall().as_millis().try_into().unwrap_or(u64::MAX)
    }

    /// What requests may wait for has changed.
    pub(super) fn note_change(&self) {
        *self.changes.lock() += 1;
        self.changed.notify_all();
    }

    /// Waits for a change, or for a while.
    pub(super) fn wait_change(&self, timeout: Duration) {
        let mut changes = self.changes.lock();
        if !self.is_stopping() {
            self.changed.wait_for(&mut changes, timeout);
        }
    }

    /// Nothing waits any more.
    pub(super) fn begin_stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
        self.note_change();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    /// 64 random bits.
    pub(super) fn random(&self) -> u64 {
        let mut bytes = [0; 8];
        self.rng.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}
