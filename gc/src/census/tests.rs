use std::sync::Arc;

use lsm_store::clock::SystemClock;
use lsm_store::codec::Codec;
use lsm_store::device::sim::{Faults, SimDevice};
use lsm_store::request::Write;
use lsm_store::rng::{Rng, SeededRng};
use lsm_store::store::{BackgroundMode, Budget, Environment, Options, Settings, VolumeSpec};

use super::*;

fn random(seed: u64, blocks: usize) -> Vec<u8> {
    let mut bytes = vec![0; blocks * BLOCK_BYTES];
    SeededRng::new(seed).fill(&mut bytes);
    bytes
}

#[test]
fn what_two_volumes_share_is_told_from_what_is_their_own() {
    let environment = Environment {
        device: Arc::new(SimDevice::new(1, Faults::none())),
        clock: Arc::new(SystemClock::new()),
        rng: Arc::new(SeededRng::new(1)),
    };
    Store::create(&environment, Settings::default()).unwrap();
    let budget = Budget::divide(8 << 20);
    let options = Options { budget, background: BackgroundMode::Manual, read_only: false };
    let store = Store::open(environment, options).unwrap();
    let spec = VolumeSpec { size_bytes: 1 << 20, codec: Codec::None };
    let [one, two] = [(); 2].map(|()| store.create_volume(spec, |_| Vec::new()).unwrap());
    let write = |id, offset_blocks: usize, data: &[u8]| {
        let offset = (offset_blocks * BLOCK_BYTES) as u64;
        store.volume(id).unwrap().write(&[Write { offset, data }]).unwrap();
    };
    write(one, 0, &random(1, 10));
    write(one, 10, &random(1, 2));
    write(two, 0, &random(1, 4));
    write(two, 4, &random(2, 3));
    store.freeze().unwrap();
    while store.step().unwrap() {}
    let census = census(&store).unwrap();
    let frame = census.stored_bytes / 13;
    let blocks = |bytes: u64| bytes / BLOCK_BYTES as u64;
    let (one, two) = (census.volumes[&one], census.volumes[&two]);
    assert_eq!([one, two].map(|volume| blocks(volume.mapped_bytes)), [12, 7]);
    assert_eq!([one, two].map(|volume| blocks(volume.distinct_bytes)), [10, 7]);
    assert_eq!([one, two].map(|volume| volume.unique_bytes / frame), [6, 3]);
    assert_eq!([one, two].map(|volume| volume.shared_bytes / frame), [4, 4]);
    assert_eq!((blocks(census.mapped_bytes), blocks(census.distinct_bytes)), (19, 13));
}
