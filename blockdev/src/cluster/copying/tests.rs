use super::*;

const KEY: (VolumeId, NodeId) = (VolumeId(1), NodeId(3));

fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn only(copies: &Copies) -> Copying {
    let list = copies.list();
    assert_eq!(list.len(), 1);
    list[0]
}

#[test]
fn the_rate_is_that_of_the_last_seconds() {
    let copies = Copies::default();
    copies.note_content(KEY, (0, 1_000_000), at(0));
    assert_eq!(only(&copies).rate_bytes, None, "nothing is known yet");
    for step in 1..=40 {
        copies.note_content(KEY, (step * 1000, 1_000_000), at(step * 500));
    }
    assert_eq!(
        only(&copies),
        Copying { volume: KEY.0, to: KEY.1, done_bytes: 40_000, total_bytes: 1_000_000, rate_bytes: Some(2000) }
    );
    // Ten times as fast from here on.
    for step in 1..=40 {
        copies.note_content(KEY, (40_000 + step * 10_000, 1_000_000), at(20_000 + step * 500));
    }
    assert_eq!(only(&copies).rate_bytes, Some(20_000));
    // It stands still.
    copies.note_content(KEY, (440_000, 1_000_000), at(60_000));
    assert!(only(&copies).rate_bytes.unwrap() < 1000);
    // It begins anew.
    copies.note_content(KEY, (10, 1_000_000), at(61_000));
    assert_eq!(only(&copies).rate_bytes, None);
    copies.end_content(KEY);
    assert!(copies.list().is_empty());
}

#[test]
fn what_is_lacking_of_a_log_grows_and_shrinks() {
    let copies = Copies::default();
    let lacking = |bytes| [(KEY.1, bytes)];
    copies.note_log(KEY.0, &lacking(1000), at(0));
    assert_eq!((only(&copies).done_bytes, only(&copies).total_bytes), (0, 1000));
    copies.note_log(KEY.0, &lacking(400), at(1000));
    assert_eq!((only(&copies).done_bytes, only(&copies).total_bytes, only(&copies).rate_bytes), (600, 1000, Some(600)));
    // Clients write faster than it is brought along.
    copies.note_log(KEY.0, &lacking(900), at(2000));
    assert_eq!((only(&copies).done_bytes, only(&copies).total_bytes), (600, 1500));
    copies.note_log(VolumeId(2), &[], at(2000));
    assert_eq!(copies.list().len(), 1);
    copies.note_log(KEY.0, &lacking(0), at(3000));
    assert!(copies.list().is_empty());
}

#[test]
fn content_takes_the_place_of_the_log() {
    let copies = Copies::default();
    copies.note_log(KEY.0, &[(KEY.1, 1000)], at(0));
    copies.note_content(KEY, (5, 50), at(0));
    copies.note_log(KEY.0, &[], at(1000));
    assert_eq!(only(&copies).total_bytes, 50);
}
