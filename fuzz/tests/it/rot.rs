//! Flipped bits, zeroed and stale pages of a small store.

use fuzz::planted::system::{Bug, Planted};
use fuzz::rot::{Golden, Noticed, Stop, Tally};
use fuzz::store::StoreMaker;
use fuzz::system::Maker;

const SEED: u64 = 1;
const OPERATIONS: usize = 120;

fn golden(stop: Stop) -> Golden {
    Golden::make(&StoreMaker::default(), SEED, OPERATIONS, stop).expect("a sound store can be made")
}

#[test]
fn damage_gives_the_right_bytes_or_an_error() {
    for (stop, stride) in [(Stop::Closed, 997), (Stop::Killed, 1999)] {
        let golden = golden(stop);
        let mut tally = Tally::default();
        for damage in golden.damages(stride, SEED).into_iter().step_by(2) {
            let noticed = golden
                .try_damage(&StoreMaker::default(), &damage)
                .unwrap_or_else(|violation| panic!("seed={SEED} ops={OPERATIONS} {stop:?}: {violation}"));
            tally.add(&golden, &damage, noticed);
        }
        let noticed = |what| tally.by_file.iter().filter(|((_, noticed), _)| *noticed == what).count();
        assert!(noticed(Noticed::AtOpen) > 0 && noticed(Noticed::AtRead) > 0, "damage is met: {tally:?}");
    }
}

fn is_caught(golden: &Golden, maker: &dyn Maker) -> bool {
    // All over the store from the start: what a bug hides may lie in the last file.
    let damages = golden.damages(499, SEED);
    let scattered = (0..damages.len()).map(|index| &damages[index * 7919 % damages.len()]);
    scattered.into_iter().any(|damage| golden.try_damage(maker, damage).is_err())
}

#[test]
fn planted_bugs_are_caught() {
    let golden = golden(Stop::Closed);
    let bugs = [
        Bug::ZerosForDamage,
        Bug::PanicAtDamage,
        Bug::ForgetsDamagedStore,
        Bug::DamageLooksMissing,
        Bug::CheckIsBlind,
        Bug::CheckSkipsSegments,
        Bug::CheckSkipsRuns,
    ];
    for bug in bugs {
        assert!(is_caught(&golden, &Planted::new(StoreMaker::default(), bug)), "{bug:?} goes unnoticed");
    }
}
