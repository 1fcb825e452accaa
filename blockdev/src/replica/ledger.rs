//! What the replicas of a node have said of the room in its store, so that together they never promise more than there is.
//!
//! A replica's word cannot be taken back: its primary may count on it until it hears another. So what was promised and not used is
//! missing to the others, and little is promised at a time: more to a volume that is written to, and when room gets scarce
//! only half of what is left.

use std::collections::HashMap;
use std::sync::Arc;

use lsm_store::id::VolumeId as StoreVolumeId;
use net::replication::VolumeId;
use parking_lot::Mutex;

use super::pending::Pending;

/// What a volume is promised at first: enough for two records, whatever they are.
pub const PROMISE_BYTES_MIN: u64 = 8 << 20;

/// What one that is written to is promised at most: what is on the way between two words about it, at any speed.
pub const PROMISE_BYTES_MAX: u64 = 32 << 20;

/// What a replica's log takes of the disk at most, in parts of 64 of the room that its records need in the store.
pub const LOG_64THS: u64 = 33;

struct Account {
    /// The store's volume.
    id: StoreVolumeId,
    pending: Arc<Pending>,
    /// Promised, and not used by what came since.
    promised: u64,
    /// To be promised if there is room.
    wanted: u64,
    /// What it was left with last time.
    last: u64,
}

/// The promises of a node's replicas.
pub struct Ledger {
    room: Box<dyn Fn(Option<StoreVolumeId>) -> u64 + Send + Sync>,
    accounts: Mutex<HashMap<VolumeId, Account>>,
}

/// What a replica may promise.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Promise {
    /// Room for what comes next.
    pub bytes: u64,
    /// There is no more.
    pub is_short: bool,
}

impl Ledger {
    /// Of a store in which writes of a volume find as much room as `room` says, which leaves out what is reserved for others.
    pub fn new(room: impl Fn(Option<StoreVolumeId>) -> u64 + Send + Sync + 'static) -> Self {
        Self { room: Box::new(room), accounts: Mutex::default() }
    }

    /// A replica starts, with what it has to apply.
    pub(super) fn open(&self, volume: VolumeId, id: StoreVolumeId, pending: Arc<Pending>) {
        self.accounts.lock().insert(volume, Account { id, pending, promised: 0, wanted: PROMISE_BYTES_MIN, last: 0 });
    }

    /// It has ended. What it has to apply is not counted until it starts again.
    pub(super) fn close(&self, volume: VolumeId, pending: &Arc<Pending>) {
        let mut accounts = self.accounts.lock();
        if accounts.get(&volume).is_some_and(|account| Arc::ptr_eq(&account.pending, pending)) {
            accounts.remove(&volume);
        }
    }

    /// Records came that need so much room, and are counted as pending already.
    pub(super) fn take(&self, volume: VolumeId, room_bytes: u64) {
        if let Some(account) = self.accounts.lock().get_mut(&volume) {
            account.promised = account.promised.saturating_sub(room_bytes);
        }
    }

    /// What a replica may promise now. It takes at least what it was promised before.
    pub(super) fn promise(&self, volume: VolumeId) -> Promise {
        let mut accounts = self.accounts.lock();
        let id = accounts.get(&volume).map(|account| account.id);
        let free = self.free_beside(&accounts, Some(volume), id);
        let count = accounts.len() as u64;
        let Some(account) = accounts.get_mut(&volume) else { return Promise { bytes: 0, is_short: true } };
        if account.promised <= account.last / 2 && account.last > 0 {
            account.wanted = (2 * account.wanted).min(PROMISE_BYTES_MAX);
        }
        let is_plentiful = free > 2 * count * PROMISE_BYTES_MAX;
        let share = if is_plentiful { account.wanted } else { account.wanted.min(free / 2) };
        account.promised = account.promised.max(share);
        account.last = account.promised;
        Promise { bytes: account.promised, is_short: account.promised < account.wanted }
    }

    /// Room for a volume that nobody was promised and nothing that came needs.
    #[must_use]
    pub fn free_bytes(&self, volume: VolumeId) -> u64 {
        let accounts = self.accounts.lock();
        let id = accounts.get(&volume).map(|account| account.id);
        self.free_beside(&accounts, None, id)
    }

    fn free_beside(
        &self,
        accounts: &HashMap<VolumeId, Account>,
        own: Option<VolumeId>,
        id: Option<StoreVolumeId>,
    ) -> u64 {
        let promised = |(volume, account): (&VolumeId, &Account)| {
            let others = if own == Some(*volume) { 0 } else { account.promised };
            others.saturating_add(account.pending.room_bytes())
        };
        let claimed = accounts.iter().map(promised).fold(0, u64::saturating_add);
        // Asked last: what is applied meanwhile counts twice rather than not at all.
        (self.room)(id).saturating_sub(claimed)
    }
}

#[cfg(test)]
mod tests;
