use super::*;

const QUOTA: u64 = 1 << 20;

fn counted(limits: Limits, bytes: u64) -> Allowance {
    let allowance = Allowance::default();
    allowance.set(limits);
    allowance.end_count(allowance.begin_count(), bytes);
    allowance
}

fn with_quota(bytes: u64) -> Allowance {
    counted(Limits { quota_bytes: Some(QUOTA), reserve_bytes: None }, bytes)
}

#[test]
fn without_limits_everything_goes() {
    let allowance = Allowance::default();
    let charge = Charge::bounded(u64::MAX / 4, 0);
    assert!(allowance.permits(&charge) && allowance.pay(&charge) && !allowance.awaits_count());
}

#[test]
fn far_from_the_quota_bounds_do_and_near_it_they_do_not() {
    let allowance = with_quota(0);
    let most = Charge::bounded(QUOTA - QUOTA / 16, 0);
    assert!(allowance.permits(&most) && allowance.pay(&most));
    assert!(!allowance.permits(&Charge::bounded(1, 0)));
    assert!(!allowance.is_exact());
    allowance.end_count(allowance.begin_count(), 4096);
    assert!(allowance.permits(&Charge::bounded(4096, 0)) && allowance.is_exact());
}

#[test]
fn of_two_that_were_permitted_together_the_second_looks_again() {
    let allowance = with_quota(0);
    let charge = Charge::bounded(QUOTA - QUOTA / 16, 0);
    assert!(allowance.permits(&charge) && allowance.permits(&charge));
    assert!(allowance.pay(&charge) && !allowance.pay(&charge));
}

#[test]
fn what_was_looked_up_reaches_the_quota_and_not_a_byte_more() {
    let allowance = with_quota(QUOTA - 4096);
    let turn = allowance.exact(8192, allowance.turn()).err().unwrap();
    let charge = allowance.exact(4096, turn).ok().unwrap();
    assert!(allowance.pay(&charge));
    drop(charge);
    let turn = allowance.exact(4096, allowance.turn()).err().unwrap();
    let charge = allowance.exact(-4096, turn).ok().unwrap();
    assert!(allowance.pay(&charge) && allowance.is_exact());
    drop(charge);
    assert!(allowance.exact(4096, allowance.turn()).is_ok());
}

#[test]
fn what_changes_during_a_count_is_added_to_it() {
    let allowance = counted(Limits { reserve_bytes: Some(QUOTA), quota_bytes: None }, 0);
    assert!(allowance.pay(&Charge::bounded(4096, 0)));
    let counting = allowance.begin_count();
    assert!(allowance.pay(&Charge::bounded(0, 8192)));
    allowance.end_count(counting, 65536);
    assert_eq!(allowance.unfilled_bytes(QUOTA), QUOTA - (65536 - 8192));
}

#[test]
fn a_count_of_what_the_volume_held_before_is_void() {
    let allowance = with_quota(QUOTA);
    let counting = allowance.begin_count();
    allowance.forget();
    allowance.end_count(counting, QUOTA);
    assert!(allowance.awaits_count() && allowance.permits(&Charge::bounded(QUOTA * 2, 0)));
}

#[test]
fn a_reservation_counts_as_unused_as_far_as_nothing_is_known_of_it() {
    const RESERVE: u64 = 32 << 20;
    let allowance = Allowance::default();
    allowance.set(Limits { reserve_bytes: Some(RESERVE), quota_bytes: None });
    assert!(allowance.pay(&Charge::bounded(RESERVE, 0)));
    assert_eq!((allowance.unfilled_bytes(RESERVE), allowance.unfilled_bytes(4096)), (RESERVE, 4096));
    assert!(allowance.awaits_count());
    allowance.end_count(allowance.begin_count(), RESERVE / 2);
    assert_eq!((allowance.unfilled_bytes(RESERVE), allowance.awaits_count()), (RESERVE / 2, false));
    assert!(allowance.pay(&Charge::bounded(RESERVE / 16 + 1, 0)));
    assert_eq!((allowance.unfilled_bytes(RESERVE), allowance.awaits_count()), (RESERVE / 2, true));
    // Who writes over what fills the reservation is not counted again and again.
    allowance.end_count(allowance.begin_count(), RESERVE);
    assert!(allowance.pay(&Charge::bounded(100 * RESERVE, 0)));
    assert_eq!((allowance.unfilled_bytes(RESERVE), allowance.awaits_count()), (0, false));
}
