use std::sync::Arc;

use lsm_store::ErrorKind;
use lsm_store::clock::SystemClock;
use lsm_store::codec::Codec;
use lsm_store::device::sim::{CrashChoice, Faults, SimDevice};
use lsm_store::id::VolumeId;
use lsm_store::request::Write;
use lsm_store::rng::{Rng, SeededRng};
use lsm_store::store::{BackgroundMode, Budget, Environment, Options, Settings, Store, Volume, VolumeSpec};
use proptest::prelude::*;

use super::index::{CHUNKS_MAX, IndexPage, Place};
use super::*;

fn environment(device: &SimDevice) -> Environment {
    let (clock, rng) = (Arc::new(SystemClock::new()), Arc::new(SeededRng::new(7)));
    Environment { device: Arc::new(device.clone()), clock, rng }
}

fn opened(device: &SimDevice) -> Arc<Store> {
    let options = Options { budget: Budget::divide(256 << 20), background: BackgroundMode::Manual, read_only: false };
    Store::open(environment(device), options).unwrap()
}

fn new_store(device: &SimDevice) -> Arc<Store> {
    Store::create(&environment(device), Settings::default()).unwrap();
    opened(device)
}

fn new_volume(store: &Store) -> Volume {
    let spec = VolumeSpec { size_bytes: UPLOAD_BYTES, codec: Codec::Lz4 };
    store.volume(store.create_volume(spec, |_| Vec::new()).unwrap()).unwrap()
}

fn settle(store: &Store) {
    store.freeze().unwrap();
    while store.step().unwrap() {}
}

fn random(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    SeededRng::new(seed).fill(&mut bytes);
    bytes
}

fn put(store: &Store, chunker: Chunker, bytes: &[u8]) -> ObjectReader {
    let volume = new_volume(store);
    let mut writer = StreamWriter::new(volume.clone(), chunker);
    writer.write(bytes).unwrap();
    whole(volume, chunker, writer.finish(store).unwrap())
}

fn whole(volume: Volume, chunker: Chunker, laid: Laid) -> ObjectReader {
    ObjectReader::of_whole(volume, chunker, laid.length, laid.index_pages).unwrap()
}

fn all(reader: &ObjectReader, offset: u64, end: u64) -> Vec<u8> {
    let mut stream = reader.stream(offset, end).unwrap();
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next_piece().unwrap() {
        assert!(!piece.is_empty() && piece.len() <= PIECE_BYTES);
        bytes.extend(piece);
    }
    bytes
}

const BOTH: [Chunker; 2] = [Chunker::Fixed, Chunker::FastCdcV1];

/// A piece of a stream: data, or zeros.
fn pieces() -> impl Strategy<Value = Vec<(bool, usize)>> {
    let len = prop_oneof![0..100usize, 0..20_000usize, 0..400_000usize];
    prop::collection::vec((prop::bool::weighted(0.8), len), 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn an_object_holds_what_came(
        pieces in pieces(),
        chunker in prop::sample::select(BOTH.to_vec()),
        reads in prop::collection::vec((0.0..1.1f64, 0..300_000usize), 6),
        settled: bool,
    ) {
        let store = new_store(&SimDevice::new(1, Faults::none()));
        let volume = new_volume(&store);
        let mut writer = StreamWriter::new(volume.clone(), chunker);
        let mut model = Vec::new();
        for (seed, (is_data, len)) in pieces.into_iter().enumerate() {
            match is_data {
                true => {
                    let data = random(seed as u64, len);
                    writer.write(&data).unwrap();
                    model.extend(data);
                }
                false => {
                    writer.write_zeros(len as u64).unwrap();
                    model.resize(model.len() + len, 0);
                }
            }
            prop_assert_eq!(writer.position(), model.len() as u64);
        }
        let laid = writer.finish(&store).unwrap();
        if settled {
            settle(&store);
        }
        let reader = whole(volume, chunker, laid);
        prop_assert_eq!(reader.length(), model.len() as u64);
        prop_assert!(all(&reader, 0, u64::MAX) == model);
        for (at, len) in reads {
            let offset = (at * model.len() as f64) as usize;
            let end = (offset + len).min(model.len());
            let expected = model.get(offset..end).unwrap_or_default();
            prop_assert!(reader.read_at(offset as u64, len).unwrap() == expected, "{} from {}", len, offset);
            prop_assert!(all(&reader, offset as u64, (offset + len) as u64) == expected);
        }
    }
}

#[test]
fn an_object_of_many_pages_is_read_from_anywhere() {
    let store = new_store(&SimDevice::new(2, Faults::none()));
    let bytes = random(4, 48 << 20);
    let reader = put(&store, Chunker::FastCdcV1, &bytes);
    settle(&store);
    assert!(reader.page_of(u64::MAX).unwrap().number >= 1, "it has more than one page");
    assert!(all(&reader, 0, u64::MAX) == bytes);
    for offset in (0..bytes.len()).step_by(777_777) {
        assert!(reader.read_at(offset as u64, 100_000).unwrap() == bytes[offset..(offset + 100_000).min(bytes.len())]);
    }
    assert!(reader.read_at(bytes.len() as u64, 1).unwrap().is_empty());
    assert!(reader.read_at(u64::MAX, usize::MAX).unwrap().is_empty());
}

#[test]
fn a_byte_in_front_is_stored_and_little_else() {
    let store = new_store(&SimDevice::new(3, Faults::none()));
    let bytes = random(5, 8 << 20);
    put(&store, Chunker::FastCdcV1, &bytes);
    settle(&store);
    let before = store.status().blocks_stored;
    assert!(before >= 2048);
    let shifted = [&[1], &bytes[..]].concat();
    let reader = put(&store, Chunker::FastCdcV1, &shifted);
    settle(&store);
    let grown = store.status().blocks_stored - before;
    assert!(grown <= 20, "{grown} of {before} blocks were stored again");
    assert!(all(&reader, 0, u64::MAX) == shifted);
}

#[test]
fn the_same_stream_is_stored_once_with_its_index() {
    for chunker in BOTH {
        let store = new_store(&SimDevice::new(4, Faults::none()));
        let bytes = random(6, (3 << 20) + 5);
        put(&store, chunker, &bytes);
        settle(&store);
        let before = store.status().blocks_stored;
        put(&store, chunker, &bytes);
        settle(&store);
        assert_eq!(store.status().blocks_stored, before, "{chunker:?}");
    }
}

#[test]
fn an_object_that_is_not_cut_shares_with_volumes() {
    let store = new_store(&SimDevice::new(5, Faults::none()));
    let volume = new_volume(&store);
    let bytes = random(7, 2 << 20);
    volume.write(&[Write { offset: 1 << 30, data: &bytes }]).unwrap();
    settle(&store);
    let before = store.status().blocks_stored;
    put(&store, Chunker::Fixed, &bytes);
    settle(&store);
    assert_eq!(store.status().blocks_stored, before);
}

#[test]
fn long_zeros_cost_little_and_are_cut_like_others() {
    for (chunker, len) in [(Chunker::Fixed, 300u64 << 40), (Chunker::FastCdcV1, 300 << 30)] {
        let store = new_store(&SimDevice::new(6, Faults::none()));
        let volume = new_volume(&store);
        let mut writer = StreamWriter::new(volume.clone(), chunker);
        writer.write(b"head").unwrap();
        writer.write_zeros(len).unwrap();
        writer.write(b"tail").unwrap();
        let reader = whole(volume, chunker, writer.finish(&store).unwrap());
        assert_eq!(reader.length(), len + 8);
        assert_eq!(reader.read_at(0, 6).unwrap(), b"head\0\0");
        assert_eq!(reader.read_at(len / 2, 99).unwrap(), [0; 99]);
        assert_eq!(reader.read_at(reader.length() - 6, 9).unwrap(), b"\0\0tail");
    }
    let zeros = [&[1; 30_000][..], &[0; 500_000], &[2; 30_000]].concat();
    let store = new_store(&SimDevice::new(6, Faults::none()));
    let reader = put(&store, Chunker::FastCdcV1, &zeros);
    let volume = new_volume(&store);
    let mut writer = StreamWriter::new(volume.clone(), Chunker::FastCdcV1);
    writer.write(&zeros[..30_000]).unwrap();
    writer.write_zeros(500_000).unwrap();
    writer.write(&zeros[530_000..]).unwrap();
    let skipped = whole(volume, Chunker::FastCdcV1, writer.finish(&store).unwrap());
    assert_eq!(skipped.page_of(0).unwrap(), reader.page_of(0).unwrap());
}

#[test]
fn a_stream_is_refused_where_the_index_begins() {
    let store = new_store(&SimDevice::new(6, Faults::none()));
    let mut writer = StreamWriter::new(new_volume(&store), Chunker::Fixed);
    writer.write_zeros(512 << 40).unwrap();
    assert_eq!(writer.write_zeros(4096).unwrap_err().kind(), ErrorKind::Invalid);
    let mut writer = StreamWriter::new(new_volume(&store), Chunker::Fixed);
    writer.write_zeros(512 << 40).unwrap();
    writer.write(&[1; 4096]).unwrap();
    assert_eq!(writer.finish(&store).unwrap_err().kind(), ErrorKind::Invalid);
}

/// Whatever the power cut leaves of the writes, the upload goes on from a place that it has reached, and becomes the object
/// that it would have become.
#[test]
fn a_broken_upload_goes_on_after_any_power_cut() {
    let bytes = random(8, 9 << 20);
    for chunker in BOTH {
        let device = SimDevice::new(9, Faults::none());
        let store = new_store(&device);
        let volume = new_volume(&store);
        let mut writer = StreamWriter::new(volume.clone(), chunker);
        writer.write(&bytes[..4 << 20]).unwrap();
        volume.flush().unwrap();
        writer.write(&bytes[4 << 20..(6 << 20) + 999]).unwrap();
        let point = device.crash_point();
        let pending = point.pending_count();
        assert!(pending > 0);
        let prefixes = (0..=pending).step_by(pending.div_ceil(10)).map(CrashChoice::Prefix);
        let torn = (0..4).map(CrashChoice::RandomSectors);
        let mut positions = Vec::new();
        for choice in prefixes.chain(torn).chain([CrashChoice::Nothing, CrashChoice::Everything]) {
            positions.push(go_on(&point.image(&choice), volume.id(), chunker, &bytes));
            go_on_with_others(&point.image(&choice), volume.id(), chunker, &bytes);
        }
        positions.push(go_on(&point.process_death(), volume.id(), chunker, &bytes));
        let (least, most) = (*positions.iter().min().unwrap(), *positions.iter().max().unwrap());
        assert!(least >= 5 << 19, "{least}: what was flushed is there");
        assert!(most > 4 << 20 && most <= (6 << 20) + 999, "{most}");
    }
}

/// Goes on with the upload in `id` with the rest of its stream; returns from where.
fn go_on(device: &SimDevice, id: VolumeId, chunker: Chunker, bytes: &[u8]) -> u64 {
    let store = opened(device);
    let volume = store.volume(id).unwrap();
    let mut writer = StreamWriter::find(volume.clone(), chunker).unwrap();
    let position = writer.position();
    assert!(all(&writer.reader(), 0, u64::MAX) == bytes[..position as usize]);
    writer.clear_rest().unwrap();
    writer.write(&bytes[position as usize..]).unwrap();
    let reader = whole(volume.clone(), chunker, writer.finish(&store).unwrap());
    assert!(all(&reader, 0, u64::MAX) == bytes);
    let straight = put(&store, chunker, bytes);
    let size_bytes = volume.size_bytes();
    assert_eq!(straight.volume().size_bytes(), size_bytes, "it was cut as if it had never been broken off");
    let content = |volume: &Volume| {
        let mut bytes = vec![0; size_bytes as usize];
        volume.read(0, bytes.len()).unwrap().copy_to(&mut bytes);
        bytes
    };
    assert!(content(&volume) == content(straight.volume()));
    position
}

/// The same with another rest than came the first time: nothing of that may show.
fn go_on_with_others(device: &SimDevice, id: VolumeId, chunker: Chunker, bytes: &[u8]) {
    let store = opened(device);
    let volume = store.volume(id).unwrap();
    let mut writer = StreamWriter::find(volume.clone(), chunker).unwrap();
    let position = writer.position() as usize;
    writer.clear_rest().unwrap();
    writer.write_zeros(1 << 20).unwrap();
    writer.write(b"end").unwrap();
    let reader = whole(volume, chunker, writer.finish(&store).unwrap());
    assert!(all(&reader, 0, u64::MAX) == [&bytes[..position], &[0; 1 << 20], b"end"].concat());
}

#[test]
fn an_upload_of_many_pages_is_found_again() {
    let store = new_store(&SimDevice::new(10, Faults::none()));
    let bytes = random(11, 8 << 20);
    let volume = new_volume(&store);
    let mut writer = StreamWriter::new(volume.clone(), Chunker::FastCdcV1);
    let mut position = 0;
    for _ in 0..16 {
        writer.write(&bytes).unwrap();
        let found = StreamWriter::find(volume.clone(), Chunker::FastCdcV1).unwrap().position();
        assert!(found > position && writer.position() - found < 3 << 20, "{found} of {}", writer.position());
        position = found;
        settle(&store);
    }
    assert_eq!(StreamWriter::find(new_volume(&store), Chunker::FastCdcV1).unwrap().position(), 0);
}

#[test]
fn a_damaged_index_is_an_error() {
    let store = new_store(&SimDevice::new(12, Faults::none()));
    let bytes = random(13, 90 << 20);
    let volume = new_volume(&store);
    let mut writer = StreamWriter::new(volume.clone(), Chunker::FastCdcV1);
    writer.write(&bytes).unwrap();
    let laid = writer.finish(&store).unwrap();
    let pages = laid.index_pages;
    assert!(pages >= 3);
    let index = volume.size_bytes() - pages * 4096;
    let read = |offset: u64, len: usize| {
        let mut bytes = vec![0; len];
        volume.read(offset, len).unwrap().copy_to(&mut bytes);
        bytes
    };
    let good = read(index, pages as usize * 4096);
    let page = |number: usize| &good[number * 4096..(number + 1) * 4096];
    let mut flipped = page(1).to_vec();
    flipped[100] ^= 1;
    let zeros = [0; 4096];
    // Intact, but a chunk is missing.
    let first = IndexPage::decode(page(0).try_into().unwrap(), 0).unwrap();
    let mut shorter = IndexPage::new(0, Place::default());
    (0..CHUNKS_MAX - 1).for_each(|chunk| shorter.push(first.chunk(chunk).unwrap()));
    let shorter = shorter.encode();
    for (number, damage) in [(1, &flipped[..]), (0, page(1)), (1, page(0)), (0, &zeros), (1, &zeros), (0, &shorter)] {
        volume.write(&[Write { offset: index + number * 4096, data: damage }]).unwrap();
        let reader = whole(volume.clone(), Chunker::FastCdcV1, laid);
        let mut stream = reader.stream(0, u64::MAX).unwrap();
        let mut got = 0;
        let failed = loop {
            match stream.next_piece() {
                Ok(Some(piece)) => {
                    assert!(bytes[got..got + piece.len()] == piece, "wrong bytes");
                    got += piece.len();
                }
                Ok(None) => break None,
                Err(error) => break Some(error.kind()),
            }
        };
        assert_eq!(failed, Some(ErrorKind::Corrupt), "page {number}");
        volume.write(&[Write { offset: index, data: &good }]).unwrap();
    }
    // An index that ends too early, and one that is larger than the volume.
    let short = ObjectReader::of_whole(volume.clone(), Chunker::FastCdcV1, laid.length + 1, pages).unwrap();
    assert_eq!(short.read_at(laid.length, 1).unwrap_err().kind(), ErrorKind::Corrupt);
    let too_large = ObjectReader::of_whole(volume, Chunker::FastCdcV1, laid.length, 1 << 60);
    assert_eq!(too_large.err().unwrap().kind(), ErrorKind::Corrupt);
}
