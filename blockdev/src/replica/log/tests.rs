//! The log against what it was told. Files are short, so that there are several.

mod crash;
mod damage;
mod full;
mod model;
mod threads;

use std::sync::Arc;

use bytes::Bytes;
use lsm_store::device::AccessMode;
use lsm_store::device::directory::DirectoryDevice;
use lsm_store::device::sim::{CrashChoice, Fault, Faults, OperationKind, SimDevice, Trigger};
use net::replication::Body;

use super::frame::Sequence;
use super::place::FileNumber;
use super::*;

const VOLUME: VolumeId = VolumeId(7);
const BOOT: BootId = BootId([1; 16]);
const OTHER_BOOT: BootId = BootId([2; 16]);
const THIRD_BOOT: BootId = BootId([3; 16]);
const SIZES: Sizes = Sizes { file_bytes: 32 << 10, step_bytes: 4 << 10, reserve_bytes: 1 << 10 };
const SOUND: Standing = Standing::Sound(Epoch(1));

fn device() -> SimDevice {
    SimDevice::new(1, Faults::none())
}

fn create(device: &SimDevice) -> ReplicaLog {
    ReplicaLog::create_sized(Arc::new(device.clone()), VOLUME, BOOT, SOUND, SIZES).unwrap()
}

fn open(device: &SimDevice, boot: BootId) -> (ReplicaLog, Recovered) {
    ReplicaLog::open_sized(Arc::new(device.clone()), VOLUME, boot, SIZES).unwrap()
}

/// A record that says in its content where it belongs.
fn record(epoch: u64, lsn: u64, len: usize) -> Record {
    let name = [epoch.to_le_bytes(), lsn.to_le_bytes()].concat();
    Record { epoch: Epoch(epoch), body: Body::Write(name.into_iter().cycle().take(len).collect::<Vec<_>>().into()) }
}

fn records(epoch: u64, lsns: std::ops::RangeInclusive<u64>, len: usize) -> Vec<Record> {
    lsns.map(|lsn| record(epoch, lsn, len)).collect()
}

fn all(log: &ReplicaLog) -> Vec<Record> {
    log.reader().read(Lsn(log.start().0 - 1), usize::MAX, u64::MAX).unwrap()
}

fn history(starts: &[(u64, u64)], end: u64) -> History {
    let starts = starts.iter().map(|(epoch, first)| (Epoch(*epoch), Lsn(*first))).collect();
    History::new(starts, Lsn(end)).unwrap()
}

#[test]
fn a_log_is_there_once_and_not_after_its_removal() {
    let device = device();
    assert!(!ReplicaLog::exists(&device, VOLUME).unwrap());
    let shared: Arc<dyn Device> = Arc::new(device.clone());
    assert!(matches!(ReplicaLog::open(Arc::clone(&shared), VOLUME, BOOT), Err(LogError::Missing(_))));
    drop(create(&device));
    assert!(ReplicaLog::exists(&device, VOLUME).unwrap());
    assert!(!ReplicaLog::exists(&device, VolumeId(8)).unwrap());
    assert!(matches!(ReplicaLog::create(Arc::clone(&shared), VOLUME, BOOT, SOUND), Err(LogError::Exists(_))));
    let after_cut = device.crash_image(&CrashChoice::Nothing);
    assert!(ReplicaLog::exists(&after_cut, VOLUME).unwrap());
    ReplicaLog::remove(&device, VOLUME).unwrap();
    ReplicaLog::remove(&device, VOLUME).unwrap();
    assert!(!ReplicaLog::exists(&device.crash_image(&CrashChoice::Nothing), VOLUME).unwrap());
}

#[test]
fn what_was_appended_is_read_back_and_found_again() {
    let device = device();
    let mut log = create(&device);
    let opening = Record { epoch: Epoch(1), body: Body::Opening };
    let empty = Record { epoch: Epoch(1), body: Body::Write(Bytes::new()) };
    let mut told = vec![opening, empty];
    told.extend(records(1, 3..=9, 5000));
    told.extend(records(4, 10..=11, 63));
    log.append(Lsn(1), &told[..1]).unwrap();
    log.append(Lsn(2), &told[1..]).unwrap();
    assert_eq!((log.start(), log.end()), (Lsn(1), Lsn(11)));
    assert_eq!(all(&log), told);
    let (log, recovered) = open(&device, BOOT);
    assert_eq!(all(&log), told);
    let history = history(&[(1, 1), (4, 10)], 11);
    let expected = Recovered {
        standing: SOUND,
        intact: true,
        history,
        synced: Lsn(11),
        floor: Lsn(0),
        start: Lsn(1),
        is_torn: false,
    };
    assert_eq!(recovered, expected);
    assert!(device.paths().len() > 2, "several files");
    assert_eq!(log.bytes() % 4096, 0);
}

#[test]
fn opening_makes_everything_durable() {
    let device = device();
    let mut log = create(&device);
    log.append(Lsn(1), &records(1, 1..=12, 5000)).unwrap();
    drop(log);
    drop(open(&device, BOOT));
    let (log, recovered) = open(&device.crash_image(&CrashChoice::Nothing), OTHER_BOOT);
    assert_eq!((recovered.synced, recovered.intact), (Lsn(12), false));
    assert_eq!(all(&log), records(1, 1..=12, 5000));
}

#[test]
fn a_read_keeps_to_its_bounds() {
    let device = device();
    let mut log = create(&device);
    let told = records(1, 1..=40, 1000);
    log.append(Lsn(1), &told[..7]).unwrap();
    log.append(Lsn(8), &told[7..]).unwrap();
    let read = |after, count_max, bytes_max| log.reader().read(Lsn(after), count_max, bytes_max).unwrap();
    assert_eq!(read(3, 6, u64::MAX), told[3..9]);
    assert_eq!(read(3, 100, 4999), told[3..7]);
    assert_eq!(read(3, 100, 0), told[3..4]);
    assert_eq!(read(3, 0, 0), told[3..4]);
    assert_eq!(read(39, 10, u64::MAX), told[39..]);
    assert_eq!(read(0, usize::MAX, u64::MAX), told);
    assert!(read(40, 1, 1).is_empty() && read(u64::MAX, 1, 1).is_empty());
}

#[test]
fn what_was_truncated_is_gone_and_others_come_in_its_place() {
    let device = device();
    let mut log = create(&device);
    log.append(Lsn(1), &records(1, 1..=10, 900)).unwrap();
    log.truncate(Lsn(4)).unwrap();
    assert_eq!(all(&log), records(1, 1..=4, 900));
    log.append(Lsn(5), &records(2, 5..=6, 100)).unwrap();
    let told = [records(1, 1..=4, 900), records(2, 5..=6, 100)].concat();
    assert_eq!(all(&log), told);
    let (mut log, recovered) = open(&device, BOOT);
    assert_eq!(all(&log), told);
    assert_eq!(recovered.history, history(&[(1, 1), (2, 5)], 6));
    log.truncate(Lsn(0)).unwrap();
    assert_eq!((log.start(), log.end(), all(&log)), (Lsn(1), Lsn(0), vec![]));
    assert_eq!(open(&device, BOOT).1.history, History::default());
}

#[test]
fn a_standing_stays_until_the_next_is_noted() {
    let device = device();
    let mut log = create(&device);
    for standing in [Standing::Doubtful(Epoch(1)), Standing::Outside, Standing::Sound(Epoch(9))] {
        log.note(standing).unwrap();
        assert_eq!(open(&device, BOOT).1.standing, standing);
        log = open(&device, BOOT).0;
    }
}

#[test]
fn a_log_stays_in_doubt_until_a_standing_is_noted() {
    let device = device();
    drop(create(&device));
    assert!(open(&device, BOOT).1.intact);
    assert!(!open(&device, OTHER_BOOT).1.intact);
    let (mut log, recovered) = open(&device, OTHER_BOOT);
    assert!(!recovered.intact, "what a kernel took with it is not back because its successor still runs");
    log.note(Standing::Doubtful(Epoch(1))).unwrap();
    assert!(open(&device, OTHER_BOOT).1.intact);
}

#[test]
fn files_go_when_their_records_are_below() {
    let device = device();
    let mut log = create(&device);
    for lsn in 1..=40 {
        log.append(Lsn(lsn), &records(1, lsn..=lsn, 3000)).unwrap();
    }
    let whole = log.bytes();
    assert_eq!(log.trim(Lsn(41), false).unwrap(), Lsn(1), "nothing is below yet");
    log.checkpoint(Lsn(30)).unwrap();
    let reader = log.reader();
    let start = log.trim(Lsn(20), false).unwrap();
    assert!(start > Lsn(10) && start <= Lsn(20), "{start:?}");
    assert_eq!(all(&log), records(1, start.0..=40, 3000));
    assert!(reader.read(Lsn(start.0 - 2), 1, 1).unwrap().is_empty());
    let start = log.trim(Lsn(41), false).unwrap();
    assert!(start > Lsn(23) && start <= Lsn(31), "{start:?}");
    assert!(log.bytes() < whole / 2);
    for image in [device.crash_image(&CrashChoice::Nothing), device.crash_image(&CrashChoice::Everything)] {
        let (log, recovered) = open(&image, OTHER_BOOT);
        assert_eq!((recovered.floor, log.end()), (Lsn(30), Lsn(40)));
        assert_eq!(all(&log), records(1, log.start().0..=40, 3000));
    }
    log.checkpoint(Lsn(40)).unwrap();
    assert!(log.trim(Lsn(41), false).unwrap() > Lsn(31));
    assert_eq!(log.shared.look(|contents| contents.files.len()), 1);
}

#[test]
fn a_trimmed_file_becomes_the_next_one_and_what_was_in_it_never_comes_back() {
    let device = device();
    let mut log = create(&device);
    let is_recycled = || device.paths().iter().any(|path| path.ends_with("/recycled"));
    let (mut kept, mut reused) = (0, 0);
    for lsn in 1..=120 {
        let had = is_recycled();
        log.append(Lsn(lsn), &records(1, lsn..=lsn, 900)).unwrap();
        reused += u32::from(had && !is_recycled());
        for (choice, image) in device.crash_point().images(1, 20) {
            let opened = ReplicaLog::open_sized(Arc::new(image.clone()), VOLUME, OTHER_BOOT, SIZES);
            let (found, recovered) = opened.unwrap_or_else(|error| panic!("{lsn}, {choice:?}: {error}"));
            assert!(found.end() >= Lsn(kept) && found.end() <= Lsn(lsn), "{lsn}, {choice:?}");
            assert_eq!(all(&found), records(1, found.start().0..=found.end().0, 900), "{lsn}, {choice:?}");
            assert!(recovered.floor.next() >= found.start());
            assert!(!image.paths().iter().any(|path| path.ends_with("/recycled")));
        }
        if lsn % 5 == 0 {
            log.checkpoint(Lsn(lsn)).unwrap();
            kept = lsn;
            log.trim(Lsn(lsn - 3), true).unwrap();
        }
    }
    assert!(reused > 3, "{reused} files were made of trimmed ones");
    let (log, recovered) = open(&device, BOOT);
    assert!(recovered.intact, "nothing seems to be behind the end");
    assert_eq!(all(&log), records(1, log.start().0..=120, 900));
}

#[test]
fn the_room_of_a_trimmed_file_is_given_back_when_it_is_needed() {
    let device = device();
    let mut log = create(&device);
    log.append(Lsn(1), &records(1, 1..=100, 900)).unwrap();
    log.checkpoint(Lsn(100)).unwrap();
    log.trim(Lsn(101), true).unwrap();
    let with_it = log.bytes();
    log.trim(Lsn(101), false).unwrap();
    assert_eq!(log.bytes(), with_it - SIZES.file_bytes);
    assert!(!device.paths().iter().any(|path| path.ends_with("/recycled")));
}

#[test]
fn an_install_replaces_the_log() {
    let device = device();
    let mut log = create(&device);
    log.append(Lsn(1), &records(1, 1..=12, 5000)).unwrap();
    log.note(Standing::Sound(Epoch(1))).unwrap();
    log.begin_install().unwrap();
    let torn = open(&device.crash_image(&CrashChoice::Nothing), OTHER_BOOT).1;
    assert_eq!((torn.is_torn, torn.standing), (true, Standing::Outside));
    let other = history(&[(3, 90), (5, 95)], 100);
    log.note(Standing::Doubtful(Epoch(2))).unwrap();
    log.install(other.clone()).unwrap();
    assert_eq!((log.start(), log.end(), all(&log)), (Lsn(101), Lsn(100), vec![]));
    log.append(Lsn(101), &records(5, 101..=102, 10)).unwrap();
    log.syncer().sync().unwrap();
    let (log, installed) = open(&device.crash_image(&CrashChoice::Nothing), OTHER_BOOT);
    assert_eq!((installed.is_torn, installed.floor), (false, Lsn(100)));
    assert_eq!(installed.standing, Standing::Doubtful(Epoch(2)));
    assert_eq!(installed.history, history(&[(3, 90), (5, 95)], 102));
    assert_eq!((installed.start, all(&log)), (Lsn(101), records(5, 101..=102, 10)));
}

#[test]
fn an_install_is_durable_whatever_came_before_it() {
    let device = device();
    let mut log = create(&device);
    log.append(Lsn(1), &records(1, 1..=2, 50)).unwrap();
    log.install(history(&[(1, 1)], 100)).unwrap();
    assert_eq!(open(&device.crash_image(&CrashChoice::Nothing), OTHER_BOOT).1.floor, Lsn(100));
}

#[test]
fn a_file_goes_only_when_the_next_is_durable() {
    let device = device();
    let mut log = create(&device);
    log.append(Lsn(1), &records(1, 1..=7, 3000)).unwrap();
    log.checkpoint(Lsn(7)).unwrap();
    log.append(Lsn(8), &records(1, 8..=8, 3000)).unwrap();
    assert_eq!(log.trim(Lsn(8), false).unwrap(), Lsn(8));
    for (choice, image) in device.crash_point().images(1, 100) {
        let opened = ReplicaLog::open_sized(Arc::new(image), VOLUME, OTHER_BOOT, SIZES);
        assert_eq!(opened.unwrap().1.floor, Lsn(7), "{choice:?}");
    }
}

#[test]
fn a_long_history_is_remembered_in_its_newer_part() {
    let device = device();
    let mut log = create(&device);
    let starts: Vec<_> = (1..=200).map(|epoch| (epoch, epoch * 2)).collect();
    log.install(history(&starts, 1000)).unwrap();
    for lsn in 1001..=1300 {
        log.append(Lsn(lsn), &records(lsn, lsn..=lsn, 1)).unwrap();
    }
    let recovered = open(&device, BOOT).1.history;
    let newer: Vec<_> = (1045..=1300).map(|lsn| (lsn, lsn)).collect();
    assert_eq!(recovered, history(&newer, 1300));
}

#[test]
fn records_that_cannot_be_are_refused_and_nothing_is_done() {
    let device = device();
    let mut log = create(&device);
    log.append(Lsn(1), &records(4, 1..=1, 10)).unwrap();
    for refused in [records(3, 2..=2, 10), records(4, 2..=2, 20 << 10), records(0, 2..=2, 1)] {
        assert!(matches!(log.append(Lsn(2), &refused), Err(LogError::Invalid { .. })));
    }
    let falling = [record(6, 2, 1), record(5, 3, 1)];
    assert!(matches!(log.append(Lsn(2), &falling), Err(LogError::Invalid { .. })));
    log.append(Lsn(2), &records(4, 2..=2, 10)).unwrap();
    assert_eq!(all(&log), records(4, 1..=2, 10));
}

#[test]
fn a_failed_log_takes_and_gives_nothing_more() {
    for kind in [OperationKind::Write, OperationKind::Sync, OperationKind::Allocate] {
        let device = device();
        let mut log = create(&device);
        log.append(Lsn(1), &records(1, 1..=1, 100)).unwrap();
        device.inject(Trigger::on(kind), Fault::Io);
        let lost = log.append(Lsn(2), &records(1, 2..=2, 9000)).and_then(|()| log.syncer().sync());
        assert!(matches!(lost, Err(LogError::Io { .. })), "{kind:?}");
        assert!(matches!(log.append(Lsn(log.end().0 + 1), &records(1, 9..=9, 1)), Err(LogError::Failed)));
        assert!(matches!(log.note(SOUND), Err(LogError::Failed)));
        assert!(matches!(log.syncer().sync(), Err(LogError::Failed)));
        assert!(matches!(log.reader().read(Lsn(0), 1, 1), Err(LogError::Failed)));
        let (log, _) = open(&device, BOOT);
        assert_eq!(all(&log)[0], record(1, 1, 100));
    }
}

#[test]
fn what_only_the_page_cache_has_is_not_there() {
    let device = device();
    let mut log = create(&device);
    log.append(Lsn(1), &records(1, 1..=1, 100)).unwrap();
    log.syncer().sync().unwrap();
    log.append(Lsn(2), &records(1, 2..=2, 100)).unwrap();
    device.inject(Trigger::on(OperationKind::Sync), Fault::DropDirty);
    log.syncer().sync().unwrap_err();
    drop(log);
    let (log, recovered) = open(&device, BOOT);
    assert_eq!((log.end(), recovered.intact), (Lsn(1), false));
    assert_eq!(all(&open(&device.crash_image(&CrashChoice::Nothing), OTHER_BOOT).0), records(1, 1..=1, 100));
}

#[test]
fn a_sync_covers_a_file_that_was_begun_and_its_name() {
    let device = device();
    let mut log = create(&device);
    let syncer = log.syncer();
    for lsn in 1..=30 {
        log.append(Lsn(lsn), &records(1, lsn..=lsn, 3000)).unwrap();
        if lsn % 10 == 0 {
            syncer.sync().unwrap();
            let (log, _) = open(&device.crash_image(&CrashChoice::Nothing), OTHER_BOOT);
            assert_eq!(all(&log), records(1, 1..=lsn, 3000));
        }
    }
    let before = device.operation_count_of(OperationKind::Sync);
    syncer.sync().unwrap();
    assert_eq!(device.operation_count_of(OperationKind::Sync), before, "there was nothing to sync");
}

#[test]
fn a_newer_log_is_refused_and_left_alone() {
    let device = device();
    let mut log = create(&device);
    log.append(Lsn(1), &records(1, 1..=1, 100)).unwrap();
    drop(log);
    let place = Place::new(VOLUME);
    let state = State::new(SOUND);
    let (first, previous) = (Sequence(2), 0);
    let header = header::Header { first, synced: Sequence(0), previous, boot: BOOT, is_install: false, state };
    let (mut bytes, _) = header.encode(&place, FileNumber(2));
    bytes[8] = 2;
    let checksum = place.seal(*b"RLGH", FileNumber(2)).checksum(0, &[&bytes[..8188]]);
    bytes[8188..].copy_from_slice(&checksum.to_le_bytes());
    let file = device.create(&place.path(FileNumber(2)), lsm_store::device::Access::Buffered).unwrap();
    file.write_at(&[std::io::IoSlice::new(&bytes)], 0).unwrap();
    let before = device.operation_count_of(OperationKind::Write);
    let refused = ReplicaLog::open(Arc::new(device.clone()), VOLUME, BOOT).unwrap_err();
    assert!(matches!(refused, LogError::Unsupported { found: 2, .. }), "{refused}");
    assert_eq!(device.paths().len(), 3);
    assert_eq!(device.operation_count_of(OperationKind::Write), before);
    assert!(ReplicaLog::exists(&device, VOLUME).unwrap());
}

#[test]
fn removed_files_that_come_back_are_removed_again() {
    let device = device();
    let mut log = create(&device);
    log.append(Lsn(1), &records(1, 1..=40, 3000)).unwrap();
    log.checkpoint(Lsn(40)).unwrap();
    let first = device.paths()[0].clone();
    log.trim(Lsn(41), false).unwrap();
    device.create(&first, lsm_store::device::Access::Buffered).unwrap();
    let (_, recovered) = open(&device, BOOT);
    assert_eq!(recovered.history.end().lsn, Lsn(40));
    assert!(!device.paths().contains(&first));
}

#[test]
fn a_log_in_a_real_directory_is_found_again() {
    let path = std::env::temp_dir().join(format!("blockdev-replica-log-{}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    let device: Arc<dyn Device> = Arc::new(DirectoryDevice::open(&path, AccessMode::ReadWrite).unwrap());
    let mut log = ReplicaLog::create(Arc::clone(&device), VOLUME, BOOT, SOUND).unwrap();
    let told = records(1, 1..=70, 1 << 20);
    log.append(Lsn(1), &told).unwrap();
    log.syncer().sync().unwrap();
    drop(log);
    let (mut log, recovered) = ReplicaLog::open(Arc::clone(&device), VOLUME, BOOT).unwrap();
    assert!(recovered.intact);
    assert!(all(&log) == told);
    log.checkpoint(Lsn(70)).unwrap();
    assert_eq!(log.trim(Lsn(71), false).unwrap(), Lsn(71));
    assert_eq!(log.bytes(), 4 << 20);
    ReplicaLog::remove(&*device, VOLUME).unwrap();
    std::fs::remove_dir_all(&path).unwrap();
}
