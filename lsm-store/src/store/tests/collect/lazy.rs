//! With plenty of room and clients at work, the store moves only what gives back as much as it costs.

use std::time::Duration;

use super::cold::with_clock;
use super::*;

const BLOCKS: usize = 18_000;
const PIECE: usize = 256;

/// A volume of which every third block of each segment was written again.
fn a_third_dead(world: &World) -> (Volume, Vec<u8>) {
    let mut data = pattern(31, BLOCKS * BLOCK);
    let volume = new_volume(&world.store, data.len() as u64);
    for (at, piece) in data.chunks(PIECE * BLOCK).enumerate() {
        write(&volume, (at * PIECE * BLOCK) as u64, piece);
    }
    settle(&world.store);
    for (at, block) in data.chunks_mut(BLOCK).enumerate().step_by(3) {
        block.copy_from_slice(&pattern(1000 + at as u64, BLOCK));
        write(&volume, (at * BLOCK) as u64, block);
    }
    // For all that the store knows as much may have died: it looks.
    let large = new_volume(&world.store, 1 << 30);
    world.store.delete_volume(large.id(), Vec::new()).unwrap();
    settle(&world.store);
    (volume, data)
}

#[test]
fn what_is_little_worth_waits_until_clients_are_quiet() {
    let mut world = World::new(31);
    let clock = with_clock(&mut world);
    let (volume, data) = a_third_dead(&world);
    let busy = world.store.status();
    assert!(busy.live_permille.is_some_and(|live| live < 800), "it was looked at: {:?}", busy.live_permille);
    assert_eq!((busy.bytes_relocated, busy.segments_reclaimed), (0, 0));
    clock.advance(Duration::from_secs(4));
    while world.store.step().unwrap() {}
    assert_eq!(world.store.status().segments_reclaimed, 0, "it is not quiet for long");
    clock.advance(Duration::from_secs(60));
    while world.store.step().unwrap() {}
    let quiet = world.store.status();
    assert!(quiet.segments_reclaimed > 1 && quiet.segment_bytes < busy.segment_bytes * 9 / 10);
    assert!(read(&volume, 0, data.len()) == data);
    assert_marked(&world.store, "quiet");
    let reclaimed = quiet.segments_reclaimed;
    clock.advance(Duration::from_secs(600));
    while world.store.step().unwrap() {}
    assert_eq!(world.store.status().segments_reclaimed, reclaimed, "it is done");
}
