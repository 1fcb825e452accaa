use super::*;

/// A segment of 40 blocks in LZ4 frames and a raw one, its device and bytes.
fn fixture() -> (Arc<TestDevice>, SegmentSummary) {
    let device = TestDevice::new();
    let mut writer = SegmentWriter::create(device.clone(), STORE, identity(1), WriteMode::Inline).unwrap();
    let mut compressor = Compressor::new();
    for number in 0..40 {
        let block = block(number);
        let codec = if number == 20 { Codec::None } else { Codec::Lz4 };
        writer.append_block(Fingerprint::of(&block), compressor.compress(codec, &block)).unwrap();
    }
    let summary = writer.seal().unwrap();
    (device, summary)
}

fn check_with(edit: impl FnOnce(&mut Vec<u8>)) -> Check {
    let (device, _) = fixture();
    device.file(&path(SegmentId(1))).edit(edit);
    check(&open(&device), SegmentId(1)).unwrap()
}

fn flip_at(offset: u32) -> Check {
    check_with(|bytes| bytes[offset as usize] ^= 0x20)
}

#[test]
fn each_damage_has_its_name_and_place() {
    let (device, summary) = fixture();
    let (geometry, all) = (summary.geometry, 0..SLOTS_MAX);
    let place = open(&device).segment(SegmentId(1)).unwrap().locate(Slot(20)).unwrap();
    let found = |check: Check| {
        assert_eq!(check.damages.len(), 1, "{check:?}");
        (check.damages[0].kind, check.damages[0].slots.clone(), check.blocks_good)
    };
    assert_eq!(found(flip_at(200)), (DamageKind::Header, 0..0, 40));
    assert_eq!(found(flip_at(place.offset + 7)), (DamageKind::Frame, 20..21, 39));
    assert_eq!(found(flip_at(place.offset + place.len - 1)), (DamageKind::Frame, 20..21, 39));
    assert_eq!(found(flip_at(geometry.slot_table_offset() + 130)), (DamageKind::SlotTable, 0..40, 0));
    assert_eq!(found(flip_at(geometry.fingerprints_offset())), (DamageKind::Fingerprints, 0..40, 0));
    assert_eq!(found(flip_at(geometry.footer_offset() + 90)), (DamageKind::Footer, all.clone(), 0));
    assert_eq!(found(check_with(|bytes| bytes.truncate(100))), (DamageKind::Footer, all.clone(), 0));
    assert_eq!(found(check_with(|bytes| bytes.truncate(bytes.len() - 4096))), (DamageKind::Footer, all.clone(), 0));
}

#[test]
fn a_block_that_is_not_what_its_fingerprint_says_shows() {
    let device = TestDevice::new();
    let mut writer = SegmentWriter::create(device.clone(), STORE, identity(1), WriteMode::Inline).unwrap();
    for number in 0..3 {
        let (named, stored) = (block(number), block(if number == 1 { 99 } else { number }));
        writer.append_block(Fingerprint::of(&named), Stored { encoding: Encoding::Raw, bytes: &stored }).unwrap();
    }
    writer.seal().unwrap();
    let check = check(&open(&device), SegmentId(1)).unwrap();
    assert_eq!((check.blocks_good, check.damages.len()), (2, 1));
    assert_eq!((check.damages[0].kind, check.damages[0].slots.clone()), (DamageKind::Content, 1..2));
}

#[test]
fn bad_sectors_cost_their_own_frames_only() {
    let (device, _) = fixture();
    let segments = open(&device);
    let place = segments.segment(SegmentId(1)).unwrap().locate(Slot(20)).unwrap();
    let sector = u64::from(place.offset + 100) & !511;
    device.file(&path(SegmentId(1))).fail_reads_of(sector..sector + 512);
    let check = check(&segments, SegmentId(1)).unwrap();
    assert!(check.damages.iter().all(|damage| damage.kind == DamageKind::Unreadable));
    let lost: u32 = check.damages.iter().map(|damage| damage.slots.len() as u32).sum();
    assert!(lost >= 1 && lost + check.blocks_good == 40, "{check:?}");
    assert!(lost <= 6, "frames on the bad page and its direct neighbours: {check:?}");
    assert!(check.damages.iter().any(|damage| damage.slots == (20..21)));
}

#[test]
fn a_frame_read_from_elsewhere_fails() {
    let (device, _) = fixture();
    let segments = open(&device);
    let segment = segments.segment(SegmentId(1)).unwrap();
    let bytes = device.file(&path(SegmentId(1))).bytes();
    let place = segment.locate(Slot(20)).unwrap();
    let frame = &bytes[place.offset as usize..(place.offset + place.len) as usize];
    assert!(segment.frame(&place, frame).is_ok());
    let moved = FramePlace { offset: place.offset + 8, ..place };
    assert_eq!(segment.frame(&moved, frame).unwrap_err().kind(), ErrorKind::Corrupt);
    let other = write_segment(device.clone(), identity(2), &[block(1)]);
    segments.learn(&other);
    assert!(segments.segment(SegmentId(2)).unwrap().frame(&place, frame).is_err(), "another segment");
    for len in [0, 7, 8, frame.len() - 1] {
        assert!(segment.frame(&place, &frame[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn a_segment_under_another_name_or_of_another_store_fails() {
    let (device, _) = fixture();
    let bytes = device.file(&path(SegmentId(1))).bytes();
    write_segment(device.clone(), identity(2), &[]);
    device.file(&path(SegmentId(2))).edit(|other| *other = bytes);
    assert_eq!(open(&device).segment(SegmentId(2)).err().unwrap().kind(), ErrorKind::Corrupt);
    let strangers = Segments::new(device.clone(), StoreId([9; 16]), Arc::new(PageCache::new(1 << 20)), 4);
    assert_eq!(strangers.segment(SegmentId(1)).err().unwrap().kind(), ErrorKind::Corrupt);
}

#[test]
fn pages_that_verify_and_lie_are_no_panic() {
    let (device, summary) = fixture();
    let table_at = summary.geometry.slot_table_offset();
    let seal = slot_table::seal(STORE, SegmentId(1));
    let rng = SeededRng::new(11);
    for round in 0..200 {
        device.file(&path(SegmentId(1))).edit(|bytes| {
            let page: &mut [u8; 4096] = (&mut bytes[table_at as usize..][..4096]).try_into().unwrap();
            for _ in 0..=rng.below(8) {
                page[rng.below(4092) as usize] = [0, 1, 0xff, rng.below(256) as u8][rng.below(4) as usize];
            }
            if round % 50 == 49 {
                rng.fill(page);
            }
            seal.seal_page(table_at.into(), page);
        });
        let segments = open(&device);
        let segment = segments.segment(SegmentId(1)).unwrap();
        for slot in 0..40 {
            if let Ok(place) = segment.locate(Slot(slot)) {
                assert!(place.offset + place.len <= summary.geometry.frames_end());
            }
        }
        let _ = check(&segments, SegmentId(1)).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_damaged_segment_gives_right_blocks_or_errors(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), 1_u8..), 1..6),
        zeroed in proptest::option::of(any::<prop::sample::Index>()),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let (device, _) = fixture();
        let file = device.file(&path(SegmentId(1)));
        file.edit(|bytes| {
            for (at, flips) in &edits {
                let at = at.index(bytes.len());
                bytes[at] ^= flips;
            }
            if let Some(sector) = zeroed {
                let at = sector.index(bytes.len() / 512) * 512;
                bytes[at..at + 512].fill(0);
            }
            if let Some(cut) = cut {
                let len = cut.index(bytes.len());
                bytes.truncate(len);
            }
        });
        let segments = open(&device);
        let _ = check(&segments, SegmentId(1)).unwrap();
        let Ok(segment) = segments.segment(SegmentId(1)) else { return Ok(()) };
        for slot in 0..40 {
            if let Ok(bytes) = read_block(&segment, Slot(slot)) {
                prop_assert_eq!(&bytes[..], &block(slot.into())[..]);
            }
            if let Ok(fingerprint) = segment.fingerprint(Slot(slot), Readahead::Stream) {
                prop_assert_eq!(fingerprint, Fingerprint::of(&block(slot.into())));
            }
        }
    }
}
