//! What is damaged is borrowed, and does not come back.

use lsm_store::device::Device;
use lsm_store::id::BlockIndex;
use lsm_store::store::VolumeScrub;
use net::content::{Answer, Lend, Lent, Refusal};

use super::*;

/// A way to a lender in this process.
struct Lender<'a> {
    store: &'a Store,
    /// What is done to its answers on the way.
    damage: fn(&mut Lent),
}

impl Asking for Lender<'_> {
    fn ask(&self, message: Message) -> Result<Message, RequestError> {
        let mut lent = Lent::decode(&lend(self.store, &message)).unwrap();
        (self.damage)(&mut lent);
        Ok(lent.encode())
    }
}

/// Two stores with equal volumes, of one of which some frames are damaged.
struct Pair {
    good: Bench,
    good_volume: Volume,
    bad: Bench,
    bad_volume: Volume,
}

impl Pair {
    fn new(seed: u64) -> Self {
        let (good, bad) = (Bench::new(seed), Bench::new(seed + 1));
        let volumes = [&good, &bad].map(|bench| {
            let volume = bench.volume(300 * BLOCK - 9);
            write(&volume, 10, &noise(1, 200));
            bench.settle();
            volume
        });
        let [good_volume, bad_volume] = volumes;
        let segment = bad.device.list("segments").unwrap().remove(0);
        // Blocks of noise are stored as they are, one after the other.
        (50..60).for_each(|at| bad.device.flip_bit(&format!("segments/{segment}"), at * 4096 + 77, 3).unwrap());
        Self { good, good_volume, bad, bad_volume }
    }

    fn scrub(&self) -> VolumeScrub {
        self.bad.store.scrub_volume(self.bad_volume.id(), &mut |_, _| Ok(())).unwrap()
    }

    fn repair(&self, damage: fn(&mut Lent)) -> Repaired {
        let lender = Lender { store: &self.good.store, damage };
        let mut all = Repaired::default();
        for range in self.scrub().ranges {
            let blocks = range.first..BlockIndex(range.first.0 + range.count);
            let repaired = repair(&self.bad_volume, blocks, &lender).unwrap();
            all.blocks_restored += repaired.blocks_restored;
            all.blocks_changed += repaired.blocks_changed;
            all.blocks_missing += repaired.blocks_missing;
        }
        all
    }
}

#[test]
fn what_is_damaged_is_restored_and_stays_so() {
    let pair = Pair::new(60);
    let damaged = pair.scrub().blocks_damaged;
    assert!((10..=20).contains(&damaged), "{damaged} blocks");
    assert!(pair.bad_volume.read(0, 299 * BLOCK_BYTES).is_err());
    let repaired = pair.repair(|_| {});
    assert_eq!(repaired, Repaired { blocks_restored: damaged, ..Repaired::default() });
    for _ in 0..2 {
        assert_equal(&pair.bad_volume, &pair.good_volume);
        pair.bad.settle();
        assert_eq!(pair.scrub().blocks_damaged, 0);
        while pair.bad.store.step_scrub().unwrap() {}
    }
    let id = pair.bad_volume.id();
    let reopened = Bench::on(pair.bad.device.process_death());
    reopened.settle();
    assert_equal(&reopened.store.volume(id).unwrap(), &pair.good_volume);
}

#[test]
fn nothing_written_later_is_stored_where_damage_was_found() {
    let pair = Pair::new(62);
    pair.repair(|_| {});
    while pair.bad.store.step_scrub().unwrap() {}
    pair.bad.settle();
    let copy = pair.bad.volume(300 * BLOCK);
    write(&copy, 0, &noise(1, 200));
    pair.bad.settle();
    assert!(content(&copy)[..200 * BLOCK_BYTES] == noise(1, 200));
}

#[test]
fn a_scrub_finds_nothing_once_the_damaged_segment_was_collected() {
    let pair = Pair::new(64);
    pair.repair(|_| {});
    pair.bad.settle();
    pair.bad.store.collect(true).unwrap();
    pair.bad.store.start_scrub().unwrap();
    while pair.bad.store.step_scrub().unwrap() {}
    assert_eq!(pair.bad.store.scrub_status().damages, []);
    assert_equal(&pair.bad_volume, &pair.good_volume);
}

#[test]
fn what_is_lent_is_not_taken_on_trust() {
    let pair = Pair::new(66);
    let damaged = pair.scrub().blocks_damaged;
    let swap = |lent: &mut Lent| {
        let first = lent.blocks[0].bytes.clone();
        lent.blocks.iter_mut().for_each(|block| block.bytes.clone_from(&first));
        lent.blocks[0].bytes[5] ^= 1;
    };
    let missing = Repaired { blocks_missing: damaged, ..Repaired::default() };
    assert_eq!(pair.repair(swap), missing);
    assert_eq!(pair.repair(|lent| lent.blocks.clear()), missing);
    assert_eq!(pair.scrub().blocks_damaged, damaged);
    assert_eq!(pair.repair(|_| {}).blocks_restored, damaged);
}

#[test]
fn what_was_written_meanwhile_stays() {
    let pair = Pair::new(68);
    let range = pair.scrub().ranges.remove(0);
    let blocks = range.first..BlockIndex(range.first.0 + range.count);
    /// Writes while the question is on its way.
    struct Slow<'a>(Lender<'a>, &'a Volume, u64);
    impl Asking for Slow<'_> {
        fn ask(&self, message: Message) -> Result<Message, RequestError> {
            write(self.1, self.2, &noise(9, 1));
            self.0.ask(message)
        }
    }
    let slow = Slow(Lender { store: &pair.good.store, damage: |_| {} }, &pair.bad_volume, range.first.0);
    let repaired = repair(&pair.bad_volume, blocks, &slow).unwrap();
    assert_eq!((repaired.blocks_changed, repaired.blocks_restored), (1, range.count - 1));
    let at = (range.first.0 * BLOCK) as usize;
    assert!(content(&pair.bad_volume)[at..at + BLOCK_BYTES] == noise(9, 1));
}

#[test]
fn a_lender_lends_what_is_good_and_answers_nonsense() {
    let pair = Pair::new(70);
    let map = pair.bad_volume.fingerprints(BlockIndex(10), 200, 200).unwrap();
    let fingerprints: Vec<_> = map
        .iter()
        .map(|entry| match entry {
            lsm_store::request::BlockIdentity::Data(fingerprint) => fingerprint.0,
            lsm_store::request::BlockIdentity::Zeros(_) => panic!("there are none"),
        })
        .collect();
    let question = Lend { fingerprints }.encode();
    let lent = |bench: &Bench| Lent::decode(&lend(&bench.store, &question)).unwrap().blocks;
    assert_eq!(lent(&pair.good).len(), 200);
    assert_eq!(lent(&pair.bad).len() as u64, 200 - pair.scrub().blocks_damaged);
    let refused = lend(&pair.good.store, &Message::new(net::envelope::Kind::bulk(1), Vec::new()));
    assert_eq!(Answer::decode(&refused), Ok(Answer::Refused(Refusal::Senseless)));
}
