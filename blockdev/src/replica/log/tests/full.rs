//! A full disk: records have to wait, everything else goes on, and nothing is lost.

use std::io::IoSlice;

use lsm_store::device::Access;

use super::*;

/// Others take all the room there is.
fn fill_up(device: &SimDevice) {
    let space = device.space().unwrap();
    device.set_capacity(Some(space.total_bytes - space.available_bytes));
}

/// Appends records one by one until there is no room; how many there are.
fn append_until_full(log: &mut ReplicaLog) -> u64 {
    loop {
        let next = log.end().next();
        match log.append(next, &[record(1, next.0, 300)]) {
            Ok(()) => assert!(next.0 < 10_000, "the disk is full"),
            Err(error) => {
                assert!(error.is_full(), "{error:?}");
                assert_eq!(log.end().next(), next);
                return log.end().0;
            }
        }
    }
}

#[test]
fn records_wait_for_room_and_everything_else_is_written() {
    let device = device();
    let mut log = create(&device);
    log.append(Lsn(1), &records(1, 1..=60, 300)).unwrap();
    fill_up(&device);
    let end = append_until_full(&mut log);
    log.syncer().sync().unwrap();
    log.note(Standing::Sound(Epoch(2))).unwrap();
    log.truncate(Lsn(end - 1)).unwrap();
    log.checkpoint(Lsn(20)).unwrap();
    assert!(log.append(Lsn(end), &[record(1, end, 4000)]).unwrap_err().is_full());
    assert_eq!(all(&log), records(1, 1..=end - 1, 300));
    device.set_capacity(None);
    log.append(Lsn(end), &records(1, end..=end + 50, 300)).unwrap();
    log.syncer().sync().unwrap();
    let (log, recovered) = open(&device.crash_image(&CrashChoice::Nothing), OTHER_BOOT);
    assert_eq!((recovered.standing, recovered.floor), (Standing::Sound(Epoch(2)), Lsn(20)));
    assert_eq!(all(&log), records(1, 1..=end + 50, 300));
}

#[test]
fn a_part_of_what_is_appended_may_find_room_and_is_said_to_have() {
    let device = device();
    let mut log = create(&device);
    let space = device.space().unwrap();
    device.set_capacity(Some(space.total_bytes - space.available_bytes + (16 << 10)));
    let many = records(1, 1..=100, 600);
    assert!(log.append(Lsn(1), &many).unwrap_err().is_full());
    let end = log.end();
    assert!((1..100).contains(&end.0), "{end}");
    assert_eq!(all(&log), many[..end.0 as usize]);
    device.set_capacity(None);
    log.append(end.next(), &many[end.0 as usize..]).unwrap();
    assert_eq!(all(&log), many);
}

#[test]
fn notes_go_on_beyond_the_end_of_a_file_on_a_full_disk() {
    let device = device();
    let mut log = create(&device);
    fill_up(&device);
    append_until_full(&mut log);
    let file = log.tail.held().file.number;
    // The reserve, the file that is kept, and what the pages of both have left.
    for epoch in 2..34 {
        log.note(Standing::Sound(Epoch(epoch))).unwrap();
    }
    assert_eq!(log.tail.held().file.number, file.next());
    device.set_capacity(None);
    log.note(Standing::Sound(Epoch(34))).unwrap();
    let (_, recovered) = open(&device, BOOT);
    assert_eq!(recovered.standing, Standing::Sound(Epoch(34)));
}

#[test]
fn a_log_is_opened_on_a_full_disk_after_a_power_cut() {
    let device = device();
    let mut log = create(&device);
    log.append(Lsn(1), &records(1, 1..=30, 300)).unwrap();
    log.syncer().sync().unwrap();
    drop(log);
    let device = device.crash_image(&CrashChoice::Nothing);
    fill_up(&device);
    let (mut log, recovered) = open(&device, OTHER_BOOT);
    assert_eq!(recovered.history.end().lsn, Lsn(30));
    log.note(Standing::Sound(Epoch(7))).unwrap();
    log.syncer().sync().unwrap();
    drop(log);
    let device = device.crash_image(&CrashChoice::Nothing);
    device.set_capacity(None);
    let (mut log, recovered) = open(&device, OTHER_BOOT);
    assert_eq!(recovered.standing, Standing::Sound(Epoch(7)));
    log.append(Lsn(31), &records(1, 31..=90, 300)).unwrap();
    assert_eq!(all(&log), records(1, 1..=90, 300));
}

/// Its frames could follow the header of the file that is begun in its place.
#[test]
fn what_the_kept_file_held_when_its_name_came_back_is_cleared() {
    let device = device();
    let spare = create(&device).shared.place.spare_path();
    let file = device.open(&spare, Access::Buffered).unwrap();
    let len = file.len().unwrap() as usize;
    file.write_at(&[IoSlice::new(&vec![7; len])], 0).unwrap();
    let (log, _) = open(&device, BOOT);
    assert!(log.has_spare);
    let mut bytes = vec![7; len];
    let device = device.crash_image(&CrashChoice::Nothing);
    device.open(&spare, Access::Buffered).unwrap().read_at(&mut bytes, 0).unwrap();
    assert!(bytes.iter().all(|byte| *byte == 0), "nothing of it is left");
}
