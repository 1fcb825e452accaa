use super::*;

fn prints() -> Prints {
    Prints { at: 4, end: 20, found: Vec::new() }
}

const BLOCK: u64 = BLOCK_BYTES as u64;

#[test]
fn what_no_frame_covers_is_zeros() {
    let mut prints = prints();
    prints.content(5 * BLOCK, &[1; 64]).unwrap();
    prints.content(7 * BLOCK, &[2; 32]).unwrap();
    let data = |byte| BlockIdentity::Data(Fingerprint([byte; 32]));
    let expected = [BlockIdentity::Zeros(1), data(1), data(1), data(2), BlockIdentity::Zeros(2)];
    assert_eq!(prints.finish(10 * BLOCK - 1).unwrap(), expected);
}

#[test]
fn whatever_does_not_fit_is_refused() {
    let frames: [(u64, &[u8]); 5] = [
        (5 * BLOCK, &[1; 33]),
        (5 * BLOCK + 1, &[1; 32]),
        (3 * BLOCK, &[1; 32]),
        (19 * BLOCK, &[1; 64]),
        (u64::MAX / BLOCK * BLOCK, &[1; 32]),
    ];
    for (offset, data) in frames {
        assert!(prints().content(offset, data).is_err(), "{offset}");
    }
    let mut backwards = prints();
    backwards.content(5 * BLOCK, &[1; 64]).unwrap();
    assert!(backwards.content(6 * BLOCK, &[1; 32]).is_err());
    for next in [0, 4 * BLOCK, 21 * BLOCK, u64::MAX] {
        assert!(prints().finish(next).is_err(), "a page says something, and not more than was asked: {next}");
    }
}

#[test]
fn frames_of_several_ranges_go_to_their_places() {
    let ranges = [4..6, 9..10, 20..24];
    let mut scattered = Scattered::new(&ranges);
    scattered.content(5 * BLOCK, &[1; 32]).unwrap();
    scattered.content(21 * BLOCK, &[2; 64]).unwrap();
    scattered.content(23 * BLOCK, &[3; 32]).unwrap();
    let data = |byte| Some(Fingerprint([byte; 32]));
    assert_eq!(scattered.found, [None, data(1), None, None, data(2), data(2), data(3)]);
}

#[test]
fn frames_outside_the_ranges_are_refused() {
    let ranges = [4..6, 9..10];
    let frames: [(u64, &[u8]); 7] = [
        (3 * BLOCK, &[1; 32]),
        (5 * BLOCK, &[1; 64]),
        (6 * BLOCK, &[1; 32]),
        (10 * BLOCK, &[1; 32]),
        (4 * BLOCK + 1, &[1; 32]),
        (4 * BLOCK, &[1; 31]),
        (u64::MAX / BLOCK * BLOCK, &[1; 32]),
    ];
    for (offset, data) in frames {
        assert!(Scattered::new(&ranges).content(offset, data).is_err(), "{offset}");
    }
    let mut backwards = Scattered::new(&ranges);
    backwards.content(9 * BLOCK, &[1; 32]).unwrap();
    assert!(backwards.content(4 * BLOCK, &[1; 32]).is_err());
}
