use super::*;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86400);

/// Looks each second, the wall clock being ahead by `ahead`.
fn look_for(jumps: &mut Jumps, seconds: std::ops::Range<u32>, ahead: Duration) -> Vec<Duration> {
    seconds.filter_map(|second| jumps.look(100 * DAY + ahead + second * SECOND, second * SECOND)).collect()
}

#[test]
fn a_clock_that_goes_its_way_holds_nothing() {
    let mut jumps = Jumps::default();
    assert!(look_for(&mut jumps, 0..100, Duration::ZERO).is_empty());
    assert!(look_for(&mut jumps, 100..200, 299 * SECOND).is_empty(), "a correction");
    assert!(look_for(&mut jumps, 10_000..10_100, 299 * SECOND).is_empty(), "who looks late has seen both go on");
    assert!(!jumps.is_held());
}

#[test]
fn after_a_jump_ahead_everything_stays_for_an_hour() {
    let mut jumps = Jumps::default();
    look_for(&mut jumps, 0..100, Duration::ZERO);
    assert_eq!(look_for(&mut jumps, 100..200, 30 * DAY), [30 * DAY]);
    assert!(look_for(&mut jumps, 200..3700, 30 * DAY).is_empty());
    assert!(jumps.is_held());
    look_for(&mut jumps, 3700..3702, 30 * DAY);
    assert!(!jumps.is_held(), "nobody has set it right");
}

#[test]
fn a_clock_that_is_set_right_is_believed_at_once() {
    let mut jumps = Jumps::default();
    look_for(&mut jumps, 0..100, Duration::ZERO);
    look_for(&mut jumps, 100..200, 30 * DAY);
    look_for(&mut jumps, 200..300, 29 * DAY);
    assert!(jumps.is_held(), "it is not right yet");
    look_for(&mut jumps, 300..400, SECOND);
    assert!(!jumps.is_held());
    look_for(&mut jumps, 400..500, Duration::ZERO);
    assert_eq!(look_for(&mut jumps, 500..600, DAY).len(), 1);
    assert!(jumps.is_held());
}
