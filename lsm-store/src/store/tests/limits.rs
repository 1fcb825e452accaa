//! Reservations and quotas.

use super::*;
use crate::device::sim::OperationKind;
use crate::error::ErrorKind;

const MIB: u64 = 1 << 20;

fn quota(bytes: u64) -> Limits {
    Limits { quota_bytes: Some(bytes), reserve_bytes: None }
}

fn reserve(bytes: u64) -> Limits {
    Limits { reserve_bytes: Some(bytes), quota_bytes: None }
}

fn try_write(volume: &Volume, offset: u64, data: &[u8]) -> Result<(), ErrorKind> {
    volume.write(&[Write { offset, data }]).map_err(|error| error.kind())
}

/// A device with `bytes` left for new data.
fn device_with_room(seed: u64, bytes: u64) -> (SimDevice, Arc<Store>) {
    let device = SimDevice::new(seed, Faults::none());
    let store = new_store(&device);
    while store.step().unwrap() {}
    let space = device.space().unwrap();
    let kept = (64 + 16 + 8) * MIB;
    device.set_capacity(Some(space.total_bytes - space.available_bytes + kept + bytes));
    (device, store)
}

#[test]
fn a_volume_maps_no_more_than_its_quota_and_trimming_makes_room() {
    let device = SimDevice::new(31, Faults::none());
    let store = new_store(&device);
    let volume = new_volume(&store, 16 * MIB);
    store.set_limits(volume.id(), quota(MIB)).unwrap();
    let data = pattern(1, MIB as usize);
    for flushed in [false, true] {
        for (index, block) in data.chunks(BLOCK).enumerate() {
            try_write(&volume, (index * BLOCK) as u64, block).unwrap();
        }
        assert_eq!(try_write(&volume, MIB, &data[..BLOCK]), Err(ErrorKind::OutOfSpace), "flushed: {flushed}");
        assert_eq!(try_write(&volume, MIB, &data[..100]), Err(ErrorKind::OutOfSpace));
        // What is mapped already may be written again, as a whole and in part.
        try_write(&volume, 0, &data).unwrap();
        try_write(&volume, 5, &data[..BLOCK]).unwrap();
        // Zeros take nothing.
        try_write(&volume, 2 * MIB, &[0; 4 * BLOCK]).unwrap();
        if flushed {
            settle(&store);
        }
        volume.zero(0, 2 * BLOCK as u64, Zeroing::Hole).unwrap();
        try_write(&volume, 3 * MIB, &data[..2 * BLOCK]).unwrap();
        assert_eq!(try_write(&volume, 4 * MIB, &data[..BLOCK]), Err(ErrorKind::OutOfSpace));
        volume.zero(0, 16 * MIB, Zeroing::Allocated).unwrap();
    }
}

#[test]
fn no_more_is_reserved_than_there_is_room_for_and_more_when_there_is() {
    let (device, store) = device_with_room(34, 8 * MIB);
    let (one, two) = (new_volume(&store, 64 * MIB), new_volume(&store, 64 * MIB));
    let reserve = |bytes| store.reserve_backed(one.id(), bytes).unwrap();
    assert_eq!((reserve(32 * MIB), store.status().reserved_bytes), (None, 0), "it is not known yet what it maps");
    settle(&store);
    let kept = reserve(32 * MIB).unwrap();
    assert!((2 * MIB..=8 * MIB).contains(&kept), "{kept}");
    assert_eq!(reserve(32 * MIB), Some(kept), "it stays");
    let data = pattern(1, MIB as usize);
    assert_eq!(try_write(&two, 0, &data), Err(ErrorKind::OutOfSpace));
    assert_eq!(store.room_to_write(Some(two.id()), 0).unwrap(), store.room_to_write(None, 0).unwrap());
    assert!(store.room_to_write(Some(one.id()), 0).unwrap() > MIB);
    try_write(&one, 0, &data).unwrap();
    two.foresee_room();
    try_write(&two, 0, &data).unwrap();
    device.set_capacity(None);
    assert_eq!(reserve(32 * MIB), Some(32 * MIB));
    assert_eq!(reserve(MIB), Some(MIB));
    assert_eq!(reserve(0), Some(0));
    assert_eq!(store.status().reserved_bytes, 0);
}

#[test]
fn what_a_volume_maps_can_be_asked_for() {
    let device = SimDevice::new(33, Faults::none());
    let store = new_store(&device);
    let volume = new_volume(&store, MIB);
    try_write(&volume, BLOCK as u64, &pattern(1, 3 * BLOCK)).unwrap();
    try_write(&volume, 6 * BLOCK as u64, &[0; BLOCK]).unwrap();
    volume.zero(2 * BLOCK as u64, BLOCK as u64, Zeroing::Hole).unwrap();
    for _ in 0..2 {
        assert_eq!(volume.mapped_bytes(|| true).unwrap(), Some(2 * BLOCK as u64));
        assert_eq!(volume.are_mapped(0..8).unwrap(), [false, true, false, true, false, false, false, false]);
        settle(&store);
    }
    assert_eq!(volume.mapped_bytes(|| false).unwrap(), None, "the map is read no further");
    assert!(volume.are_mapped(0..257).is_err());
}

#[test]
fn overwriting_again_and_again_does_not_use_a_quota_up() {
    let device = SimDevice::new(32, Faults::none());
    let store = new_store(&device);
    let volume = new_volume(&store, 16 * MIB);
    store.set_limits(volume.id(), quota(2 * MIB)).unwrap();
    let data = pattern(2, MIB as usize);
    for round in 0..8 {
        write(&volume, 0, &data);
        if round % 3 == 0 {
            settle(&store);
        }
    }
    // And neither do snapshots, and clones have none.
    let snapshot = store.snapshot_volumes(&[volume.id()], |_| Vec::new()).unwrap()[0];
    write(&volume, 0, &pattern(3, MIB as usize));
    write(&volume, MIB, &data);
    assert_eq!(try_write(&volume, 2 * MIB, &data[..BLOCK]), Err(ErrorKind::OutOfSpace));
    let clone = store.clone_volume(snapshot, |_| Vec::new()).unwrap();
    write(&store.volume(clone).unwrap(), 2 * MIB, &pattern(4, 4 * MIB as usize));
    // What it holds after it was rolled back counts, not what it held before.
    store.roll_back_volume(volume.id(), snapshot).unwrap();
    while store.step().unwrap() {}
    write(&volume, 3 * MIB, &data);
    assert_eq!(try_write(&volume, 4 * MIB, &data[..BLOCK]), Err(ErrorKind::OutOfSpace));
}

#[test]
fn a_quota_holds_again_as_soon_as_the_volume_was_counted_after_an_opening() {
    let device = SimDevice::new(33, Faults::none());
    let store = new_store(&device);
    let volume = new_volume(&store, 16 * MIB);
    let data = pattern(5, MIB as usize);
    write(&volume, 0, &data);
    settle(&store);
    write(&volume, MIB, &data[..BLOCK]);
    volume.flush().unwrap();
    let id = volume.id();
    drop((volume, store));
    let store = Store::open(environment(&device.process_death()), options()).unwrap();
    store.restore_limits(id, quota(MIB + 2 * BLOCK as u64)).unwrap();
    while store.step().unwrap() {}
    let volume = store.volume(id).unwrap();
    try_write(&volume, 8 * MIB, &data[..BLOCK]).unwrap();
    assert_eq!(try_write(&volume, 9 * MIB, &data[..BLOCK]), Err(ErrorKind::OutOfSpace));
    store.restore_limits(id, Limits::default()).unwrap();
    try_write(&volume, 9 * MIB, &data[..BLOCK]).unwrap();
}

/// Two bytes of one block, two writes of one block and writes that overlap are one block.
#[test]
fn a_batch_counts_each_block_once() {
    let device = SimDevice::new(34, Faults::none());
    let store = new_store(&device);
    let volume = new_volume(&store, 16 * MIB);
    store.set_limits(volume.id(), quota(2 * BLOCK as u64)).unwrap();
    let data = pattern(6, 2 * BLOCK);
    let twice = [Write { offset: 0, data: &data }, Write { offset: 0, data: &data[..BLOCK] }];
    volume.write(&twice).unwrap();
    assert_eq!(try_write(&volume, 2 * BLOCK as u64, &[1]), Err(ErrorKind::OutOfSpace));
    assert!(read(&volume, 0, BLOCK) == data[..BLOCK]);
}

#[test]
fn room_that_one_volume_has_reserved_is_not_for_others() {
    let (_device, store) = device_with_room(35, 24 * MIB);
    let (kept, other) = (new_volume(&store, 64 * MIB), new_volume(&store, 64 * MIB));
    store.set_limits(kept.id(), reserve(12 * MIB)).unwrap();
    let data = pattern(7, 256 << 10);
    let mut written = 0;
    while try_write(&other, written, &pattern(1000 + written, data.len())).is_ok() {
        written += data.len() as u64;
    }
    assert!((2 * MIB..=12 * MIB).contains(&written), "{written}");
    assert_eq!(try_write(&other, written, &data), Err(ErrorKind::OutOfSpace));
    for piece in 0..(10 * MIB / data.len() as u64) {
        let unique = pattern(100 + piece, data.len());
        try_write(&kept, piece * data.len() as u64, &unique).unwrap_or_else(|error| panic!("{piece}: {error:?}"));
        settle(&store);
    }
    // Nothing is reserved any more.
    store.set_limits(kept.id(), Limits::default()).unwrap();
    kept.zero(0, 64 * MIB, Zeroing::Hole).unwrap();
    settle(&store);
    store.collect(true).unwrap();
    try_write(&other, written, &data).unwrap();
}

#[test]
fn what_cannot_be_backed_is_not_reserved() {
    let (device, store) = device_with_room(36, 24 * MIB);
    let (one, two) = (new_volume(&store, 64 * MIB), new_volume(&store, 64 * MIB));
    store.set_limits(one.id(), reserve(10 * MIB)).unwrap();
    let error = store.set_limits(two.id(), reserve(20 * MIB)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfSpace);
    assert!(error.to_string().contains("20971520 bytes cannot be reserved"), "{error}");
    assert_eq!(store.status().reserved_bytes, 10 * MIB);
    // Less than before is always there, and what is mapped needs no room.
    device.set_capacity(Some(0));
    store.set_limits(one.id(), reserve(9 * MIB)).unwrap();
    assert_eq!(store.set_limits(one.id(), reserve(10 * MIB)).unwrap_err().kind(), ErrorKind::OutOfSpace);
    assert_eq!(store.status().reserved_bytes, 9 * MIB);
    let invalid = |limits| store.set_limits(one.id(), limits).unwrap_err().kind();
    assert_eq!(invalid(reserve(65 * MIB)), ErrorKind::Invalid);
    assert_eq!(invalid(Limits { reserve_bytes: Some(2 * MIB), quota_bytes: Some(MIB) }), ErrorKind::Invalid);
    store.delete_volume(one.id(), Vec::new()).unwrap();
    assert_eq!(store.status().reserved_bytes, 0);
}

/// Whoever sets limits holds locks that others wait for.
#[test]
fn limits_of_a_volume_that_was_counted_are_set_without_reading_the_map() {
    let device = SimDevice::new(36, Faults::none());
    let store = new_store(&device);
    let volume = new_volume(&store, 16 * MIB);
    try_write(&volume, 0, &pattern(1, MIB as usize)).unwrap();
    settle(&store);
    let reads = || device.operation_count_of(OperationKind::Read);
    let before = reads();
    store.count_for_limits(volume.id()).unwrap();
    let counted = reads();
    assert!(counted > before);
    try_write(&volume, MIB, &pattern(2, BLOCK)).unwrap();
    store.set_counted_limits(volume.id(), quota(MIB + 2 * BLOCK as u64)).unwrap();
    assert_eq!(reads(), counted);
    // What was written in between counts.
    try_write(&volume, 2 * MIB, &pattern(3, BLOCK)).unwrap();
    assert_eq!(try_write(&volume, 3 * MIB, &pattern(4, BLOCK)), Err(ErrorKind::OutOfSpace));
}
