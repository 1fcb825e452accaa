use bytes::Bytes;
use lsm_store::request::Zeroing;

use super::*;

const BLOCK: u64 = BLOCK_BYTES as u64;

fn write(offset: u64, len: usize) -> Operation {
    Operation::Write { offset, data: Bytes::from(vec![1; len]) }
}

fn zero(offset: u64, len: u64) -> Operation {
    Operation::Zero { offset, len, zeroing: Zeroing::Hole }
}

fn exact(blocks: i64) -> Growth {
    Growth { bytes: blocks * BLOCK as i64, ..Growth::default() }
}

#[test]
fn what_was_not_looked_up_maps_every_block_it_touches() {
    let bound = |operation: &Operation| Growth::bound(std::slice::from_ref(operation));
    assert_eq!(bound(&write(BLOCK - 1, 2)), Growth { bytes: 2 * BLOCK as i64, is_vague: true, is_reset: false });
    assert_eq!(bound(&zero(1, 100 * BLOCK)), Growth { is_vague: true, ..Growth::default() });
    let snapshot = Operation::Snapshot { name: "a".parse().unwrap() };
    assert_eq!(bound(&snapshot), Growth::default());
    let all = [write(0, 1), write(0, 4096), zero(0, 1), Operation::RollBack { to: "a".parse().unwrap() }];
    assert_eq!(Growth::bound(&all), Growth { bytes: 2 * BLOCK as i64, is_vague: true, is_reset: true });
}

#[test]
fn records_count_wherever_they_are() {
    let mut mapped = Mapped::default();
    assert_eq!(mapped.most(), None);
    mapped.push(exact(2));
    mapped.count(10 * BLOCK);
    assert_eq!((mapped.most(), mapped.is_exact()), (Some(12 * BLOCK as i64), true));
    mapped.push(exact(-5));
    mapped.apply(exact(2));
    assert_eq!((mapped.most(), mapped.is_exact()), (Some(7 * BLOCK as i64), true));
    mapped.remove(exact(-5));
    assert_eq!((mapped.most(), mapped.is_exact()), (Some(12 * BLOCK as i64), true));
}

#[test]
fn what_is_vague_stays_so_until_a_count_of_what_came_of_it() {
    let vague = Growth { is_vague: true, ..exact(3) };
    let mut mapped = Mapped::default();
    mapped.count(0);
    mapped.push(vague);
    assert!(!mapped.is_exact());
    mapped.count(0);
    assert!(!mapped.is_exact(), "the store has not got it");
    mapped.apply(vague);
    assert_eq!((mapped.most(), mapped.is_exact()), (Some(3 * BLOCK as i64), false));
    mapped.count(BLOCK);
    assert_eq!((mapped.most(), mapped.is_exact()), (Some(BLOCK as i64), true));
}

#[test]
fn after_a_change_of_everything_nothing_is_known() {
    let reset = Growth { is_reset: true, ..Growth::default() };
    let mut mapped = Mapped::default();
    mapped.count(BLOCK);
    mapped.push(reset);
    assert_eq!(mapped.most(), None);
    mapped.remove(reset);
    assert_eq!(mapped.most(), Some(BLOCK as i64), "it was cut off");
    mapped.push(reset);
    mapped.push(exact(1));
    mapped.apply(reset);
    assert_eq!(mapped.most(), None);
    mapped.count(4 * BLOCK);
    assert_eq!((mapped.most(), mapped.is_exact()), (Some(5 * BLOCK as i64), true));
}
