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
    pool_of(FILE_BYTES)
}

fn pool_of(file_bytes: u64) -> (SimDevice, Generations) {
    let device = SimDevice::new(1, Faults::none());
    device.create_directory(JOURNAL_DIRECTORY).expect("the device is empty");
    let generations = Generations::new(Arc::new(device.clone()), file_bytes, 4, Generation(1));
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

fn writes(device: &SimDevice) -> u64 {
    device.operation_count_of(OperationKind::Write)
}

#[test]
fn the_next_files_are_filled_with_zeros_once_and_only_if_they_are_new() {
    let (device, generations) = pool();
    (0..4).for_each(|_| generations.prepare().expect("nothing can go wrong"));
    assert_eq!(writes(&device), 0, "new files are allocated");
    assert!(generations.fill_next(2, || true).expect("nothing can go wrong"));
    assert!(generations.fill_next(2, || true).expect("nothing can go wrong"));
    assert!(!generations.fill_next(2, || true).expect("nothing can go wrong"), "others are not next");
    let filled = writes(&device);
    assert!(filled > 0);
    let file = generations.take().expect("there is room");
    assert!(generations.fill_next(2, || true).expect("nothing can go wrong"), "one has come after it");
    generations.retire(file).expect("nothing can go wrong");
    for _ in 0..20 {
        burst(&generations, 1);
        while generations.fill_next(2, || true).expect("nothing can go wrong") {}
    }
    assert_eq!(writes(&device), filled / 2 * 4, "each of the four files was filled once");
}

#[test]
fn a_file_that_was_given_out_is_not_filled_any_more() {
    let (device, generations) = pool_of(16 * ZERO_CHUNK_BYTES as u64);
    (0..4).for_each(|_| generations.prepare().expect("nothing can go wrong"));
    let generations = Arc::new(generations);
    for round in 0..20u8 {
        generations.prepare().expect("nothing can go wrong");
        let (before, other) = (writes(&device), Arc::clone(&generations));
        let filler = std::thread::spawn(move || other.fill_next(1, || true).expect("nothing can go wrong"));
        while writes(&device) == before {
            std::thread::yield_now();
        }
        let file = generations.take().expect("there is room");
        let data = vec![round | 1; file.bytes as usize];
        file.write(&[IoSlice::new(&data)], 0).expect("nothing can go wrong");
        assert!(filler.join().expect("it does not panic"));
        let mut found = vec![0; data.len()];
        file.file.read_at(&mut found, 0).expect("nothing can go wrong");
        assert!(found == data, "zeros over what was written, round {round}");
        remove(&device, file.generation).expect("nothing can go wrong");
        generations.pool.lock().given_out_bytes -= file.bytes;
    }
}
