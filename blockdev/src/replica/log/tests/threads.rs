//! Readers and syncers beside the owner.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::*;

/// Checks that records say of themselves that they belong where they were read.
fn assert_belong(after: u64, read: &[Record]) {
    for (record, lsn) in read.iter().zip(after + 1..) {
        let Body::Write(payload) = &record.body else { panic!("an opening that nobody wrote") };
        assert_eq!(payload[..16], [record.epoch.0.to_le_bytes(), lsn.to_le_bytes()].concat());
    }
    assert!(read.is_sorted_by_key(|record| record.epoch));
}

#[test]
fn readers_see_a_prefix_while_records_come_and_go() {
    let device = device();
    let mut log = create(&device);
    let (done, reads) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..2 {
            let reader = log.reader();
            let (done, reads) = (&done, &reads);
            scope.spawn(move || {
                let mut after = 0;
                while !done.load(Ordering::Relaxed) {
                    let read = reader.read(Lsn(after), 7, 4000).unwrap();
                    assert_belong(after, &read);
                    reads.fetch_add(read.len() as u64, Ordering::Relaxed);
                    after = if read.is_empty() { 0 } else { after + read.len() as u64 };
                }
            });
        }
        let (mut epoch, mut round) = (1, 0u64);
        while reads.load(Ordering::Relaxed) < 20_000 {
            let end = log.end().0;
            log.append(Lsn(end + 1), &records(epoch, end + 1..=end + 5, 300)).unwrap();
            round += 1;
            if round.is_multiple_of(3) {
                log.truncate(Lsn(log.end().0 - round % 4)).unwrap();
                epoch += 1;
            }
            if log.end() > Lsn(500) {
                log.truncate(Lsn(1)).unwrap();
                epoch += 1;
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn what_a_sync_in_another_thread_covers_is_durable() {
    let device = device();
    let mut log = create(&device);
    let (handed, done) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let (syncer, device) = (log.syncer(), &device);
        let (handed, done) = (&handed, &done);
        scope.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                let before = handed.load(Ordering::Acquire);
                syncer.sync().unwrap();
                let image = device.crash_image(&CrashChoice::Nothing);
                assert!(open(&image, OTHER_BOOT).0.end() >= Lsn(before));
            }
        });
        for lsn in 1..=400 {
            log.append(Lsn(lsn), &records(1, lsn..=lsn, 1500)).unwrap();
            handed.store(lsn, Ordering::Release);
        }
        done.store(true, Ordering::Relaxed);
    });
}
