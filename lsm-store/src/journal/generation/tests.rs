use super::*;
use crate::device::sim::{Faults, OperationKind, SimDevice};
use crate::specification::{DISK_FORMAT, rows, table_of};

#[test]
fn the_specification_has_the_offsets_of_a_generation() {
    let (name, rows) = rows!(HeaderV1 {
        magic,
        version,
        previous,
        compat,
        ro_compat,
        incompat,
        store,
        generation,
        incarnation,
        first,
        synced,
        manifest,
        file_bytes,
        reserved,
        checksum,
    });
    assert_eq!(table_of(DISK_FORMAT, name), rows);
}

const FILE_BYTES: u64 = 64 << 10;

/// A pool on a device of its own, as it is when the journal has been copied.
fn pool() -> (SimDevice, Generations) {
    let device = SimDevice::new(1, Faults::none());
    device.create_directory(JOURNAL_DIRECTORY).expect("the device is empty");
    let generations = Generations::new(Arc::new(device.clone()), FILE_BYTES, 4, Generation(1));
    generations.end_copying().expect("nothing can go wrong");
    (device, generations)
}

/// Takes files until `count` are given out, then retires all of them.
fn burst(generations: &Generations, count: usize) {
    let given: Vec<_> = (0..count).map(|_| generations.take().expect("there is room")).collect();
    given.into_iter().for_each(|file| generations.retire(file).expect("nothing can go wrong"));
}

#[test]
fn files_that_were_needed_once_are_used_again_and_not_made_anew() {
    let (device, generations) = pool();
    burst(&generations, 3);
    let (made, kept) = (device.operation_count_of(OperationKind::Create), generations.total_bytes());
    for _ in 0..5 {
        burst(&generations, 1);
        burst(&generations, 3);
    }
    assert_eq!(device.operation_count_of(OperationKind::Create), made, "a new file costs as much as what it takes");
    assert_eq!(generations.total_bytes(), kept);
}

#[test]
fn surplus_files_go_when_their_room_is_wanted() {
    let (_, generations) = pool();
    burst(&generations, 5);
    let kept = generations.total_bytes();
    assert!(generations.give_up_surplus().expect("nothing can go wrong"));
    assert!(generations.total_bytes() < kept && generations.total_bytes() >= 2 * FILE_BYTES);
    assert!(!generations.give_up_surplus().expect("nothing can go wrong"), "there are none left");
    burst(&generations, 1);
}
