use super::*;

/// Frames of three records each, two to a file.
fn index() -> Index {
    let mut index = Index::new(Lsn(10));
    for frame in 0..4 {
        let first = Lsn(11 + frame * 3);
        let placed = Placed { first, file: FileNumber(1 + frame / 2), offset: frame * 64, body_bytes: 100 };
        index.apply(&Indexed::Records(placed, Lsn(first.0 + 2)));
    }
    index
}

fn spans(parts: &[Part]) -> Vec<(u64, u64)> {
    parts.iter().map(|part| (part.first.0, part.last.0)).collect()
}

#[test]
fn a_plan_begins_where_it_is_asked_to_and_ends_at_its_bounds() {
    let index = index();
    assert_eq!(spans(&index.plan(Lsn(10), 100, 1000)), [(11, 13), (14, 16), (17, 19), (20, 22)]);
    assert_eq!(spans(&index.plan(Lsn(12), 3, 1000)), [(13, 13), (14, 15)]);
    assert_eq!(spans(&index.plan(Lsn(12), 100, 101)), [(13, 13), (14, 16)]);
    assert_eq!(spans(&index.plan(Lsn(21), 1, 0)), [(22, 22)]);
    assert!(index.plan(Lsn(9), 1, 1).is_empty(), "before what is there");
    assert!(index.plan(Lsn(22), 1, 1).is_empty(), "behind the end");
}

#[test]
fn a_truncated_frame_gives_what_is_left_of_it() {
    let mut index = index();
    index.apply(&Indexed::Truncate(Lsn(15)));
    assert_eq!(spans(&index.plan(Lsn(10), 100, 1000)), [(11, 13), (14, 15)]);
    index.push(Placed { first: Lsn(16), file: FileNumber(3), offset: 0, body_bytes: 1 }, Lsn(16));
    assert_eq!(spans(&index.plan(Lsn(13), 100, 1000)), [(14, 15), (16, 16)]);
}

#[test]
fn files_have_records_up_to_the_first_of_a_later_one() {
    let mut index = index();
    assert_eq!([1, 2, 3].map(|file| index.last_of(FileNumber(file))), [Lsn(16), Lsn(22), Lsn(22)]);
    index.forget_before(FileNumber(2));
    assert_eq!((index.start(), index.last_of(FileNumber(1))), (Lsn(17), Lsn(16)));
    index.forget_before(FileNumber(3));
    assert_eq!(index.start(), Lsn(23));
}
