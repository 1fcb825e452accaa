//! Who may hold how much.

use std::sync::Arc;

use net::replication::Lsn;

use super::*;
use crate::replica::operation::{DATA_BYTES_MAX, Operation};
use crate::replica::pending::{Operations, Pending};

const MEMORY: u64 = 256 << 20;

fn record() -> Operations {
    [Operation::Write { offset: 0, data: vec![1; DATA_BYTES_MAX].into() }].into()
}

/// Appends as long as the replica takes anything.
fn fill(pending: &Pending) {
    while !pending.is_full() {
        pending.append(pending.end().next(), [record()]);
    }
}

#[test]
fn one_replica_may_hold_what_the_others_leave_and_each_has_its_part() {
    let memory = Arc::new(Memory::of_budget(MEMORY));
    let replicas: Vec<_> = (0..20).map(|_| Pending::new(Lsn(0), Arc::clone(&memory))).collect();
    fill(&replicas[0]);
    let share = memory.limit_bytes() / 4 * 3;
    assert!(replicas[0].bytes() > share && memory.held_bytes() < share + (2 << 20));
    for replica in &replicas[1..] {
        assert!(!replica.is_full(), "it goes on");
        fill(replica);
        assert!(replica.bytes() > FLOOR_BYTES);
    }
    let most = share + 20 * (FLOOR_BYTES + (1 << 20) + 4096);
    assert!(memory.held_bytes() <= most, "{} bytes are held", memory.held_bytes());
    assert!(most + memory.windows(20).recent_bytes * 20 < MEMORY / 2, "{most}");
}

#[test]
fn what_is_applied_cut_off_or_given_up_is_not_held() {
    let memory = Arc::new(Memory::of_budget(MEMORY));
    let pending = Pending::new(Lsn(0), Arc::clone(&memory));
    pending.append(Lsn(1), [record(), record(), record()]);
    assert_eq!(memory.held_bytes(), pending.bytes());
    pending.truncate(Lsn(2));
    assert_eq!(memory.held_bytes(), pending.bytes());
    pending.show(Lsn(1));
    assert!(pending.next_batch(Lsn(1), u64::MAX).is_some());
    pending.batch_applied();
    assert_eq!(memory.held_bytes(), pending.bytes());
    pending.replace(Lsn(9));
    assert_eq!((memory.held_bytes(), pending.bytes()), (0, 0));
    pending.append(Lsn(10), [record()]);
    drop(pending);
    assert_eq!(memory.held_bytes(), 0);
}

#[test]
fn clients_wait_and_members_sync_before_anything_is_refused() {
    let memory = Arc::new(Memory::of_budget(MEMORY));
    let pending = Pending::new(Lsn(0), Arc::clone(&memory));
    let mut seen = Vec::new();
    while !pending.is_full() {
        pending.append(pending.end().next(), [record()]);
        let state = (pending.is_filling(), pending.is_half_full(), pending.is_full());
        if seen.last() != Some(&state) {
            seen.push(state);
        }
    }
    assert_eq!(seen, [(false, false, false), (true, false, false), (true, true, false), (true, true, true)]);
}

#[test]
fn windows_get_smaller_with_more_replicas_and_always_let_something_through() {
    for total in [128 << 20, 256 << 20, 1 << 30, 16 << 30] {
        let memory = Memory::of_budget(total);
        for count in [0, 1, 3, 20, 1000] {
            let windows = memory.windows(count);
            net::replication::Policy { windows, ..net::replication::Policy::DEFAULT }.check().unwrap();
        }
        assert!(memory.windows(20).recent_bytes * 20 <= (total / 40).max(20 * RECENT_BYTES_MIN));
    }
}
