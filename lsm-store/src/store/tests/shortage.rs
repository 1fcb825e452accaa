//! A full disk breaks nothing and leaves nothing behind.

use super::*;
use crate::device::sim::{Fault, OperationKind, SimOptions, Trigger};
use crate::error::ErrorKind;

fn record(number: u8, len: usize) -> Vec<Record> {
    vec![Record { key: vec![number], value: Some(vec![number; len]) }]
}

#[test]
fn a_commit_is_made_although_there_is_no_room_for_the_checkpoint_that_is_due() {
    let device = SimDevice::new(21, Faults::none());
    let store = new_store(&device);
    device.inject(Trigger::on(OperationKind::Create).under("manifest/").forever(), Fault::NoSpace);
    for number in 0..7 {
        store.put_records(record(number, 1 << 20)).unwrap();
    }
    device.clear_faults();
    store.put_records(record(7, 1)).unwrap();
    let records = store.records();
    assert_eq!(records.len(), 8);
    drop(store);
    let store = Store::open(environment(&device.process_death()), options()).unwrap();
    assert!(store.records() == records);
}

#[test]
fn a_superblock_that_may_be_written_in_part_stops_the_store() {
    let device = SimDevice::new(22, Faults::none());
    let store = new_store(&device);
    device.inject(Trigger::on(OperationKind::Write).under("superblock"), Fault::NoSpace);
    let failed = (0..7).find_map(|number| store.put_records(record(number, 1 << 20)).err());
    assert_eq!(failed.unwrap().kind(), ErrorKind::Poisoned);
}

#[test]
fn a_flush_job_that_finds_no_room_leaves_no_file() {
    let faults =
        [(OperationKind::SetLen, "segments/"), (OperationKind::Write, "runs/"), (OperationKind::Write, "manifest/")];
    for (kind, path) in faults {
        let device = SimDevice::new(23, Faults::none());
        let store = new_store(&device);
        let volume = new_volume(&store, 1 << 20);
        let data = pattern(1, 8 * BLOCK);
        write(&volume, 0, &data);
        store.freeze().unwrap();
        device.inject(Trigger::on(kind).under(path), Fault::NoSpace);
        assert_eq!(store.step().unwrap_err().kind(), ErrorKind::OutOfSpace, "{path}");
        assert!(device.list("segments").unwrap().is_empty(), "{path}");
        assert!(device.list("runs").unwrap().is_empty(), "{path}");
        while store.step().unwrap() {}
        assert_eq!(store.status().segment_count, 1, "{path}");
        assert!(read(&volume, 0, data.len()) == data, "{path}");
    }
}

#[test]
fn upkeep_goes_on_while_there_is_no_room_for_journal_files() {
    let device = SimDevice::new(24, Faults::none());
    let store = new_store(&device);
    let volume = new_volume(&store, 1 << 20);
    write(&volume, 0, &pattern(1, BLOCK));
    volume.flush().unwrap();
    device.inject(Trigger::on(OperationKind::Create).under("journal/").forever(), Fault::NoSpace);
    assert!(store.step().unwrap(), "the mark is written");
    assert_eq!(store.step().unwrap_err().kind(), ErrorKind::OutOfSpace);
}

#[test]
fn a_store_whose_capacity_is_all_of_the_disk_opens_after_a_crash() {
    const DISK_BYTES: u64 = 1 << 30;
    let device = SimDevice::with_options(SimOptions { capacity_bytes: Some(DISK_BYTES), ..SimOptions::new(25) });
    let store = new_store(&device);
    let volume = new_volume(&store, 1 << 20);
    store.set_capacity(Some(256 << 20)).unwrap();
    let data = pattern(1, 8 * BLOCK);
    write(&volume, 0, &data);
    volume.flush().unwrap();
    device.set_capacity(Some(DISK_BYTES - device.space().unwrap().available_bytes));
    let store = Store::open(environment(&device.process_death()), options()).unwrap();
    assert!(read(&store.volume(volume.id()).unwrap(), 0, data.len()) == data);
}

#[test]
fn a_store_open_for_reading_has_no_work_to_do() {
    let device = SimDevice::new(26, Faults::none());
    new_store(&device).close().unwrap();
    let read_only = Options { read_only: true, ..options() };
    let store = Store::open(environment(&device.read_only()), read_only).unwrap();
    assert!(!store.step().unwrap());
}
