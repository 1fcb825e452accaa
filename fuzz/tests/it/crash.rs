//! Power loss at every operation of the device.

use fuzz::crash::{Effort, enumerate};
use fuzz::planted::device::Lie;
use fuzz::planted::system::{Bug, Planted};
use fuzz::store::StoreMaker;
use fuzz::system::Maker;

const EFFORT: Effort = Effort::usual(40);

#[test]
fn every_crash_recovers_to_a_prefix() {
    for seed in 1..=3 {
        let tried = enumerate(&StoreMaker::default(), None, seed, EFFORT)
            .unwrap_or_else(|violation| panic!("seed={seed} {EFFORT:?}: {violation}"));
        assert!(tried.states > 500 && tried.nested_states > 20, "the enumerator tries something: {tried:?}");
    }
}

fn crash_at(point: usize, seed: u64, nested_one_in: u64) {
    let effort = Effort { images_per_point: 24, nested_one_in, ..Effort::usual(30) }.at(point);
    let tried = enumerate(&StoreMaker::default(), None, seed, effort)
        .unwrap_or_else(|violation| panic!("seed={seed} {effort:?}: {violation}"));
    assert!(tried.nested_states > 0, "a recovery is crashed: {tried:?}");
}

/// A journal file that a dead process had left was used again though its length was not durable. A power cut took it back,
/// and the store refused to open: shorter than its header said.
#[test]
fn a_leftover_journal_file_is_synced_before_it_is_used_again() {
    crash_at(31, 10, 16);
}

/// Creation died between the rename of the first superblock and the sync of its directory, which no later opening made
/// up for: a power cut lost the store.
#[test]
fn the_name_of_a_store_is_durable_once_it_is_open() {
    crash_at(16, 1, 8);
}

fn is_caught(maker: &dyn Maker, lie: Option<Lie>) -> bool {
    let effort = Effort { operations: 60, images_per_point: 8, ..EFFORT };
    (1..=12).any(|seed| enumerate(maker, lie, seed, effort).is_err())
}

#[test]
fn planted_bugs_are_caught() {
    let lies = [
        Lie::SkipSync { below: "journal/" },
        Lie::SkipSync { below: "segments/" },
        Lie::SkipSync { below: "runs/" },
        Lie::SkipSync { below: "manifest/" },
        Lie::SkipSync { below: "superblock" },
        Lie::SkipDirectorySync { below: "journal" },
        Lie::SkipDirectorySync { below: "segments" },
        Lie::SkipDirectorySync { below: "manifest" },
        Lie::SkipRename,
    ];
    for lie in lies {
        assert!(is_caught(&StoreMaker::default(), Some(lie)), "{lie:?} goes unnoticed");
    }
    for bug in [Bug::FlushIgnored, Bug::WriteHeldBack, Bug::GroupBackwards, Bug::DeleteIgnored] {
        assert!(is_caught(&Planted::new(StoreMaker::default(), bug), None), "{bug:?} goes unnoticed");
    }
}
