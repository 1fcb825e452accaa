//! Bytes that change where they are at rest.

use super::model::{Said, said};
use super::*;

/// A log in two files, whose last frame says that all but itself is durable, and what it said before and after that.
fn small() -> (SimDevice, [Said; 2]) {
    let device = device();
    let mut log = create(&device);
    log.append(Lsn(1), &records(1, 1..=3, 50)).unwrap();
    log.note(Standing::Doubtful(Epoch(1))).unwrap();
    log.truncate(Lsn(2)).unwrap();
    log.checkpoint(Lsn(1)).unwrap();
    drop(log);
    let (mut log, _) = open(&device, BOOT);
    log.append(Lsn(3), &records(2, 3..=4, 100)).unwrap();
    log.syncer().sync().unwrap();
    let [before, after] = [4, 5].map(|end| Said {
        records: [records(1, 1..=2, 50), records(2, 3..=end, 100)].concat(),
        floor: Lsn(1),
        end: Lsn(end),
        standing: Standing::Doubtful(Epoch(1)),
        is_torn: false,
    });
    log.append(Lsn(5), &records(2, 5..=5, 100)).unwrap();
    log.syncer().sync().unwrap();
    (device, [before, after])
}

#[test]
fn a_changed_byte_is_found_or_costs_the_last_frame_only() {
    let (device, [before, after]) = small();
    let (mut whole, mut shorter, mut corrupt) = (0, 0, 0);
    for path in device.paths() {
        let len = device.open(&path, lsm_store::device::Access::Buffered).unwrap().len().unwrap();
        for offset in 0..len {
            let image = device.process_death();
            image.flip_bit(&path, offset, (offset % 8) as u8).unwrap();
            match ReplicaLog::open_sized(Arc::new(image), VOLUME, BOOT, SIZES) {
                Ok((log, recovered)) => {
                    let found = said(&log, &recovered);
                    assert!(found == before || found == after, "{path} at {offset}: {found:?}");
                    assert!(found == after || !recovered.intact, "{path} at {offset}");
                    *(if found == after { &mut whole } else { &mut shorter }) += 1;
                }
                Err(LogError::Corrupt { .. }) => corrupt += 1,
                Err(error) => panic!("{path} at {offset}: {error}"),
            }
        }
    }
    assert!(shorter >= 64 + 16 + 100, "the last frame: {shorter}");
    assert!(corrupt >= 2 * 8192 + 6 * 64, "headers and the frames before it: {corrupt}");
    assert!(whole > 2 * 64, "what is allocated ahead: {whole}");
}

#[test]
fn a_file_that_is_missing_or_cut_is_found() {
    let device = device();
    let mut log = create(&device);
    for lsn in 1..=30 {
        log.append(Lsn(lsn), &records(1, lsn..=lsn, 3000)).unwrap();
        log.syncer().sync().unwrap();
    }
    drop(log);
    // The file that is kept for a full disk is none of the log's.
    let paths: Vec<_> = device.paths().into_iter().filter(|path| !path.ends_with("spare")).collect();
    assert!(paths.len() >= 4);
    for path in &paths[..paths.len() - 1] {
        let without = device.process_death();
        without.remove(path).unwrap();
        let cut = device.process_death();
        cut.open(path, lsm_store::device::Access::Buffered).unwrap().set_len(9001).unwrap();
        for image in [without, cut] {
            let opened = ReplicaLog::open_sized(Arc::new(image), VOLUME, BOOT, SIZES);
            assert!(matches!(opened, Err(LogError::Corrupt { .. })), "{path}");
        }
    }
}

#[test]
fn a_file_of_another_log_is_not_taken() {
    let (device, _) = small();
    let paths = device.paths();
    let other = VolumeId(8);
    let stolen = Place::new(other);
    device.create_directory(&stolen.directory).unwrap();
    for (number, path) in (1..).zip(&paths) {
        device.rename(path, &stolen.path(FileNumber(number))).unwrap();
    }
    let opened = ReplicaLog::open(Arc::new(device), other, BOOT);
    assert!(matches!(opened, Err(LogError::Corrupt { .. })));
}

/// Puts a part of one device's file in place of the same of another one's.
fn copy(from: &SimDevice, to: &SimDevice, path: &str, part: std::ops::Range<u64>) {
    let [from, to] = [from, to].map(|device| device.open(path, lsm_store::device::Access::Buffered).unwrap());
    let mut bytes = vec![0; (part.end - part.start) as usize];
    from.read_at(&mut bytes, part.start).unwrap();
    to.write_at(&[std::io::IoSlice::new(&bytes)], part.start).unwrap();
}

#[test]
fn what_belongs_to_another_past_of_the_same_log_is_not_taken() {
    let [ours, theirs] = [1, 2].map(|epoch| {
        let device = device();
        let mut log = create(&device);
        log.append(Lsn(1), &records(epoch, 1..=1, 48)).unwrap();
        log.append(Lsn(2), &records(2, 2..=2, 48)).unwrap();
        let (mut log, _) = open(&device, BOOT);
        log.append(Lsn(3), &records(2, 3..=3, 48)).unwrap();
        device
    });
    let paths = ours.paths();
    // A record of 48 bytes makes a frame of 128.
    for (path, part, end) in [(&paths[0], 8192 + 128..8192 + 256, None), (&paths[1], 0..8192 + 128, Some(Lsn(2)))] {
        let image = ours.process_death();
        copy(&theirs, &image, path, part);
        match ReplicaLog::open_sized(Arc::new(image), VOLUME, BOOT, SIZES) {
            Ok((log, _)) => assert_eq!(Some(log.end()), end),
            Err(error) => assert!(end.is_none() && matches!(error, LogError::Corrupt { .. }), "{error}"),
        }
    }
}

#[test]
fn a_record_that_rots_is_not_given_out() {
    let (device, _) = small();
    let (log, _) = open(&device, BOOT);
    let first = device.paths()[0].clone();
    device.flip_bit(&first, 8192 + 64 + 3 * 16 + 60, 0).unwrap();
    assert!(matches!(log.reader().read(Lsn(0), 1, 1), Err(LogError::Corrupt { offset: 8192, .. })));
    assert_eq!(log.reader().read(Lsn(2), 1, 1).unwrap(), records(2, 3..=3, 100));
}
