//! I/O errors at the K-th operation of the device.

use fuzz::fault::{Failure, count_places, run};
use fuzz::planted::device::Lie;
use fuzz::planted::system::{Bug, Planted};
use fuzz::store::StoreMaker;
use fuzz::system::Maker;

const OPERATIONS: usize = 50;

/// Every `stride`-th place from one that depends on the seed: several seeds together see them all.
fn places(count: u64, seed: u64, stride: u64) -> impl Iterator<Item = u64> {
    (1 + seed % stride..=count).step_by(stride as usize)
}

#[test]
fn every_failed_operation_leaves_what_was_flushed() {
    let maker = StoreMaker::default();
    for seed in 1..=3 {
        for failure in Failure::ALL {
            let count = count_places(&maker, seed, OPERATIONS, failure).unwrap();
            for at in places(count, seed, 5) {
                run(&maker, None, seed, OPERATIONS, at, failure).unwrap_or_else(|violation| {
                    panic!("seed={seed} ops={OPERATIONS} {failure:?} at {at}: {violation}")
                });
            }
        }
    }
}

fn is_caught(maker: &dyn Maker, lie: Option<Lie>, failure: Failure) -> bool {
    // A lost name shows only if the power fails before the next sync of its directory: few syncs, all of them tried.
    let (seeds, stride) = if failure == Failure::Names { (1..=12, 1) } else { (1..=4, 3) };
    seeds.into_iter().any(|seed| {
        let count = count_places(&StoreMaker::default(), seed, OPERATIONS, failure).expect("it runs without faults");
        places(count, seed, stride).any(|at| run(maker, lie, seed, OPERATIONS, at, failure).is_err())
    })
}

#[test]
fn planted_bugs_are_caught() {
    let maker = StoreMaker::default();
    let lies = [
        (Lie::RetrySync, Failure::DropDirty),
        (Lie::IgnoreSyncErrors, Failure::DropDirty),
        (Lie::IgnoreWriteErrors, Failure::NoSpace),
        (Lie::IgnoreWriteErrors, Failure::Once),
        (Lie::IgnoreDirectorySyncErrors, Failure::Names),
        (Lie::ZerosForFailedReads, Failure::Once),
    ];
    for (lie, failure) in lies {
        assert!(is_caught(&maker, Some(lie), failure), "{lie:?} goes unnoticed");
    }
    for bug in [Bug::PanicAtIoError, Bug::IoErrorIgnored] {
        assert!(is_caught(&Planted::new(maker, bug), None, Failure::Once), "{bug:?} goes unnoticed");
    }
}
