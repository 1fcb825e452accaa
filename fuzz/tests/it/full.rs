//! Disks of every size that is too small.

use fuzz::full::{RESERVE_BYTES, fill, range, run};
use fuzz::planted::device::Lie;
use fuzz::planted::system::{Bug, Planted};
use fuzz::store::StoreMaker;
use fuzz::system::Maker;

const OPERATIONS: usize = 80;

/// Twelve disks without room for the reserve, and twelve with it.
fn capacities(seed: u64) -> impl Iterator<Item = u64> {
    let (least, most) = range(&StoreMaker::default(), seed, OPERATIONS).expect("it runs with room");
    let step = ((most - least) / 12).next_multiple_of(4096).max(4096) as usize;
    (least..=most).step_by(step).chain((least + RESERVE_BYTES..=most + RESERVE_BYTES).step_by(step))
}

#[test]
fn full_is_not_broken() {
    let mut refused = 0;
    for seed in 1..=3 {
        for capacity in capacities(seed) {
            refused += run(&StoreMaker::default(), None, seed, OPERATIONS, capacity).unwrap_or_else(|violation| {
                panic!("seed={seed} ops={OPERATIONS} capacity={capacity}: {violation}");
            });
        }
    }
    assert!(refused > 0, "some of the disks are too small");
}

fn is_caught(maker: &dyn Maker) -> bool {
    (1..=4).any(|seed| capacities(seed).any(|capacity| run(maker, None, seed, OPERATIONS, capacity).is_err()))
}

#[test]
fn planted_bugs_are_caught() {
    let bugs =
        [Bug::FullForEver, Bug::FullRefusesTrim, Bug::FullRefusesFlush, Bug::FullRefusesDelete, Bug::FullIgnored];
    for bug in bugs {
        assert!(is_caught(&Planted::new(StoreMaker::default(), bug)), "{bug:?} goes unnoticed");
    }
}

#[test]
fn what_a_full_disk_took_is_flushed_and_collected() {
    let taken = fill(&StoreMaker::default(), None, 1).unwrap_or_else(|violation| panic!("{violation}"));
    assert!(taken > 2 << 20, "there is room beside the reserve, {taken} bytes were taken");
    let lie = Lie::HideReserve;
    assert!(fill(&StoreMaker::default(), Some(lie), 1).is_err(), "{lie:?} goes unnoticed");
}
