use super::{Op, check};

fn write(value: u64, called: u64, answered: u64) -> Op {
    Op { is_write: true, value, called, answered: (answered != 0).then_some(answered) }
}

fn read(value: u64, called: u64, answered: u64) -> Op {
    Op { is_write: false, value, called, answered: Some(answered) }
}

#[test]
fn histories_that_a_register_has() {
    for ops in [
        vec![write(1, 1, 2), read(1, 3, 4), write(2, 5, 6), read(2, 7, 8)],
        // Both overlap the write: the old value first, then the new one.
        vec![write(1, 1, 10), read(0, 2, 3), read(1, 4, 5), read(1, 11, 12)],
        // Two writes at once; the reads say in which order.
        vec![write(1, 1, 10), write(2, 1, 10), read(1, 11, 12), read(1, 13, 14)],
        // Never answered, seen much later.
        vec![write(1, 1, 0), read(0, 5, 6), read(1, 7, 8)],
        vec![write(1, 1, 0), write(2, 2, 3), read(2, 4, 5)],
    ] {
        assert_eq!(check(0, &ops), Ok(()), "{ops:?}");
    }
}

#[test]
fn histories_that_no_register_has() {
    for ops in [
        // An answered write is gone.
        vec![write(1, 1, 2), read(0, 3, 4)],
        // A newer value, then the older one again.
        vec![write(1, 1, 2), write(2, 3, 4), read(2, 5, 6), read(1, 7, 8)],
        vec![write(1, 1, 10), read(1, 2, 3), read(0, 4, 5)],
        // Seen, then lost, though never answered.
        vec![write(1, 1, 0), read(1, 2, 3), read(0, 4, 5)],
        // Two reads disagree about the order of two writes.
        vec![write(1, 1, 0), write(2, 1, 0), read(1, 2, 3), read(2, 4, 5), read(1, 6, 7)],
        vec![read(7, 1, 2)],
        vec![read(7, 1, 2), write(7, 3, 4)],
    ] {
        assert!(check(0, &ops).is_err(), "{ops:?}");
    }
}
