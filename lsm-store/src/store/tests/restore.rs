//! What is damaged is put back from what another store has, and does not come back to the damaged place.

use super::*;
use crate::ErrorKind;
use crate::fingerprint::Fingerprint;

const BLOCKS: usize = 40;

/// The block whose frame is damaged.
const DAMAGED: BlockIndex = BlockIndex(5);

/// A store with a volume of noise in a segment, one of whose blocks is damaged, and that block.
fn damaged(seed: u64) -> (SimDevice, Arc<Store>, Volume, StoredBlock) {
    let device = SimDevice::new(seed, Faults::none());
    let store = new_store(&device);
    let volume = new_volume(&store, (BLOCKS * BLOCK) as u64);
    write(&volume, 0, &pattern(seed, BLOCKS * BLOCK));
    settle(&store);
    let good = volume.stored_blocks(DAMAGED, 1).unwrap().remove(0).1;
    flip(&device);
    assert_eq!(volume.read(0, BLOCKS * BLOCK).unwrap_err().kind(), ErrorKind::Corrupt);
    (device, store, volume, good)
}

/// Damages the frame, or makes it good again.
fn flip(device: &SimDevice) {
    let segment = format!("segments/{}", device.list("segments").unwrap().remove(0));
    device.flip_bit(&segment, 4096 + DAMAGED.0 * 4104 + 100, 2).unwrap();
}

#[test]
fn a_block_that_was_restored_is_read_before_and_after_it_was_flushed() {
    for scrubs in [false, true] {
        let (device, store, volume, good) = damaged(90);
        let ids = store.snapshot_volumes(&[volume.id()], |_| Vec::new()).unwrap();
        assert!(volume.restore(DAMAGED, &good).unwrap());
        assert!(read(&volume, 0, BLOCKS * BLOCK) == pattern(90, BLOCKS * BLOCK));
        while scrubs && store.step_scrub().unwrap() {}
        settle(&store);
        assert!(read(&volume, 0, BLOCKS * BLOCK) == pattern(90, BLOCKS * BLOCK), "scrubs: {scrubs}");
        let snapshot = store.volume(ids[0]).unwrap();
        assert_eq!(snapshot.read(DAMAGED.byte_offset(), BLOCK).unwrap_err().kind(), ErrorKind::Corrupt);
        drop((volume, snapshot, store));
        let store = Store::open(environment(&device.process_death()), options()).unwrap();
        let volume = store.volume(VolumeId(1)).unwrap();
        assert!(read(&volume, 0, BLOCKS * BLOCK) == pattern(90, BLOCKS * BLOCK));
    }
}

#[test]
fn what_was_written_since_is_kept_and_nothing_foreign_is_taken() {
    let (_device, _store, volume, good) = damaged(91);
    let mut foreign = good.clone();
    foreign.bytes[7] ^= 1;
    assert!(matches!(volume.restore(DAMAGED, &foreign), Err(Error::ForeignBlock { block: DAMAGED, .. })));
    assert!(!volume.restore(BlockIndex(6), &good).unwrap(), "another block is another");
    assert_eq!(volume.restore(BlockIndex(40), &good).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(volume.read(0, BLOCKS * BLOCK).unwrap_err().kind(), ErrorKind::Corrupt);
    write(&volume, DAMAGED.byte_offset(), &pattern(1, BLOCK));
    assert!(!volume.restore(DAMAGED, &good).unwrap());
    assert!(read(&volume, DAMAGED.byte_offset(), BLOCK) == pattern(1, BLOCK));
}

#[test]
fn nothing_is_shared_with_a_segment_that_a_reader_or_a_scrub_found_damaged() {
    for scrubs in [false, true] {
        let (_device, store, _volume, _good) = damaged(92);
        while scrubs && store.step_scrub().unwrap() {}
        let copy = new_volume(&store, (BLOCKS * BLOCK) as u64);
        write(&copy, 0, &pattern(92, BLOCKS * BLOCK));
        settle(&store);
        assert!(read(&copy, 0, BLOCKS * BLOCK) == pattern(92, BLOCKS * BLOCK), "scrubs: {scrubs}");
    }
}

#[test]
fn what_was_looked_at_and_found_good_is_shared_again() {
    let (device, store, volume, _good) = damaged(93);
    flip(&device);
    while store.step_scrub().unwrap() {}
    let copy = new_volume(&store, (BLOCKS * BLOCK) as u64);
    write(&copy, 0, &pattern(93, BLOCKS * BLOCK));
    settle(&store);
    assert_eq!(store.status().blocks_shared, BLOCKS as u64);
    assert!(read(&copy, 0, BLOCKS * BLOCK) == read(&volume, 0, BLOCKS * BLOCK));
}

#[test]
fn blocks_are_lent_by_fingerprint_but_those_that_are_damaged() {
    let (_device, store, _volume, good) = damaged(94);
    let content = pattern(94, BLOCKS * BLOCK);
    let mut fingerprints: Vec<_> = content.as_chunks::<BLOCK>().0.iter().map(Fingerprint::of).collect();
    fingerprints.push(Fingerprint([7; 32]));
    let found = store.stored_by_fingerprint(&fingerprints);
    for (index, (found, fingerprint)) in found.iter().zip(&fingerprints).enumerate() {
        let is_lent = index != DAMAGED.0 as usize && index < BLOCKS;
        assert_eq!(found.as_ref().map(|found| found.fingerprint), is_lent.then_some(*fingerprint), "block {index}");
    }
    assert_eq!(found[6].as_ref().map(|found| &found.bytes[..]), Some(&content[6 * BLOCK..7 * BLOCK]));
    assert_eq!(good.fingerprint, fingerprints[DAMAGED.0 as usize]);
}
