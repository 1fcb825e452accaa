//! A replica on this node, at work: its threads, and what they share with those who serve clients.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use lsm_store::device::Device;
use lsm_store::read::ReadData;
use lsm_store::request::{BlockState, StatusExtent};
use lsm_store::store::{Volume, VolumeSpec};
use net::replication::{
    Configuration, Event, History, Incarnation, Lsn, NodeId, Outcome, PauseId, Policy, PolicyError, Refusal, Replica,
    RequestId, Role, Standing, Start, Tick, TransferId, VolumeId,
};
use net::transport::Received;
use parking_lot::{Mutex, MutexGuard};

use super::applier::{Applier, Applying, Pinned};
use super::calls::{Call, Calls, Ended};
use super::ending::Ending;
use super::executor::{Bounds, Executor};
use super::hands::Hands;
use super::inbox::{Inbox, Input};
use super::ledger::Ledger;
use super::log::{BootId, LogError, Recovered, ReplicaLog, Sizes};
use super::memory::Memory;
use super::operation::{self, Draft};
use super::outside::Outside;
use super::pausing::Pausing;
use super::pending::{Overlay, Pending};
use super::planting::plant;
use super::serving::Serving;
use super::syncing::Syncing;
use super::ticks::Ticks;
use crate::node::{Node, NodeError};

/// Records read into memory at a time at the start.
const RECORDS_AT_START: usize = 4096;
const BYTES_AT_START: u64 = 8 << 20;

/// How long a refused request waits before it is made again, unless room is made earlier.
const BUSY_WAIT: Duration = Duration::from_millis(20);

/// How long the replica's thread may take to say something that somebody only wants to know.
const ANSWER_WAIT: Duration = Duration::from_millis(200);

/// How long it may take to say what content cannot be sent without.
const HISTORY_WAIT: Duration = Duration::from_secs(10);

/// Why a replica does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Its log cannot be used.
    #[error("the log of a replica")]
    Log(#[from] LogError),
    /// Records that the store does not have are not in its log either.
    #[error("the log of a replica lacks record {0}, which its content lacks too")]
    Gap(Lsn),
    /// A record in its log is not one, or of a newer program.
    #[error(transparent)]
    Operations(#[from] operation::InvalidOperations),
    /// The store failed.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The times make no sense.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A thread cannot be had.
    #[error("a thread of a replica cannot be started")]
    Thread(#[source] io::Error),
}

/// What a replica starts with.
pub struct Setting {
    /// The volume.
    pub id: VolumeId,
    /// This node.
    pub me: NodeId,
    /// This start.
    pub incarnation: Incarnation,
    /// Where the log is.
    pub device: Arc<dyn Device>,
    /// Which start of the kernel this is.
    pub boot: BootId,
    /// The node whose store has the content.
    pub node: Arc<Node>,
    /// What the volume is made as, if there is none.
    pub spec: VolumeSpec,
    /// This node creates the volume: what it has, which is nothing, is all there is.
    pub is_creator: bool,
    /// The volume that this one is a clone of: a replica of that here may have what this one starts with.
    pub source: Option<VolumeId>,
    /// No other node has the content.
    pub is_alone: bool,
    /// How it is replicated.
    pub policy: Policy,
    /// What the node's replicas have promised of its store's room.
    pub ledger: Arc<Ledger>,
    /// The memory of the node's replicas.
    pub memory: Arc<Memory>,
    /// The clock of leases.
    pub ticks: Arc<dyn Ticks>,
    /// The rest of the node.
    pub outside: Arc<dyn Outside>,
}

/// What the threads of a replica share.
pub struct Shared {
    /// The volume.
    pub id: VolumeId,
    /// This node.
    pub me: NodeId,
    /// The store's volume.
    pub volume: Volume,
    /// The clock of leases.
    pub ticks: Arc<dyn Ticks>,
    /// What the replica's thread is to do.
    pub inbox: Arc<Inbox>,
    /// What is not in the store yet.
    pub pending: Arc<Pending>,
    /// Requests under way.
    pub calls: Calls,
    /// Whether reads may be answered.
    pub serving: Serving,
    /// Whether changes are held back.
    pub(super) pausing: Pausing,
    /// What is to be applied.
    pub applying: Arc<Applying>,
    /// What is to be synced.
    pub syncing: Arc<Syncing>,
    /// What the node's replicas have promised of its store's room.
    pub(super) ledger: Arc<Ledger>,
    pub(super) ending: Ending,
    /// What the volume may map, if there is a limit.
    quota_bytes: Mutex<Option<u64>>,
    node: Arc<Node>,
    role: Mutex<Option<(Role, Option<Configuration>)>>,
    has_failed: AtomicBool,
    /// When it failed.
    failed_at: AtomicU64,
}

impl Shared {
    pub(super) fn note_role(&self, replica: &Replica) {
        let (role, configuration) = (replica.role(), replica.configuration());
        let mut noted = self.role.lock();
        let is_same = noted.as_ref().is_some_and(|(was, epoch)| {
            *was == role && epoch.as_ref().map(|it| it.epoch) == configuration.map(|it| it.epoch)
        });
        if !is_same {
            *noted = Some((role, configuration.cloned()));
        }
    }

    /// What the volume may map, if there is a limit.
    pub(super) fn quota_bytes(&self) -> Option<u64> {
        *self.quota_bytes.lock()
    }

    /// Now, by the store's clock.
    pub(super) fn store_now(&self) -> Duration {
        self.node.store().clock().monotonic()
    }

    pub(super) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }

    pub(super) fn fail(&self) {
        self.failed_at.store(self.ticks.now().0, Ordering::Release);
        self.has_failed.store(true, Ordering::Release);
        self.serving.close();
    }
}

/// A replica at work.
pub struct LocalReplica {
    shared: Arc<Shared>,
    workers: Workers,
}

/// Who does a replica's work.
enum Workers {
    /// Threads of its own.
    Threads(Mutex<Vec<JoinHandle<()>>>),
    /// Nobody but the callers of [`LocalReplica::hands`], and those who would otherwise wait for ever.
    Nobody(Box<Mutex<Hands>>),
}

impl LocalReplica {
    /// Starts a replica from its log and the store's content, or makes it.
    ///
    /// A log that is damaged, or was being replaced, is of no use: the replica begins with nothing then, and is brought up to
    /// date by the others.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(setting: Setting) -> Result<Arc<Self>, StartError> {
        let hands = Self::ready(&setting, Bounds::DEFAULT)?;
        let shared = Arc::clone(hands.shared());
        let (threads, failed) = start_threads(hands);
        let replica = Arc::new(Self { shared, workers: Workers::Threads(Mutex::new(threads)) });
        // Those that were started end with the replica.
        failed.map_or(Ok(replica), |error| Err(StartError::Thread(error)))
    }

    /// As [`Self::start`], but without threads: the caller does their work, in whatever order, by [`Self::hands`].
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start_manual(setting: &Setting, bounds: Bounds) -> Result<Arc<Self>, StartError> {
        let hands = Self::ready(setting, bounds)?;
        let shared = Arc::clone(hands.shared());
        Ok(Arc::new(Self { shared, workers: Workers::Nobody(Box::new(Mutex::new(hands))) }))
    }

    fn ready(setting: &Setting, bounds: Bounds) -> Result<Hands, StartError> {
        let (log, recovered) = open_log(setting, bounds)?;
        let volume = setting.node.replica(setting.id, setting.spec)?;
        let shared = Arc::new(Shared {
            id: setting.id,
            me: setting.me,
            volume,
            ticks: Arc::clone(&setting.ticks),
            inbox: Arc::default(),
            pending: Arc::new(Pending::new(recovered.floor, Arc::clone(&setting.memory))),
            calls: Calls::default(),
            serving: Serving::default(),
            pausing: Pausing::default(),
            applying: Arc::default(),
            syncing: Arc::default(),
            ledger: Arc::clone(&setting.ledger),
            ending: Ending::default(),
            quota_bytes: Mutex::default(),
            node: Arc::clone(&setting.node),
            role: Mutex::default(),
            has_failed: AtomicBool::new(false),
            failed_at: AtomicU64::new(0),
        });
        fill_pending(&log, &shared.pending, recovered.floor)?;
        shared.applying.note_floor(recovered.floor);
        shared.ledger.open(setting.id, shared.volume.id(), Arc::clone(&shared.pending));
        let start = Start {
            me: setting.me,
            incarnation: setting.incarnation,
            standing: recovered.standing,
            intact: recovered.intact,
            history: recovered.history,
            synced: recovered.synced,
            floor: recovered.floor,
            journal_start: recovered.start,
        };
        let mut actions = Vec::new();
        let replica = Replica::new(setting.ticks.now(), start, setting.policy, &mut actions)?;
        let applier = Applier {
            id: setting.id,
            volume: shared.volume.clone(),
            node: Arc::clone(&setting.node),
            pending: Arc::clone(&shared.pending),
            applying: Arc::clone(&shared.applying),
            inbox: Arc::clone(&shared.inbox),
            unsaved: 0,
        };
        let (syncer, outside) = (log.syncer(), Arc::clone(&setting.outside));
        let executor = Executor::new(replica, (log, recovered.floor), shared, outside, bounds);
        Ok(Hands::new(executor, actions, applier, syncer))
    }

    /// Those who do the work of a replica without threads.
    #[must_use]
    pub fn hands(&self) -> Option<MutexGuard<'_, Hands>> {
        match &self.workers {
            Workers::Threads(_) => None,
            Workers::Nobody(hands) => Some(hands.lock()),
        }
    }

    /// Removes what a replica that does not run has on disk.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn remove(device: &dyn Device, node: &Node, id: VolumeId) -> Result<(), StartError> {
        clear(device, node, id)?;
        Ok(node.forget_replica(id)?)
    }

    /// Says how much the volume may map; writes that were ordered before stay.
    pub fn set_quota(&self, quota_bytes: Option<u64>) {
        *self.shared.quota_bytes.lock() = quota_bytes;
    }

    /// What its threads share.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Tells the protocol something.
    pub fn tell(&self, event: Event) {
        self.shared.inbox.tell(event);
    }

    /// A message of another node came.
    pub fn receive(&self, received: Received) {
        self.shared.inbox.push(Input::Message(received.link.peer, received));
    }

    /// What it is now, and the newest configuration it knows.
    #[must_use]
    pub fn role(&self) -> Option<(Role, Option<Configuration>)> {
        self.shared.role.lock().clone()
    }

    /// True after an error from which it does not recover by itself: it must be started again.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.shared.has_failed()
    }

    /// How long ago it failed, in microseconds.
    #[must_use]
    pub fn failed_us(&self) -> u64 {
        self.shared.ticks.now().since(Tick(self.shared.failed_at.load(Ordering::Acquire)))
    }

    /// True if reads may be answered now.
    #[must_use]
    pub fn serves(&self) -> bool {
        self.shared.serving.serves(self.shared.ticks.now())
    }

    /// The bytes of a range, as far as this node may answer for them now; `None` if it may not, or not yet.
    ///
    /// # Errors
    /// Those of the store.
    pub fn read(&self, offset: u64, len: usize) -> lsm_store::Result<Option<ReadData>> {
        let Some(overlay) = self.begin_read(offset, len as u64) else { return Ok(None) };
        if let Some(barrier) = overlay.barrier {
            self.shared.pending.wait_applied(barrier, BUSY_WAIT);
            return Ok(None);
        }
        let data = self.shared.volume.read(offset, len)?;
        Ok(self.holds(&overlay).then(|| overlay.lay_over(data, offset)))
    }

    /// What a read that begins now lays over what the store gives; `None` if this node may not answer it. A read that meets
    /// a barrier is to be begun again once the store has that.
    #[must_use]
    pub fn begin_read(&self, offset: u64, len: u64) -> Option<Overlay> {
        let overlay = self.serves().then(|| self.shared.pending.overlay(offset, len))?;
        if overlay.barrier.is_some() {
            // Whoever ordered it may be gone, and with it the flush that was to follow.
            self.tell(Event::NeedSync);
        }
        Some(overlay)
    }

    /// Whether what the store gave, with the overlay over it, may be answered. Asked last: meanwhile another node may have
    /// taken over, or the store got more than the overlay knows of.
    #[must_use]
    pub fn holds(&self, overlay: &Overlay) -> bool {
        !self.is_outdated(overlay) && self.serves()
    }

    /// Whether the store has got more than the overlay knows of, so that what is read from now on must not have it laid over.
    #[must_use]
    pub fn is_outdated(&self, overlay: &Overlay) -> bool {
        self.shared.pending.is_outdated(overlay)
    }

    /// True if the store has every visible change of more than bytes, such as a snapshot; if not, waits a little for it. A
    /// replica that has just become primary may have to apply some first.
    #[must_use]
    pub fn has_all_barriers(&self) -> bool {
        let Some(barrier) = self.shared.pending.overlay(0, 1).barrier else { return true };
        self.await_barrier(barrier);
        false
    }

    /// Has the store get what must be in it before it is read, and waits a little.
    pub(super) fn await_barrier(&self, barrier: Lsn) {
        // Whoever ordered it may be gone, and with it the flush that was to follow.
        self.tell(Event::NeedSync);
        self.shared.pending.wait_applied(barrier, BUSY_WAIT);
    }

    /// The states of a range, under the same condition. What is not in the store yet counts as data.
    ///
    /// # Errors
    /// Those of the store.
    pub fn block_status(
        &self,
        offset: u64,
        len: u64,
        extents_max: usize,
    ) -> lsm_store::Result<Option<Vec<StatusExtent>>> {
        if !self.serves() {
            return Ok(None);
        }
        let overlay = self.shared.pending.overlay(offset, len);
        if !overlay.is_empty() || overlay.barrier.is_some() {
            return Ok(self.serves().then(|| vec![StatusExtent { len, state: BlockState::Data }]));
        }
        let extents = self.shared.volume.block_status(offset, len, extents_max)?;
        let holds = !self.shared.pending.is_outdated(&overlay) && self.serves();
        Ok(holds.then_some(extents))
    }

    /// The size that the volume has behind all that was ordered; `None` if this node may not say, or not yet.
    #[must_use]
    pub fn size_bytes(&self) -> Option<u64> {
        if let Some(barrier) = self.shared.pending.overlay(0, 1).barrier {
            self.tell(Event::NeedSync);
            self.shared.pending.wait_applied(barrier, BUSY_WAIT);
            return None;
        }
        let size_bytes = self.shared.volume.size_bytes();
        self.serves().then_some(size_bytes)
    }

    /// Begins to have these records ordered, without waiting; `None` if the replica has ended, and then nobody is told.
    #[must_use]
    pub fn begin_write(&self, drafts: &[Draft], tell: Option<Ended>) -> Option<Arc<Call>> {
        self.begin_change(drafts, None, tell)
    }

    pub(super) fn begin_change(
        &self,
        drafts: &[Draft],
        pause: Option<PauseId>,
        tell: Option<Ended>,
    ) -> Option<Arc<Call>> {
        let (requests, call) = self.shared.calls.begin(drafts.len(), tell);
        let event = |(request, draft): (&RequestId, &Draft)| {
            let (payload, room) = (draft.record().clone(), draft.room_bytes());
            Input::Event(Event::Write { request: *request, payload, room, pause })
        };
        if self.shared.inbox.extend(requests.iter().zip(drafts).map(event)) {
            return Some(call);
        }
        self.shared.calls.forget(&requests);
        None
    }

    /// False if a change cannot be taken now, for want of memory or since changes are held back: clients wait then.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.has_memory() && !self.is_paused()
    }

    /// False while what was ordered is far ahead of what the store has. Not while the store waits for room on disk: what needs some
    /// is refused then, and nothing else takes memory to speak of.
    fn has_memory(&self) -> bool {
        !self.shared.pending.is_half_full() || self.shared.applying.lacks_room()
    }

    /// Waits for memory.
    pub fn wait_memory(&self) {
        while !self.has_memory() && self.serves() {
            let applied = self.shared.pending.applied();
            self.shared.pending.wait_applied(applied.next(), BUSY_WAIT);
        }
    }

    /// Has these records ordered and waits until every member holds them.
    pub fn write(&self, drafts: &[Draft]) -> Outcome {
        self.wait_memory();
        self.until_admitted(|| self.begin_write(drafts, None))
    }

    /// As [`Self::write`], but for so long at most: then the outcome is unknown.
    pub fn write_for(&self, drafts: &[Draft], timeout: Duration) -> Outcome {
        if !self.has_room() {
            return Outcome::Refused(Refusal::Busy);
        }
        let begun = self.begin_write(drafts, None);
        begun.map_or(Outcome::Refused(Refusal::NotPrimary(None)), |call| call.wait_for(timeout))
    }

    /// Waits until everything that was answered is durable on every member.
    pub fn flush(&self) -> Outcome {
        self.until_admitted(|| self.begin_flush(None))
    }

    /// As [`Self::flush`], but for so long at most: then the outcome is unknown.
    pub fn flush_for(&self, timeout: Duration) -> Outcome {
        let begun = self.begin_flush(None);
        begun.map_or(Outcome::Refused(Refusal::NotPrimary(None)), |call| call.wait_for(timeout))
    }

    /// Begins to make durable on every member what was answered, without waiting; as [`Self::begin_write`].
    #[must_use]
    pub fn begin_flush(&self, tell: Option<Ended>) -> Option<Arc<Call>> {
        self.begin(|request| Event::Flush { request }, tell)
    }

    pub(super) fn begin(&self, event: impl Fn(RequestId) -> Event, tell: Option<Ended>) -> Option<Arc<Call>> {
        let (requests, call) = self.shared.calls.begin(1, tell);
        if self.shared.inbox.extend(requests.iter().map(|request| Input::Event(event(*request)))) {
            return Some(call);
        }
        self.shared.calls.forget(&requests);
        None
    }

    /// Has the volume handed to a node as soon as that can be done, if this node can promise that; waits for so long at most
    /// until it is known.
    pub fn hand_over(&self, to: NodeId, timeout: Duration) -> Outcome {
        let begun = self.begin(|request| Event::HandOver { request: Some(request), to }, None);
        begun.map_or(Outcome::Refused(Refusal::NotPrimary(None)), |call| call.wait_for(timeout))
    }

    /// Makes a request, again while there is no room for it.
    fn until_admitted(&self, begin: impl Fn() -> Option<Arc<Call>>) -> Outcome {
        loop {
            match begin().map(|call| call.wait()) {
                None => return Outcome::Refused(Refusal::NotPrimary(None)),
                Some(Outcome::Refused(Refusal::Busy)) => self.shared.calls.wait_admitted(BUSY_WAIT),
                Some(outcome) => return outcome,
            }
        }
    }

    /// Which epochs wrote its log; `None` if it has ended, or its log waits for room.
    #[must_use]
    pub fn history(&self) -> Option<History> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        self.ask(Input::TellHistory(sender)).then(|| receiver.recv_timeout(HISTORY_WAIT).ok())?
    }

    /// The nodes that are being brought along by the log, and about how many bytes of it each of them lacks; nobody if the
    /// replica is too busy to say.
    #[must_use]
    pub fn behind(&self) -> Vec<(NodeId, u64)> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let is_asked = self.shared.inbox.push(Input::TellBehind(sender));
        is_asked.then(|| receiver.recv_timeout(ANSWER_WAIT).ok()).flatten().unwrap_or_default()
    }

    /// Has the store have everything up to `lsn`, which every member has synced and the log here reaches; false if it has
    /// not in time.
    #[must_use]
    pub fn apply_up_to(&self, lsn: Lsn, timeout: Duration) -> bool {
        self.shared.pending.show(lsn);
        self.shared.applying.raise(lsn);
        if let Some(mut hands) = self.hands() {
            hands.work_while(|shared| shared.pending.applied() < lsn);
            return self.shared.pending.applied() >= lsn;
        }
        self.shared.pending.wait_applied(lsn, timeout)
    }

    /// A snapshot without a name of the store's content, once that has everything up to `at_least`, which may take a while;
    /// `None` if it cannot be had.
    #[must_use]
    pub fn pin(&self, at_least: Lsn) -> Option<Pinned> {
        match self.hands() {
            Some(mut hands) => hands.pin(at_least),
            None => self.shared.applying.pin(at_least),
        }
    }

    /// Has an input taken whose sender waits for the answer; false if nobody takes any.
    fn ask(&self, input: Input) -> bool {
        let is_taken = self.shared.inbox.push(input);
        if let Some(mut hands) = self.hands().filter(|_| is_taken) {
            hands.execute();
        }
        is_taken
    }

    /// Content is about to come in place of what there is; false if it cannot.
    #[must_use]
    pub fn begin_install(&self, transfer: TransferId) -> bool {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        self.ask(Input::BeginInstall(transfer, sender)) && receiver.recv().unwrap_or(false)
    }

    /// The content has come, is durable, and is that of a log with this history.
    pub fn install(&self, transfer: TransferId, history: History) {
        self.shared.inbox.push(Input::Install(transfer, history));
    }

    /// The log is kept from `lsn` on for a transfer; `None`: no longer.
    pub fn hold(&self, transfer: TransferId, lsn: Option<Lsn>) {
        self.shared.inbox.push(Input::Hold(transfer, lsn));
    }

    /// Ends its threads.
    pub fn stop(&self) {
        self.shared.inbox.push(Input::Stop);
        self.shared.ending.set();
        self.shared.applying.stop();
        self.shared.syncing.stop();
        if let Workers::Threads(threads) = &self.workers {
            for thread in std::mem::take(&mut *threads.lock()) {
                if thread.join().is_err() {
                    tracing::error!(volume = %self.shared.id, "a thread of a replica panicked");
                }
            }
        }
        // Not before: one that still says what room it has would say that there is none, and its primary refuse writes.
        self.shared.ledger.close(self.shared.id, &self.shared.pending);
    }
}

impl Drop for LocalReplica {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Removes log and content. The log first: content without a log is of no use to anybody, and is cleared again at the next
/// start, while a log without the content that it goes on from would be believed.
fn clear(device: &dyn Device, node: &Node, id: VolumeId) -> Result<(), StartError> {
    ReplicaLog::remove(device, id)?;
    Ok(node.remove_replica(id)?)
}

fn log_files(setting: &Setting, bounds: Bounds) -> Sizes {
    bounds.log_files.unwrap_or_else(|| Sizes::of(&*setting.device))
}

fn open_log(setting: &Setting, bounds: Bounds) -> Result<(ReplicaLog, Recovered), StartError> {
    let (device, id) = (&setting.device, setting.id);
    if let Some(source) = setting.source
        && let Some(planted) = plant(setting, source, log_files(setting, bounds))?
    {
        return Ok(planted);
    }
    if !ReplicaLog::exists(&**device, id)? {
        // Noted before there is a log: one that has been lost must never be taken for one that has not been made.
        let is_new = setting.node.note_replica(id)?;
        let is_creator = setting.is_creator && is_new;
        let standing = if is_creator { Standing::Sound(net::replication::Epoch(1)) } else { Standing::Outside };
        return create_log(setting, bounds, standing);
    }
    let has_content = setting.node.has_replica(id);
    match ReplicaLog::open_sized(Arc::clone(device), id, setting.boot, log_files(setting, bounds)) {
        Ok((log, recovered)) if !recovered.is_torn && (recovered.floor == Lsn(0) || has_content) => {
            Ok((log, recovered))
        }
        Ok(_) => create_log(setting, bounds, Standing::Outside),
        // Nobody could bring this replica up to date: what it has stays, for somebody to look at.
        Err(error @ LogError::Corrupt { .. }) if !setting.is_alone => {
            tracing::error!(volume = %id, error = &error as &dyn std::error::Error, "a replica begins anew");
            create_log(setting, bounds, Standing::Outside)
        }
        Err(error) => Err(error.into()),
    }
}

/// Makes a log without records, over content without blocks.
fn create_log(setting: &Setting, bounds: Bounds, standing: Standing) -> Result<(ReplicaLog, Recovered), StartError> {
    clear(&*setting.device, &setting.node, setting.id)?;
    let (device, files) = (Arc::clone(&setting.device), log_files(setting, bounds));
    let log = ReplicaLog::create_sized(device, setting.id, setting.boot, standing, files)?;
    let (synced, floor, start) = (Lsn(0), Lsn(0), Lsn(1));
    let history = History::default();
    Ok((log, Recovered { standing, intact: true, history, synced, floor, start, is_torn: false }))
}

/// Takes into memory what the log has and the store may not have.
fn fill_pending(log: &ReplicaLog, pending: &Pending, floor: Lsn) -> Result<(), StartError> {
    let (reader, mut after) = (log.reader(), floor);
    while after < log.end() {
        let records = reader.read(after, RECORDS_AT_START, BYTES_AT_START)?;
        if records.is_empty() {
            return Err(StartError::Gap(after.next()));
        }
        let operations = records.iter().map(operation::of_record).collect::<Result<Vec<_>, _>>()?;
        pending.append(after.next(), operations);
        after.0 += records.len() as u64;
    }
    Ok(())
}

/// The threads of a replica, and why one is missing.
fn start_threads(hands: Hands) -> (Vec<JoinHandle<()>>, Option<io::Error>) {
    let (shared, workers) = hands.into_threads();
    let mut threads = Vec::new();
    for (name, work) in workers {
        match thread::Builder::new().name(format!("{name}-{}", shared.id)).spawn(work) {
            Ok(thread) => threads.push(thread),
            Err(error) => return (threads, Some(error)),
        }
    }
    (threads, None)
}
