//! Blocks go from store to store as they are stored, and none is taken on trust.

use super::*;
use crate::ErrorKind;
use crate::codec::Encoding;
use crate::fingerprint::Fingerprint;
use crate::packed::{BlockPacker, PACKED_BLOCKS_MAX, PackedBlocks};
use crate::request::BlockIdentity;

const BLOCKS: usize = 400;

/// Text, which compresses, with noise and zeros between.
fn mixed(seed: u64) -> Vec<u8> {
    let rng = SeededRng::new(seed);
    let words: Vec<String> = (0..200).map(|word| format!("{word:x}-{:x} ", rng.below(1 << 20))).collect();
    let mut content = Vec::with_capacity(BLOCKS * BLOCK);
    for block in 0..BLOCKS {
        let end = (block + 1) * BLOCK;
        match rng.below(10) {
            0 => content.extend(pattern(seed + block as u64, BLOCK)),
            1 => content.resize(end, 0),
            _ => {
                while content.len() < end {
                    content.extend_from_slice(words[rng.below(200) as usize].as_bytes());
                }
                content.truncate(end);
            }
        }
    }
    content
}

fn volume_with(store: &Store, codec: Codec, size_bytes: u64) -> Volume {
    let id = store.create_volume(VolumeSpec { size_bytes, codec }, |_| Vec::new()).unwrap();
    store.volume(id).unwrap()
}

fn all_stored(volume: &Volume) -> Vec<(BlockIndex, StoredBlock)> {
    let count = volume.block_count();
    let pages = (0..count).step_by(STORED_BLOCKS_MAX);
    pages
        .flat_map(|at| {
            let page = (count - at).min(STORED_BLOCKS_MAX as u64);
            volume.stored_blocks(BlockIndex(at), page).unwrap()
        })
        .collect()
}

fn send(from: &Volume, to: &Volume) {
    for run in all_stored(from).chunk_by(|a, b| a.0.next() == b.0) {
        for part in run.chunks(STORED_BLOCKS_MAX) {
            let blocks: Vec<_> = part.iter().map(|(_, block)| block.clone()).collect();
            to.write_stored(part[0].0, &blocks).unwrap();
        }
    }
}

fn zstd() -> Codec {
    Codec::Zstd { level: ZstdLevel::default() }
}

#[test]
fn blocks_arrive_however_they_are_stored_at_either_end() {
    // The volume's end cuts the last block.
    let content = &mixed(80)[..BLOCKS * BLOCK - 1000];
    for (from, to) in [(Codec::Lz4, Codec::Lz4), (zstd(), Codec::Lz4), (Codec::None, zstd()), (Codec::Lz4, Codec::None)]
    {
        let (source, target) = (SimDevice::new(80, Faults::none()), SimDevice::new(81, Faults::none()));
        let (source, store) = (new_store(&source), new_store(&target));
        let volume = volume_with(&source, from, content.len() as u64);
        let copies: Vec<_> = (0..4).map(|_| volume_with(&store, to, content.len() as u64)).collect();
        write(&volume, 0, content);
        send(&volume, &copies[0]);
        settle(&source);
        send(&volume, &copies[1]);
        let last = source.segment_ids().last().copied().unwrap();
        source.pack_cold(ColdScope::All, last).unwrap();
        send(&volume, &copies[2]);
        write(&volume, 5 * BLOCK as u64, &content[5 * BLOCK..9 * BLOCK]);
        send(&volume, &copies[3]);
        for _ in 0..2 {
            for copy in &copies {
                assert!(read(copy, 0, content.len()) == content, "{from} to {to}");
            }
            settle(&store);
        }
        copies.iter().for_each(|copy| copy.flush().unwrap());
        let store = Store::open(environment(&target.process_death()), options()).unwrap();
        assert!(read(&store.volume(copies[0].id()).unwrap(), 0, content.len()) == content);
        assert_eq!(store.volume(copies[0].id()).unwrap().codec(), to);
    }
}

#[test]
fn what_is_packed_is_not_packed_again() {
    let (source, target) = (SimDevice::new(82, Faults::none()), SimDevice::new(83, Faults::none()));
    let (source, store) = (new_store(&source), new_store(&target));
    let volume = volume_with(&source, Codec::None, (BLOCKS * BLOCK) as u64);
    write(&volume, 0, &mixed(82));
    settle(&source);
    let copy = volume_with(&store, Codec::Lz4, (BLOCKS * BLOCK) as u64);
    send(&volume, &copy);
    for _ in 0..2 {
        assert!(all_stored(&copy) == all_stored(&volume));
        settle(&store);
    }
    assert!(all_stored(&copy).iter().all(|(_, block)| block.encoding == Encoding::Raw));
}

#[test]
fn a_block_that_is_not_what_it_says_is_refused_and_nothing_is_written() {
    let store = new_store(&SimDevice::new(84, Faults::none()));
    let volume = volume_with(&store, Codec::Lz4, (BLOCKS * BLOCK) as u64);
    write(&volume, 0, &mixed(84));
    settle(&store);
    let good: Vec<_> = all_stored(&volume).into_iter().take(20).map(|(_, block)| block).collect();
    let copy = volume_with(&store, Codec::Lz4, (BLOCKS * BLOCK) as u64);
    let refused = |change: &dyn Fn(&mut StoredBlock)| {
        for at in [0, 7, 19] {
            let mut blocks = good.clone();
            change(&mut blocks[at]);
            if blocks == good {
                continue;
            }
            let error = copy.write_stored(BlockIndex(3), &blocks).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert!(matches!(error, Error::ForeignBlock { block, .. } if block.0 == 3 + at as u64), "{error}");
            assert_eq!(copy.fingerprints(BlockIndex(0), 400, 2).unwrap(), [BlockIdentity::Zeros(400)]);
        }
    };
    refused(&|block| block.fingerprint.0[31] ^= 1);
    refused(&|block| *block.bytes.last_mut().unwrap() ^= 0x40);
    refused(&|block| block.bytes.truncate(block.bytes.len() - 1));
    refused(&|block| block.bytes.clear());
    refused(&|block| block.bytes.push(0));
    refused(&|block| block.bytes = vec![7; 3 * BLOCK]);
    for encoding in [Encoding::Raw, Encoding::Lz4, Encoding::Zstd] {
        refused(&|block| block.encoding = encoding);
    }
    copy.write_stored(BlockIndex(3), &good).unwrap();
    assert_eq!(copy.write_stored(BlockIndex(390), &good).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(copy.write_stored(BlockIndex(u64::MAX), &good).unwrap_err().kind(), ErrorKind::Invalid);
    let many = vec![good[0].clone(); STORED_BLOCKS_MAX + 1];
    assert_eq!(copy.write_stored(BlockIndex(0), &many).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(copy.stored_blocks(BlockIndex(0), 257).unwrap_err().kind(), ErrorKind::Invalid);
    copy.write_stored(BlockIndex(400), &[]).unwrap();
}

#[test]
fn zeros_that_come_as_a_block_are_not_stored() {
    let store = new_store(&SimDevice::new(85, Faults::none()));
    let volume = volume_with(&store, Codec::Lz4, (BLOCKS * BLOCK) as u64);
    let fingerprint = Fingerprint::of(&[0; BLOCK]);
    let zeros = StoredBlock { fingerprint, encoding: Encoding::Raw, bytes: vec![0; BLOCK] };
    volume.write_stored(BlockIndex(2), &[zeros.clone(), zeros]).unwrap();
    for _ in 0..2 {
        assert_eq!(volume.fingerprints(BlockIndex(0), 400, 2).unwrap(), [BlockIdentity::Zeros(400)]);
        settle(&store);
    }
    assert_eq!(store.status().segment_count, 0);
}

#[test]
fn damage_on_the_sending_side_is_an_error() {
    let device = SimDevice::new(86, Faults::none());
    let store = new_store(&device);
    let volume = volume_with(&store, Codec::Lz4, (BLOCKS * BLOCK) as u64);
    write(&volume, 0, &pattern(86, 10 * BLOCK));
    settle(&store);
    let segment = format!("segments/{}", device.list("segments").unwrap().remove(0));
    device.flip_bit(&segment, 4096 + 5 * 4104 + 100, 2).unwrap();
    assert_eq!(volume.stored_blocks(BlockIndex(0), 10).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(volume.stored_blocks(BlockIndex(0), 5).unwrap().len(), 5);
}

#[test]
fn what_the_store_has_is_written_by_fingerprint_and_the_rest_is_not() {
    let device = SimDevice::new(87, Faults::none());
    let store = new_store(&device);
    let size = (BLOCKS * BLOCK) as u64;
    let (volume, copy) = (volume_with(&store, zstd(), size), volume_with(&store, Codec::Lz4, size));
    let content = mixed(87);
    write(&volume, 0, &content[..20 * BLOCK]);
    settle(&store);
    let blocks: Vec<_> = content.as_chunks::<BLOCK>().0[..40].iter().collect();
    let fingerprints: Vec<_> = blocks.iter().map(|block| Fingerprint::of(block)).collect();
    let is_zero = |index: usize| crate::fingerprint::is_zero(blocks[index]);
    let expected: Vec<_> = (0..40).map(|index| index < 20 && !is_zero(index)).collect();
    assert_eq!(store.has_blocks(&fingerprints), expected);
    assert_eq!(copy.write_known(BlockIndex(100), &fingerprints).unwrap(), expected);
    let mut wanted = vec![0; 40 * BLOCK];
    wanted[..20 * BLOCK].copy_from_slice(&content[..20 * BLOCK]);
    for _ in 0..2 {
        assert!(read(&copy, 100 * BLOCK as u64, 40 * BLOCK) == wanted);
        settle(&store);
    }
    let shared = expected.iter().filter(|had| **had).count() as u64;
    assert_eq!(store.status().blocks_shared, shared, "nothing is stored twice");
    // What is gone, and what cannot be read, is not had.
    let segment = format!("segments/{}", device.list("segments").unwrap().remove(0));
    device.flip_bit(&segment, 4096 + 100, 2).unwrap();
    let had = copy.write_known(BlockIndex(0), &fingerprints[..20]).unwrap();
    let lost = had.iter().zip(&expected).filter(|(had, expected)| had != expected).count();
    assert!((1..=4).contains(&lost), "{lost} blocks of one frame");
    for (index, had) in had.iter().enumerate() {
        let block = if *had { &content[index * BLOCK..][..BLOCK] } else { &[0; BLOCK] };
        assert!(read(&copy, (index * BLOCK) as u64, BLOCK) == block);
    }
    device.flip_bit(&segment, 4096 + 100, 2).unwrap();
    store.delete_volume(volume.id(), Vec::new()).unwrap();
    store.delete_volume(copy.id(), Vec::new()).unwrap();
    let other = volume_with(&store, Codec::Lz4, size);
    settle(&store);
    store.collect(true).unwrap();
    assert!(other.write_known(BlockIndex(0), &fingerprints).unwrap().iter().all(|had| !had));
}

#[test]
fn packed_blocks_are_written_whatever_the_codec_and_the_budget() {
    // With 8 MiB of memory a batch takes fewer blocks than are packed together.
    for (codec, budget) in [(Codec::Lz4, 8 << 20), (Codec::Lz4, 256 << 20), (zstd(), 8 << 20)] {
        let content = mixed(84);
        let device = SimDevice::new(84, Faults::none());
        Store::create(&environment(&device), Settings::default()).unwrap();
        let options = Options { budget: Budget::divide(budget), ..options() };
        let store = Store::open(environment(&device), options).unwrap();
        let volume = volume_with(&store, codec, content.len() as u64 - 1);
        let mut packer = BlockPacker::default();
        let firsts = (0..).step_by(PACKED_BLOCKS_MAX).map(BlockIndex);
        for (part, first) in content.chunks(PACKED_BLOCKS_MAX * BLOCK).zip(firsts) {
            let mut bytes = Vec::new();
            assert!(packer.pack(part, usize::MAX, &mut bytes));
            let blocks = PackedBlocks::read(bytes.into(), part.len() / BLOCK).unwrap();
            let written = volume.write_packed(first, &blocks);
            if first.0 as usize + blocks.len() < BLOCKS {
                written.unwrap();
            } else {
                assert_eq!(written.unwrap_err().kind(), ErrorKind::Invalid, "the last block ends beyond the volume");
                write(&volume, first.byte_offset(), &part[..part.len() - 1]);
            }
        }
        for _ in 0..2 {
            assert!(read(&volume, 0, content.len() - 1) == content[..content.len() - 1], "{codec}");
            settle(&store);
        }
        store.close().unwrap();
        let report = Store::check(&environment(&device), &mut |_, _| {}).unwrap();
        assert_eq!(report.damages, []);
    }
}
