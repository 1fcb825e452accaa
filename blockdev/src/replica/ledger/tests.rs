//! Promises against a store that takes them all up at once, in the worst case.

use std::sync::atomic::{AtomicU64, Ordering};

use lsm_store::id::BLOCK_BYTES;
use net::replication::Lsn;
use proptest::prelude::*;

use super::*;
use crate::replica::memory::Memory;
use crate::replica::operation::Operation;

/// A store with so much room, and replicas on it.
struct World {
    room: Arc<AtomicU64>,
    ledger: Ledger,
    replicas: Vec<Arc<Pending>>,
}

impl World {
    fn new(room: u64, replicas: usize) -> Self {
        let room = Arc::new(AtomicU64::new(room));
        let asked = Arc::clone(&room);
        let ledger = Ledger::new(move |_| asked.load(Ordering::Relaxed));
        let memory = Arc::new(Memory::default());
        let replicas: Vec<_> = (0..replicas).map(|_| Arc::new(Pending::new(Lsn(0), Arc::clone(&memory)))).collect();
        for (id, pending) in (0..).zip(&replicas) {
            ledger.open(VolumeId(id), StoreVolumeId(id + 1), Arc::clone(pending));
        }
        Self { room, ledger, replicas }
    }

    fn promise(&self, replica: usize) -> Promise {
        self.ledger.promise(VolumeId(replica as u64))
    }

    /// A record of one block comes; the room it needs.
    fn take(&self, replica: usize) -> u64 {
        let pending = &self.replicas[replica];
        let record: Arc<[Operation]> = [Operation::Write { offset: 0, data: vec![1; BLOCK_BYTES].into() }].into();
        let (before, end) = (pending.room_bytes(), Lsn(pending.end().0));
        pending.append(end.next(), [record]);
        let room = pending.room_bytes() - before;
        self.ledger.take(VolumeId(replica as u64), room);
        room
    }

    /// The store gets everything that a replica has, and it needs all the room that it may.
    fn apply(&self, replica: usize) {
        let pending = &self.replicas[replica];
        pending.show(pending.end());
        while let Some(batch) = pending.next_batch(Lsn(u64::MAX), u64::MAX) {
            let room: u64 = batch.records.iter().map(|it| crate::replica::operation::room_of_all(it)).sum();
            let left = self.room.load(Ordering::Relaxed).checked_sub(room);
            self.room.store(left.expect("what was promised is there"), Ordering::Relaxed);
            pending.batch_applied();
        }
    }
}

#[test]
fn a_volume_that_is_written_to_is_promised_more() {
    let world = World::new(1 << 40, 2);
    let mut promise = world.promise(0);
    assert_eq!(promise, Promise { bytes: PROMISE_BYTES_MIN, is_short: false });
    for _ in 0..3 {
        let mut used = 0;
        while used < promise.bytes / 2 {
            used += world.take(0);
        }
        promise = world.promise(0);
    }
    assert_eq!(world.promise(0).bytes, PROMISE_BYTES_MAX);
    assert_eq!(world.promise(1).bytes, PROMISE_BYTES_MIN);
}

#[test]
fn what_is_promised_to_one_is_missing_to_the_others() {
    let world = World::new(8 << 20, 2);
    let (one, other) = (world.promise(0), world.promise(1));
    assert_eq!(one, Promise { bytes: 4 << 20, is_short: true });
    assert_eq!(other, Promise { bytes: 2 << 20, is_short: true });
    assert_eq!(world.ledger.free_bytes(VolumeId(0)), 2 << 20);
    world.ledger.close(VolumeId(0), &world.replicas[0]);
    assert_eq!(world.ledger.free_bytes(VolumeId(0)), 6 << 20);
}

#[test]
fn a_word_holds_when_the_room_is_gone() {
    let world = World::new(64 << 20, 1);
    let before = world.promise(0);
    world.room.store(0, Ordering::Relaxed);
    assert_eq!(world.promise(0), before);
    world.take(0);
    let after = world.promise(0);
    assert!(after.bytes < before.bytes && after.is_short);
}

#[test]
fn a_replica_that_was_started_again_keeps_its_account_when_the_one_before_ends() {
    let world = World::new(64 << 20, 1);
    let again = Arc::new(Pending::new(Lsn(0), Arc::default()));
    world.ledger.open(VolumeId(0), StoreVolumeId(1), Arc::clone(&again));
    world.ledger.close(VolumeId(0), &world.replicas[0]);
    assert!(world.promise(0).bytes > 0);
}

#[test]
fn what_is_reserved_for_a_volume_is_room_for_that_alone() {
    let ledger = Ledger::new(|own| if own == Some(StoreVolumeId(7)) { 64 << 20 } else { 0 });
    for (volume, id) in [(1, 7), (2, 8)] {
        ledger.open(VolumeId(volume), StoreVolumeId(id), Arc::new(Pending::new(Lsn(0), Arc::default())));
    }
    assert_eq!(ledger.promise(VolumeId(2)), Promise { bytes: 0, is_short: true });
    assert_eq!(ledger.promise(VolumeId(1)), Promise { bytes: PROMISE_BYTES_MIN, is_short: false });
    assert_eq!((ledger.free_bytes(VolumeId(1)), ledger.free_bytes(VolumeId(2))), (56 << 20, 0));
}

proptest! {
    /// Whatever is written within the promises can be applied, in any order, and all of the room can be used.
    #[test]
    fn no_more_is_promised_than_there_is(
        room in 1_u64 << 20..16 << 20,
        count in 1_usize..5,
        steps in prop::collection::vec((0_usize..5, 0_u8..4, 1_usize..50), 1..40),
    ) {
        let world = World::new(room, count);
        let mut left = vec![0; count];
        for (replica, step, records) in steps {
            let replica = replica % count;
            match step {
                0 => world.apply(replica),
                1 => left[replica] = world.promise(replica).bytes,
                _ => for _ in 0..records {
                    let needed = crate::replica::operation::room_of_all(
                        &[Operation::Write { offset: 0, data: vec![1; BLOCK_BYTES].into() }],
                    );
                    if left[replica] < needed {
                        break;
                    }
                    left[replica] -= world.take(replica);
                },
            }
        }
        (0..count).for_each(|replica| world.apply(replica));
        // What is left can be had by one, in ever smaller pieces.
        for _ in 0..64 {
            let promise = world.promise(0);
            let mut left = promise.bytes;
            while left >= 16 << 10 {
                left -= world.take(0);
            }
            world.apply(0);
        }
        prop_assert!(world.ledger.free_bytes(VolumeId(0)) < 256 << 10, "{}", world.ledger.free_bytes(VolumeId(0)));
    }
}
