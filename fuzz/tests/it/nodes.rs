//! Whole nodes under a network, disks, clocks and a configuration service that fail.

use fuzz::nodes::{Bug, run, trace};

/// Seeds of a test run. `cargo run --release -p fuzz -- nodes --seeds N` runs as many as one likes.
const SEEDS: u64 = 12;

/// Seeds within which each of these bugs must show.
const SEEDS_OF_BUG: u64 = 60;
const BUGS: [Bug; 5] =
    [Bug::AnswersBeforeHanded, Bug::LogNotSynced, Bug::AppliesAlone, Bug::NotedBeforeFlushed, Bug::OverlayIgnored];

#[test]
fn every_answer_is_right_and_all_nodes_converge() {
    let (mut reads, mut transfers, mut deaths, mut epochs) = (0, 0, 0, 0);
    for seed in 1..=SEEDS {
        let report = run(seed, None).unwrap_or_else(|violation| panic!("seed={seed}: {violation}"));
        reads += report.reads;
        transfers += report.transfers;
        deaths += report.deaths;
        epochs += report.epochs;
    }
    assert!(reads > SEEDS * 50 && epochs > SEEDS * 3, "clients are served and configurations change");
    assert!(transfers > SEEDS / 4 && deaths > SEEDS / 4, "content is sent, machines die: {transfers}, {deaths}");
}

#[test]
fn the_same_seed_does_the_same() {
    for seed in [3, 7] {
        let first = run(seed, None).expect("a run without a bug");
        assert_eq!(first, trace(seed, None).expect("the same run"), "seed={seed}");
        assert_ne!(first.digest, run(seed + 1, None).expect("another run").digest);
    }
}

#[test]
fn planted_bugs_are_caught() {
    for bug in BUGS {
        let is_caught = (1..=SEEDS_OF_BUG).any(|seed| run(seed, Some(bug)).is_err());
        assert!(is_caught, "{bug:?} goes unnoticed");
    }
}
