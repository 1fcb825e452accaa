//! Kills and power cuts at every operation: what is found is a state the log was in, and none older than was durable.

use super::model::{Progress, Run, Said, said};
use super::*;

/// A run of so many steps.
fn run(seed: u64, steps: usize) -> Run {
    let mut run = Run::new(seed);
    (0..steps).for_each(|_| run.step());
    run
}

/// The newest of the states that `found` tells.
fn find(states: &[Said], found: &Said) -> Option<usize> {
    states.iter().rposition(|state| state.is_told_by(found))
}

/// Checks that `found` is one of the states from `oldest` to `newest`.
fn assert_found(run: &Run, oldest: usize, newest: usize, found: &Said, what: &dyn fmt::Debug) {
    let states = &run.states[oldest..=newest];
    assert!(find(states, found).is_some(), "after {what:?}, {oldest}..={newest}: {found:#?}\nis none of {states:#?}");
}

#[test]
fn a_kill_at_any_operation_takes_nothing_that_was_handed_to_the_kernel() {
    for seed in 0..12 {
        let run = run(seed, 40);
        let recording = run.device.recording();
        for (count, point) in recording.walk() {
            let Some(note) = recording.last_note(count) else { continue };
            let Progress { handed, asked, .. } = Progress::of(note);
            let (log, recovered) = open(&point.process_death(), BOOT);
            assert!(recovered.intact, "seed {seed}, operation {count}");
            assert_found(&run, handed, asked, &said(&log, &recovered), &(seed, count));
        }
    }
}

#[test]
fn a_power_cut_at_any_operation_takes_nothing_that_was_synced() {
    for seed in 100..112 {
        let run = run(seed, 40);
        let recording = run.device.recording();
        for (count, point) in recording.walk() {
            let Some(note) = recording.last_note(count) else { continue };
            let Progress { durable, asked, .. } = Progress::of(note);
            for (choice, image) in point.images(seed + count as u64, 5) {
                let (log, recovered) = open(&image, OTHER_BOOT);
                assert!(!recovered.intact);
                assert_found(&run, durable, asked, &said(&log, &recovered), &(seed, count, choice));
            }
        }
    }
}

/// Goes on after a power cut, and has another one.
#[test]
fn a_log_goes_on_from_what_a_power_cut_left() {
    for seed in 200..206 {
        let run = run(seed, 40);
        let recording = run.device.recording();
        for (count, point) in recording.walk().step_by(3) {
            for (choice, image) in point.images(seed + count as u64, 3) {
                let (mut log, recovered) = open(&image, OTHER_BOOT);
                let before = said(&log, &recovered);
                let more: Vec<_> = (1..=3).map(|n| record(1000, log.end().0 + n, 500)).collect();
                log.append(log.end().next(), &more).unwrap();
                log.syncer().sync().unwrap();
                let (log, recovered) = open(&image.crash_image(&CrashChoice::Nothing), BOOT);
                let after = said(&log, &recovered);
                let told = [before.records, more].concat();
                assert!(told.ends_with(&after.records) && after.records.len() >= 3, "{seed} {count} {choice:?}");
            }
        }
    }
}

#[test]
fn an_opening_that_is_cut_short_changes_nothing_of_what_the_next_finds() {
    for seed in 300..304 {
        let run = run(seed, 30);
        let recording = run.device.recording();
        for (count, point) in recording.walk().step_by(5) {
            for (choice, image) in point.images(seed + count as u64, 3) {
                let found = image.process_death();
                let (log, recovered) = open(&found, OTHER_BOOT);
                let before = said(&log, &recovered);
                image.record();
                drop(open(&image, OTHER_BOOT));
                for (at, point) in image.recording().walk() {
                    let killed = open(&point.process_death(), OTHER_BOOT).1;
                    assert!(!killed.intact, "seed {seed}, {choice:?} at {count}, killed at {at}");
                    for (second, image) in point.images(seed + at as u64, 3) {
                        let (log, recovered) = open(&image, THIRD_BOOT);
                        let after = said(&log, &recovered);
                        assert_eq!(after, before, "seed {seed}, {choice:?} at {count}, then {second:?} at {at}");
                        assert!(!recovered.intact);
                    }
                }
            }
        }
    }
}

#[test]
fn a_removal_that_is_cut_short_leaves_no_older_state() {
    for seed in 400..410 {
        let run = run(seed, 40);
        let states = &run.states;
        let device = run.device.process_death();
        let now = { said_by(&open(&device, BOOT)) };
        device.record();
        ReplicaLog::remove(&device, VOLUME).unwrap();
        for (count, point) in device.recording().walk() {
            for (choice, image) in point.images(seed, 10) {
                match ReplicaLog::open_sized(Arc::new(image), VOLUME, OTHER_BOOT, SIZES) {
                    Ok(opened) => {
                        let found = said_by(&opened);
                        assert!(
                            now.is_told_by(&found) && states.last().unwrap().is_told_by(&found),
                            "{count} {choice:?}"
                        );
                    }
                    Err(LogError::Missing(_) | LogError::Corrupt { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
}

fn said_by((log, recovered): &(ReplicaLog, Recovered)) -> Said {
    said(log, recovered)
}
