use lsm_store::packed::{BlockPacker, PACKED_BLOCKS_MAX};
use proptest::prelude::*;

use super::writing::{BLOCKS_BYTES_MIN, PACKED_BYTES_MIN, PACKED_PARTS_MAX, SKIPPED_COUNT};
use super::*;

fn name(text: &str) -> VolumeName {
    text.parse().unwrap()
}

#[test]
fn a_record_keeps_its_bytes() {
    let record = encode(&[
        Operation::Write { offset: 4096, data: Bytes::from_static(b"abc") },
        Operation::Zero { offset: 1, len: 2, zeroing: Zeroing::Hole },
        Operation::Zero { offset: 3, len: 4, zeroing: Zeroing::Allocated },
        Operation::Resize { size_bytes: 5 },
        Operation::Snapshot { name: name("a") },
        Operation::RemoveSnapshot { name: name("b") },
        Operation::RollBack { to: name("c") },
        Operation::Seed { clone: VolumeId(6), of: None },
        Operation::Seed { clone: VolumeId(7), of: Some(name("d")) },
        Operation::RenameSnapshot { name: name("e"), to: name("f") },
    ]);
    let golden = "01 01 0010000000000000 03000000 616263 02 0100000000000000 0200000000000000 \
        03 0300000000000000 0400000000000000 04 0500000000000000 05 01 61 06 01 62 07 01 63 \
        08 0600000000000000 00 08 0700000000000000 01 64 09 01 65 01 66";
    let hex: String = record.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, golden.replace(' ', ""));
}

fn blocks_of(data: &[u8]) -> PackedBlocks {
    let mut bytes = Vec::new();
    assert!(BlockPacker::default().pack(data, usize::MAX, &mut bytes));
    PackedBlocks::read(bytes.into(), data.len() / BLOCK_BYTES).unwrap()
}

fn write_blocks() -> impl Strategy<Value = Operation> {
    let data = prop::collection::vec(prop_oneof![Just(0_u8), Just(1), any::<u8>()], 1..6);
    (0..1u64 << 40, data).prop_map(|(first, bytes)| {
        let data: Vec<u8> = bytes.into_iter().flat_map(|byte| [byte; BLOCK_BYTES]).collect();
        Operation::WriteBlocks { first: BlockIndex(first), blocks: blocks_of(&data) }
    })
}

fn operations() -> impl Strategy<Value = Operation> {
    let zeroing = prop_oneof![Just(Zeroing::Hole), Just(Zeroing::Allocated)];
    let named = "[a-z0-9][a-z0-9._-]{0,62}";
    prop_oneof![
        (0..1u64 << 50, prop::collection::vec(any::<u8>(), 1..500))
            .prop_map(|(offset, data)| Operation::Write { offset, data: data.into() }),
        (0..1u64 << 50, 1..1u64 << 50, zeroing).prop_map(|(offset, len, zeroing)| Operation::Zero {
            offset,
            len,
            zeroing
        }),
        write_blocks(),
        any::<u64>().prop_map(|size_bytes| Operation::Resize { size_bytes }),
        named.prop_map(|text| Operation::Snapshot { name: name(&text) }),
        named.prop_map(|text| Operation::RemoveSnapshot { name: name(&text) }),
        named.prop_map(|text| Operation::RollBack { to: name(&text) }),
        (named, named).prop_map(|(text, to)| Operation::RenameSnapshot { name: name(&text), to: name(&to) }),
        (any::<u64>(), prop::option::of(named))
            .prop_map(|(clone, of)| Operation::Seed { clone: VolumeId(clone), of: of.as_deref().map(name) }),
    ]
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(operations in prop::collection::vec(operations(), 0..8)) {
        let record = encode(&operations);
        let bytes: usize = operations.iter().map(Operation::encoded_bytes).sum();
        prop_assert_eq!(record.len(), 1 + bytes);
        prop_assert_eq!(decode(&record), Ok(operations));
    }

    #[test]
    fn a_record_that_was_cut_is_none(operations in prop::collection::vec(operations(), 1..4), cut in any::<prop::sample::Index>()) {
        let record = encode(&operations);
        let cut = cut.index(record.len());
        if let Ok(fewer) = decode(&record.slice(..cut)) {
            // What is left may end where an operation does.
            prop_assert_eq!(&fewer[..], &operations[..fewer.len()]);
            prop_assert!(fewer.len() < operations.len());
        }
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if bytes.first() != Some(&PACKED) && let Ok(operations) = decode(&Bytes::from(bytes.clone())) {
            prop_assert_eq!(encode(&operations), bytes);
        }
    }
}

#[test]
fn a_newer_record_says_so() {
    assert_eq!(decode(&Bytes::from_static(&[4, 1])), Err(InvalidOperations::Version(4)));
}

fn written(data: &[u8], packer: &mut Packer) -> Bytes {
    let mut record = WriteRecord::with_capacity(WriteRecord::bytes_of(data.len()));
    record.push(8192, data, packer);
    record.finish(packer).record().clone()
}

#[test]
fn a_packed_record_keeps_its_bytes() {
    let data = Bytes::from(vec![7; 16384]);
    let operations = Ok(vec![Operation::Write { offset: 8192, data }]);
    let record = written(&[7; 16384], &mut Packer::default());
    assert_eq!((record[0], decode(&record)), (PACKED, operations.clone()));
    // Another release of the codec may pack otherwise, but reads what this one has written.
    let block = format!("420100200001004f400000070100{}2660070707070707", "ff".repeat(64));
    let head = format!("020d400000{:02x}000000", block.len() / 2);
    let golden = format!("{:0<width$}", head + &block, width = 2 * record.len());
    let bytes = (0..golden.len()).step_by(2).map(|at| u8::from_str_radix(&golden[at..at + 2], 16).unwrap());
    assert_eq!(decode(&bytes.collect()), operations);
}

#[test]
fn no_more_comes_out_of_a_record_than_its_length_allows() {
    let record = written(&[0; 48 << 10], &mut Packer::default());
    assert_eq!(record.len(), ((48 << 10) + WRITE_HEAD_BYTES).div_ceil(PACKED_PARTS_MAX));
    assert!(decode(&record).is_ok());
    assert_eq!(decode(&record.slice(..record.len() - 1)), Err(InvalidOperations::Malformed));
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    })
    .take(len)
    .collect()
}

#[test]
fn what_does_not_shrink_stays_as_it_is_and_the_next_are_not_tried() {
    for (len, packed) in [(32 << 10, PACKED), (BLOCKS_BYTES_MIN, WITH_BLOCKS)] {
        let mut packer = Packer::default();
        assert_eq!(written(&noise(len), &mut packer)[0], VERSION);
        let tried = (0..SKIPPED_COUNT).position(|_| written(&vec![0; len], &mut packer)[0] == packed);
        assert!(tried.is_none_or(|tried| tried > 5), "{tried:?}");
        while written(&vec![0; len], &mut packer)[0] == VERSION {}
        assert_eq!(written(&vec![0; len], &mut packer)[0], packed);
    }
    assert_eq!(written(&[0; PACKED_BYTES_MIN - 15], &mut Packer::default())[0], VERSION, "too short");
}

#[test]
fn a_record_of_blocks_keeps_its_bytes() {
    let blocks = blocks_of(&[[0; BLOCK_BYTES], [b'a'; BLOCK_BYTES]].concat());
    let record = encode(&[Operation::WriteBlocks { first: BlockIndex(0x0102), blocks }]);
    let hex: String = record.iter().map(|byte| format!("{byte:02x}")).collect();
    let len = record.len() - 1 - BLOCKS_HEAD_BYTES;
    let packed = len - 2 * 2 - 2 * 32;
    let head = format!("030a020100000000000002 00{len:02x}000000 0000{packed:02x}00").replace(' ', "");
    assert!(hex.starts_with(&head), "{hex}");
    let fingerprint = blake3::hash(&[b'a'; BLOCK_BYTES]).to_hex();
    assert!(hex.ends_with(&format!("{:0>64}{fingerprint}", "")), "{hex}");
}

#[test]
fn a_large_write_is_packed_where_it_is_whole_blocks() {
    let block = BLOCK_BYTES as u64;
    for (offset, len) in
        [(0, BLOCKS_BYTES_MIN), (block, 200_000), (100, 200_000), (block - 1, PACKED_BLOCKS_MAX * BLOCK_BYTES - 70)]
    {
        let data: Vec<u8> = (0..len).map(|at| (at / 1000) as u8).collect();
        let mut record = WriteRecord::with_capacity(WriteRecord::bytes_of(len));
        assert!(record.has_room(offset, len));
        let mut packer = Packer::default();
        record.push(offset, &data, &mut packer);
        let draft = record.finish(&mut packer);
        assert!(draft.record().len() < len / 8, "{} of {len} bytes", draft.record().len());
        let mut at = offset;
        let mut found = Vec::new();
        for operation in decode(draft.record()).unwrap() {
            assert_eq!(operation.range().0, at);
            at = operation.range().1;
            match operation {
                Operation::Write { data, .. } => {
                    assert!(data.len() < BLOCK_BYTES, "only what is no whole block stays as it is");
                    found.extend(data);
                }
                Operation::WriteBlocks { blocks, .. } => found.extend(blocks.content()),
                other => panic!("{other:?} writes nothing"),
            }
        }
        assert!(found == data, "{len} bytes at {offset}");
        assert_eq!(draft.room_bytes(), room_of(draft.record()));
    }
}

#[test]
fn blocks_that_are_not_what_they_say_are_none() {
    let record = written(&[7; BLOCKS_BYTES_MIN], &mut Packer::default());
    assert_eq!(record[0], WITH_BLOCKS);
    for at in [record.len() - 1, 1 + BLOCKS_HEAD_BYTES + 2 * 16 + 1, 0, 1 + BLOCKS_HEAD_BYTES, 10, 12] {
        let mut bytes = record.to_vec();
        bytes[at] ^= 2;
        assert_eq!(decode(&bytes.into()), Err(InvalidOperations::Malformed), "byte {at}");
    }
    let mut far = record.to_vec();
    far[2..10].copy_from_slice(&(BLOCKS_MAX - 15).to_le_bytes());
    assert_eq!(decode(&far.into()), Err(InvalidOperations::Malformed), "beyond the last byte that there can be");
}

proptest! {
    #[test]
    fn a_damaged_packed_record_does_no_harm(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let mut record = written(&[7; 20000], &mut Packer::default()).to_vec();
        let at = at.index(record.len());
        record[at] = byte;
        record.truncate(cut.index(record.len()) + 1);
        if let Ok(operations) = decode(&record.into()) {
            prop_assert!(operations.iter().map(Operation::encoded_bytes).sum::<usize>() < RECORD_BYTES_MAX);
        }
    }
}

#[test]
fn what_makes_room_needs_none() {
    let block = BLOCK_BYTES as u64;
    let zero = |offset, len| Operation::Zero { offset, len, zeroing: Zeroing::Hole }.room_bytes();
    assert_eq!((zero(0, block), zero(block, 1 << 40)), (0, 0));
    assert_eq!(zero(10, 20), room_of_write(10, 20));
    assert_eq!(zero(10, block), 2 * room_of_write(0, 1));
    assert_eq!(zero(10, 2 * block - 10), room_of_write(0, 1));
    let name: VolumeName = "a".parse().unwrap();
    for free in [
        Operation::Resize { size_bytes: 1 },
        Operation::RemoveSnapshot { name: name.clone() },
        Operation::RollBack { to: name.clone() },
    ] {
        assert_eq!(free.room_bytes(), 0);
    }
    assert!(Operation::Snapshot { name }.room_bytes() > 0);
    let writes = [(0, 1), (block, 4096)].map(|(offset, len)| Operation::Write { offset, data: vec![0; len].into() });
    assert_eq!(room_of(&encode(&writes)), room_of_write(0, 1) + room_of_write(block, 4096));
    assert_eq!(room_of(&Bytes::from_static(b"none")), 0);
}

/// Many short writes need many blocks.
#[test]
fn a_record_takes_no_more_than_stores_do_at_once() {
    let mut record = WriteRecord::with_capacity(RECORD_BYTES_MAX);
    let mut count = 0;
    while record.has_room(count << 20, 1) {
        record.push(count << 20, &[1], &mut Packer::default());
        count += 1;
    }
    let record = record.finish(&mut Packer::default());
    let len = record.record().len();
    assert!(count > 100 && len < RECORD_BYTES_MAX / 2, "{count} writes, {len} bytes");
    assert!(record.room_bytes() <= RECORD_ROOM_MAX);
    assert_eq!(room_of(record.record()), record.room_bytes());
    let whole = WriteRecord::with_capacity(RECORD_BYTES_MAX);
    assert!(whole.has_room(1, DATA_BYTES_MAX), "the longest write has room in a record of its own");
}
