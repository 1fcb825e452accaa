//! A simulated node: a replica, its disk, its clock.

use std::collections::BTreeMap;

use lsm_store::rng::SeededRng;
use net::replication::{Epoch, Incarnation, Lsn, NodeId, Replica, Standing, Start, Tick, TransferId};

use super::disk::{Disk, Image};

/// Content on its way to this node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Receiving {
    pub(super) transfer: TransferId,
}

pub(super) struct Node {
    pub(super) id: NodeId,
    /// `None` while it is down.
    pub(super) replica: Option<Replica>,
    /// Counts its starts, so that what was under way in an earlier one is forgotten.
    pub(super) generation: u64,
    pub(super) disk: Disk,
    pub(super) paused_until: u64,
    pub(super) slow_until: u64,
    /// Its disk fails the next sync.
    pub(super) fails_sync: bool,
    offset_us: u64,
    drift_ppm: i64,
    pub(super) visible: Lsn,
    pub(super) timer_at: u64,
    /// When the kernel has, and when the disk has, everything asked before.
    pub(super) handed_at: u64,
    pub(super) synced_at: u64,
    pub(super) pins: BTreeMap<NodeId, (Lsn, Image)>,
    pub(super) receiving: Option<Receiving>,
    pub(super) opened: Option<Epoch>,
    pub(super) was_wiped: bool,
    /// Until then its journal keeps what a transfer needs.
    pub(super) holds_until: u64,
}

impl Node {
    pub(super) fn new(id: NodeId, standing: Standing, rng: &SeededRng) -> Self {
        Self {
            id,
            replica: None,
            generation: 0,
            disk: Disk::new(standing),
            paused_until: 0,
            slow_until: 0,
            fails_sync: false,
            offset_us: rng.below(1 << 40),
            drift_ppm: rng.below(16_001) as i64 - 8_000,
            visible: Lsn(0),
            timer_at: 0,
            handed_at: 0,
            synced_at: 0,
            pins: BTreeMap::new(),
            receiving: None,
            opened: None,
            was_wiped: false,
            holds_until: 0,
        }
    }

    /// Its clock at a moment of true time.
    pub(super) fn clock(&self, now: u64) -> Tick {
        Tick((self.offset_us as i64 + now as i64 + now as i64 * self.drift_ppm / 1_000_000) as u64)
    }

    /// The moment of true time at which its clock shows `tick`.
    pub(super) fn when(&self, tick: Tick) -> u64 {
        let own = tick.0 as i64 - self.offset_us as i64;
        (own.max(0) as i128 * 1_000_000 / (1_000_000 + i128::from(self.drift_ppm))) as u64 + 1
    }

    /// What a replica that starts now finds. `claims` lies about what it has.
    pub(super) fn start(&mut self, rng: &SeededRng, claims: bool) -> Start {
        self.disk.settle();
        let log = &self.disk.live;
        let intact = !self.disk.was_cut || claims;
        let standing = if claims && self.was_wiped { Standing::Sound(Epoch(u64::MAX)) } else { log.standing };
        Start {
            me: self.id,
            incarnation: Incarnation(rng.next_u64()),
            standing,
            intact,
            history: log.history.clone(),
            synced: self.disk.synced(),
            floor: log.floor,
            journal_start: log.journal_start(),
        }
    }

    pub(super) fn forget_process(&mut self, now: u64) {
        self.replica = None;
        self.generation += 1;
        self.visible = Lsn(0);
        self.pins.clear();
        self.receiving = None;
        self.opened = None;
        self.fails_sync = false;
        (self.handed_at, self.synced_at) = (now, now);
    }
}
