mod damage;
mod format;
mod specification;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use proptest::prelude::*;

use super::*;
use crate::codec::{Codec, Compressor, Decompressor, Encoding, Stored};
use crate::device::AlignedBuffer;
use crate::error::ErrorKind;
use crate::fingerprint::Fingerprint;
use crate::id::{BLOCK_BYTES, Location, Slot, StoreId};
use crate::page_cache::PageCache;
use crate::rng::{Rng, SeededRng};
use crate::test_device::TestDevice;

pub(crate) const STORE: StoreId = StoreId(*b"a store of tests");

pub(crate) fn identity(id: u32) -> Identity {
    let created = Duration::from_millis(1_700_000_000_123);
    Identity { id: SegmentId(id), epoch: Epoch(5), class: Class::Flush, domain: 0, created }
}

/// Half-compressible content that depends on `number` alone.
pub(crate) fn block(number: u64) -> [u8; BLOCK_BYTES] {
    let mut block = [number as u8; BLOCK_BYTES];
    SeededRng::new(number).fill(&mut block[..BLOCK_BYTES / 2]);
    block
}

/// A sealed segment of LZ4 frames.
pub(crate) fn write_segment(
    device: Arc<TestDevice>,
    identity: Identity,
    blocks: &[[u8; BLOCK_BYTES]],
) -> SegmentSummary {
    let mut writer = SegmentWriter::create(device, STORE, identity, WriteMode::Inline).unwrap();
    let mut compressor = Compressor::new();
    for block in blocks {
        writer.append_block(Fingerprint::of(block), compressor.compress(Codec::Lz4, block)).unwrap();
    }
    writer.seal().unwrap()
}

pub(super) fn open(device: &Arc<TestDevice>) -> Segments {
    Segments::new(device.clone(), STORE, Arc::new(PageCache::new(1 << 22)), 16)
}

/// Reads one block the way the store does.
pub(super) fn read_block(segment: &Segment, slot: Slot) -> crate::Result<Vec<u8>> {
    let place = segment.locate(slot)?;
    let (offset, len) = place.aligned_range(segment.file().alignment());
    let mut buffer = AlignedBuffer::zeroed(len);
    segment.file().read_at(&mut buffer, offset).unwrap();
    let at = (u64::from(place.offset) - offset) as usize;
    let mut out = vec![0; place.decoded_bytes()];
    segment.decode(&place, &buffer[at..at + place.len as usize], &mut Decompressor::new(), &mut out)?;
    Ok(out.chunks(BLOCK_BYTES).nth(place.index_of(slot)).unwrap().to_vec())
}

/// Frames of these numbers of blocks, compressed or (where possible) raw; the blocks by slot.
fn write_frames(
    device: Arc<TestDevice>,
    frames: &[(usize, Codec)],
) -> (SegmentSummary, Vec<Option<[u8; BLOCK_BYTES]>>) {
    let mut writer = SegmentWriter::create(device, STORE, identity(1), WriteMode::Inline).unwrap();
    let (mut compressor, mut by_slot, mut number) = (Compressor::new(), Vec::new(), 0);
    for (count, codec) in frames {
        let blocks: Vec<_> = (0..*count).map(|index| block(number + index as u64)).collect();
        number += *count as u64;
        let fingerprints: Vec<_> = blocks.iter().map(Fingerprint::of).collect();
        let bytes = blocks.concat();
        let first = writer.append_group(&fingerprints, compressor.compress(*codec, &bytes)).unwrap();
        by_slot.resize(usize::from(first.0), None);
        by_slot.extend(blocks.into_iter().map(Some));
    }
    (writer.seal().unwrap(), by_slot)
}

#[test]
fn names_are_ids_and_back() {
    assert_eq!(path(SegmentId(0xabc)), "segments/0000000000000abc");
    assert_eq!(parse_name("0000000000000abc"), Some(SegmentId(0xabc)));
    for name in ["", "abc", "0000000000000ABC", "+000000000000abc", "0000000100000000", "0000000000000abc.tmp"] {
        assert_eq!(parse_name(name), None, "{name:?}");
    }
}

#[test]
fn who_forgets_a_segment_learns_whether_somebody_has_it_open() {
    let device = TestDevice::new();
    let summaries = [1, 2].map(|id| write_segment(device.clone(), identity(id), &[block(1)]));
    let segments = open(&device);
    summaries.iter().for_each(|summary| segments.learn(summary));
    let held = segments.segment(SegmentId(1)).unwrap();
    segments.segment(SegmentId(2)).unwrap();
    assert!(!segments.forget(SegmentId(1)) && segments.forget(SegmentId(2)));
    assert!(!segments.forget(SegmentId(3)), "nothing is known of it");
    assert!(read_block(&held, Slot(0)).is_ok());
}

#[test]
fn an_empty_segment_seals() {
    let device = TestDevice::new();
    let summary = SegmentWriter::create(device.clone(), STORE, identity(1), WriteMode::Inline).unwrap().seal().unwrap();
    assert_eq!((summary.frames, summary.blocks, summary.frame_bytes()), (0, 0, 0));
    assert_eq!(device.file(&path(SegmentId(1))).bytes().len(), 8192);
    assert!(check(&open(&device), SegmentId(1)).unwrap().damages.is_empty());
}

#[test]
fn a_sealed_segment_is_cut_synced_and_found_again() {
    let device = TestDevice::new();
    let blocks: Vec<_> = (0..300).map(block).collect();
    let summary = write_segment(device.clone(), identity(7), &blocks);
    let file = device.file(&path(SegmentId(7)));
    assert_eq!(file.bytes().len(), summary.geometry.file_bytes() as usize);
    assert_eq!(file.syncs(), 1);
    let segments = open(&device);
    assert_eq!(segments.summary(SegmentId(7)).unwrap(), summary);
    segments.learn(&summary);
    let segment = segments.segment(SegmentId(7)).unwrap();
    for (slot, block) in blocks.iter().enumerate() {
        assert_eq!(read_block(&segment, Slot(slot as u16)).unwrap(), block);
    }
    assert_eq!(segment.locate(Slot(300)).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(segment.fingerprint(Slot(300), Readahead::Page).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn without_a_footer_there_is_no_segment() {
    let device = TestDevice::new();
    let mut writer = SegmentWriter::create(device.clone(), STORE, identity(1), WriteMode::Inline).unwrap();
    let block = block(1);
    writer.append_block(Fingerprint::of(&block), Stored { encoding: Encoding::Raw, bytes: &block }).unwrap();
    drop(writer);
    assert_eq!(device.file(&path(SegmentId(1))).bytes().len() as u64, SEGMENT_BYTES_MAX, "reserved at once");
    assert_eq!(open(&device).segment(SegmentId(1)).err().unwrap().kind(), ErrorKind::Corrupt);
    assert_eq!(open(&device).segment(SegmentId(2)).err().unwrap().kind(), ErrorKind::Corrupt, "missing");
}

#[test]
fn a_full_disk_shows_at_creation_and_leaves_nothing() {
    let device = TestDevice::new();
    device.is_full.store(true, Ordering::Relaxed);
    let error = SegmentWriter::create(device.clone(), STORE, identity(1), WriteMode::Inline).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::OutOfSpace);
    assert!(crate::device::Device::list(&*device, SEGMENT_DIRECTORY).unwrap().is_empty());
}

#[test]
fn a_discarded_segment_leaves_nothing() {
    let device = TestDevice::new();
    SegmentWriter::create(device.clone(), STORE, identity(1), WriteMode::Inline).unwrap().discard().unwrap();
    assert!(crate::device::Device::list(&*device, SEGMENT_DIRECTORY).unwrap().is_empty());
}

#[test]
fn fills_to_its_limit_and_no_further() {
    let device = TestDevice::new();
    let mut writer = SegmentWriter::create(device.clone(), STORE, identity(1), WriteMode::Inline).unwrap();
    let raw = block(3);
    let fingerprint = Fingerprint::of(&raw);
    while writer.room_for(1, BLOCK_BYTES) {
        writer.append_block(fingerprint, Stored { encoding: Encoding::Raw, bytes: &raw }).unwrap();
    }
    let summary = writer.seal().unwrap();
    let file_bytes = u64::from(summary.geometry.file_bytes());
    assert!(file_bytes <= SEGMENT_BYTES_MAX && file_bytes > SEGMENT_BYTES_MAX - 3 * 4096, "{file_bytes}");
}

#[test]
fn holds_65536_slots_and_no_more() {
    let device = TestDevice::new();
    let mut writer = SegmentWriter::create(device.clone(), STORE, identity(1), WriteMode::Inline).unwrap();
    let tiny = [7; BLOCK_BYTES];
    let mut compressor = Compressor::new();
    let stored = compressor.compress(Codec::Lz4, &tiny);
    for slot in 0..=u16::MAX {
        assert!(writer.room_for(1, stored.bytes.len()));
        assert_eq!(writer.append_block(Fingerprint::of(&tiny), stored).unwrap(), Slot(slot));
    }
    assert!(!writer.room_for(1, stored.bytes.len()));
    writer.seal().unwrap();
    let segments = open(&device);
    let segment = segments.segment(SegmentId(1)).unwrap();
    assert_eq!(read_block(&segment, Slot(u16::MAX)).unwrap(), tiny);
    assert_eq!(Directory::read(&segment).unwrap().entries().count(), 65_536);
    assert_eq!(check(&segments, SegmentId(1)).unwrap(), Check { blocks_good: 65_536, damages: vec![] });
}

#[test]
fn a_group_never_spans_two_slot_pages() {
    let device = TestDevice::new();
    let singles = vec![(1, Codec::Lz4); slot_table::SLOTS_PER_PAGE - 3];
    let frames: Vec<_> =
        singles.into_iter().chain([(16, Codec::Zstd { level: Default::default() }), (1, Codec::Lz4)]).collect();
    let (summary, by_slot) = write_frames(device.clone(), &frames);
    assert_eq!(summary.geometry.slots() - summary.blocks, 3);
    let segment = open(&device).segment(SegmentId(1)).unwrap();
    for (slot, block) in by_slot.iter().enumerate() {
        match block {
            Some(block) => assert_eq!(read_block(&segment, Slot(slot as u16)).unwrap(), block),
            None => assert_eq!(segment.locate(Slot(slot as u16)).unwrap_err().kind(), ErrorKind::Corrupt),
        }
    }
}

/// A store whose segment 1 has these blocks and was learnt.
fn known_segment(blocks: &[[u8; BLOCK_BYTES]]) -> (Arc<TestDevice>, Segments) {
    let device = TestDevice::new();
    let summary = write_segment(device.clone(), identity(1), blocks);
    let segments = open(&device);
    segments.learn(&summary);
    (device, segments)
}

#[test]
fn a_directory_page_is_read_once_and_streams_read_ahead() {
    let blocks: Vec<_> = (0..400).map(block).collect();
    let (device, segments) = known_segment(&blocks);
    let reads = || device.reads.load(Ordering::Relaxed);
    let segment = segments.segment(SegmentId(1)).unwrap();
    assert_eq!(reads(), 0, "a known segment is opened without reading");
    assert!(segment.cached_slot_page(Slot(0)).is_none());
    for slot in 0..400 {
        segment.locate(Slot(slot)).unwrap();
    }
    assert_eq!(reads(), 1);
    assert!(segment.cached_slot_page(Slot(399)).is_some());
    let at = |slot| Location { segment: SegmentId(1), slot: Slot(slot) };
    assert_eq!(segments.fingerprint_at(at(0), Readahead::Stream).unwrap(), Fingerprint::of(&blocks[0]));
    assert_eq!(segments.fingerprint_at(at(399), Readahead::Page).unwrap(), Fingerprint::of(&blocks[399]));
    assert_eq!(reads(), 2);
}

#[test]
fn fingerprints_of_a_directory_that_was_read_need_no_other_read() {
    let blocks: Vec<_> = (0..400).map(block).collect();
    let (device, segments) = known_segment(&blocks);
    let segment = segments.segment(SegmentId(1)).unwrap();
    Directory::read(&segment).unwrap().keep_fingerprints(&segment);
    let reads = device.reads.load(Ordering::Relaxed);
    for (slot, block) in blocks.iter().enumerate() {
        let at = Location { segment: SegmentId(1), slot: Slot(slot as u16) };
        assert_eq!(segments.fingerprint_at(at, Readahead::Page).unwrap(), Fingerprint::of(block));
    }
    assert_eq!(device.reads.load(Ordering::Relaxed), reads);
}

#[test]
fn a_slot_page_read_by_the_caller_is_verified_and_kept() {
    let (device, segments) = known_segment(&[block(1)]);
    let segment = segments.segment(SegmentId(1)).unwrap();
    let offset = segment.slot_page_offset(Slot(0)).unwrap() as usize;
    let bytes = device.file(&path(SegmentId(1))).bytes();
    let mut page: [u8; 4096] = bytes[offset..offset + 4096].try_into().unwrap();
    let admitted = segment.admit_slot_page(Slot(0), &page).unwrap();
    assert_eq!(admitted.locate(Slot(0)), segment.cached_slot_page(Slot(0)).unwrap().locate(Slot(0)));
    assert_eq!(admitted.locate(Slot(2000)), None, "a slot of another page");
    page[1] ^= 1;
    assert_eq!(segment.admit_slot_page(Slot(0), &page).err().unwrap().kind(), ErrorKind::Corrupt);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_mix_of_frames_reads_back(frames in proptest::collection::vec((1_usize..=16, 0_usize..3), 1..160)) {
        let codecs = [Codec::None, Codec::Lz4, Codec::Zstd { level: Default::default() }];
        let frames: Vec<_> = frames.into_iter().map(|(blocks, codec)| match codecs[codec] {
            Codec::None => (1, Codec::None),
            codec => (blocks, codec),
        }).collect();
        let device = TestDevice::new();
        let (summary, by_slot) = write_frames(device.clone(), &frames);
        prop_assert_eq!(summary.frames as usize, frames.len());
        let segments = open(&device);
        let segment = segments.segment(SegmentId(1)).unwrap();
        for (slot, block) in by_slot.iter().enumerate() {
            if let Some(block) = block {
                prop_assert_eq!(&read_block(&segment, Slot(slot as u16)).unwrap()[..], &block[..]);
            }
        }
        let directory = Directory::read(&segment).unwrap();
        let expected: Vec<_> = by_slot.iter().enumerate()
            .filter_map(|(slot, block)| Some((Slot(slot as u16), Fingerprint::of(block.as_ref()?)))).collect();
        prop_assert_eq!(directory.entries().collect::<Vec<_>>(), expected);
        let found = check(&segments, SegmentId(1)).unwrap();
        prop_assert_eq!(found, Check { blocks_good: summary.blocks, damages: vec![] });
    }

    #[test]
    fn ranges_of_slots_give_each_frame_once(
        frames in proptest::collection::vec(1_usize..=16, 1..300),
        from in any::<prop::sample::Index>(), len in 1_usize..200,
    ) {
        let device = TestDevice::new();
        let frames: Vec<_> = frames.into_iter().map(|blocks| (blocks, Codec::Lz4)).collect();
        let (summary, by_slot) = write_frames(device.clone(), &frames);
        let segment = open(&device).segment(SegmentId(1)).unwrap();
        let first = from.index(summary.geometry.slots() as usize);
        let last = (first + len).min(summary.geometry.slots() as usize - 1);
        let page = segment.slot_page(Slot(first as u16)).unwrap();
        let last = last.min(page.slots().end as usize - 1);
        let mut expected: Vec<_> = (first..=last).filter(|slot| by_slot[*slot].is_some())
            .map(|slot| segment.locate(Slot(slot as u16)).unwrap()).collect();
        expected.dedup();
        let found: Vec<_> = page.frames(Slot(first as u16), Slot(last as u16)).collect();
        prop_assert_eq!(found, expected);
    }
}
