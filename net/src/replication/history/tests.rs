use super::*;

fn history(starts: &[(u64, u64)], end: u64) -> History {
    let starts = starts.iter().map(|(epoch, first)| (Epoch(*epoch), Lsn(*first))).collect();
    History::new(starts, Lsn(end)).expect("a history")
}

fn at(epoch: u64, lsn: u64) -> Position {
    Position { epoch: Epoch(epoch), lsn: Lsn(lsn) }
}

#[test]
fn logs_share_what_their_newest_common_epoch_wrote_in_both() {
    let ours = history(&[(1, 1), (3, 8)], 10);
    for (theirs, shared) in [
        (history(&[(1, 1)], 5), at(1, 5)),
        (history(&[(1, 1)], 9), at(1, 7)),
        (history(&[(1, 1), (2, 6)], 20), at(1, 5)),
        (history(&[(1, 1), (3, 8)], 9), at(3, 9)),
        (history(&[(1, 1), (3, 8), (4, 12)], 30), at(3, 10)),
        (history(&[(2, 1)], 4), at(0, 0)),
        (History::default(), at(0, 0)),
    ] {
        assert_eq!(ours.shared_with(&theirs), shared, "{theirs:?}");
        assert_eq!(theirs.shared_with(&ours), shared, "{theirs:?} the other way round");
    }
}

#[test]
fn truncating_forgets_epochs_that_wrote_nothing_else() {
    let mut log = history(&[(1, 1), (3, 8)], 10);
    log.truncate(Lsn(7));
    assert_eq!(log, history(&[(1, 1)], 7));
    log.extend(Epoch(4), 2);
    assert_eq!((log.end(), log.epoch_of(Lsn(7)), log.epoch_of(Lsn(10))), (at(4, 9), Some(Epoch(1)), None));
    log.truncate(Lsn(0));
    assert_eq!(log, History::default());
}

#[test]
fn nonsense_is_no_history() {
    for (starts, end) in [
        (vec![(2, 1), (1, 5)], 9),
        (vec![(1, 5), (2, 5)], 9),
        (vec![(1, 5)], 4),
        (vec![], 1),
        (vec![(0, 1)], 4),
        (vec![(1, 0)], 4),
        ((1..=EPOCHS_MAX as u64 + 1).map(|number| (number, number)).collect(), 1000),
    ] {
        let starts = starts.into_iter().map(|(epoch, first)| (Epoch(epoch), Lsn(first))).collect();
        assert_eq!(History::new(starts, Lsn(end)), None);
    }
}
