//! What arrives, and how little has to travel for it.

use lsm_store::device::sim::CrashChoice;

use super::*;

#[test]
fn everything_arrives_and_a_second_time_nothing_travels() {
    let (from, to) = (Bench::new(1), Bench::new(2));
    let volume = mixed(&from, 400);
    let snapshot = from.snapshot(&volume);
    write(&volume, 0, &noise(4, 50));
    let target = to.volume(volume.size_bytes());
    write(&target, 120, &noise(9, 60));
    let first = copied(&snapshot, None, &target);
    assert_eq!(first.blocks, 400);
    assert_equal(&target, &snapshot);
    for _ in 0..2 {
        let before = to.snapshot(&target);
        let again = copied(&snapshot, None, &target);
        assert_eq!((again.blocks, again.blocks_moved), (400, 0));
        let extents = target.changes_since(&before, 0, target.size_bytes(), 9).unwrap();
        assert!(extents.iter().all(|extent| !extent.changed), "what is equal is not written again: {extents:?}");
        to.settle();
    }
    assert_equal(&target, &snapshot);
}

#[test]
fn zeros_take_the_place_of_data_and_nothing_else_is_written_for_them() {
    let (from, to) = (Bench::new(3), Bench::new(4));
    let volume = from.volume(300 * BLOCK + 7);
    write(&volume, 150, &noise(1, 1));
    volume.zero(20 * BLOCK, 10 * BLOCK, Zeroing::Allocated).unwrap();
    let target = to.volume(300 * BLOCK + 7);
    write(&target, 0, &noise(2, 40));
    write(&target, 300, &noise(3, 1)[..7]);
    to.settle();
    let before = to.snapshot(&target);
    let sent = copied(&from.snapshot(&volume), None, &target);
    assert_eq!(sent.blocks_moved, 1);
    assert_equal(&target, &volume);
    let changed = target.changes_since(&before, 0, target.size_bytes(), 9).unwrap();
    let changed: u64 = changed.iter().filter(|extent| extent.changed).map(|extent| extent.len).sum();
    assert_eq!(changed, 41 * BLOCK + 7);
}

#[test]
fn a_clone_of_what_the_receiver_has_moves_hardly_anything() {
    let (from, to) = (Bench::new(5), Bench::new(6));
    let volume = from.volume(2000 * BLOCK);
    write(&volume, 0, &noise(1, 2000));
    let golden = from.snapshot(&volume);
    copied(&golden, None, &to.volume(2000 * BLOCK));
    to.settle();
    let clone = to.volume(2000 * BLOCK);
    let sent = copied(&golden, None, &clone);
    assert_eq!((sent.blocks, sent.blocks_moved), (2000, 0));
    assert!(sent.bytes_moved <= 2000 * BLOCK / 100, "{} bytes", sent.bytes_moved);
    assert_equal(&clone, &golden);
}

#[test]
fn of_one_percent_changed_little_more_than_that_travels() {
    let (from, to) = (Bench::new(7), Bench::new(8));
    let volume = from.volume(4000 * BLOCK);
    write(&volume, 0, &noise(1, 4000));
    from.settle();
    let (base, target) = (from.snapshot(&volume), to.volume(4000 * BLOCK));
    copied(&base, None, &target);
    to.settle();
    for step in 0..40 {
        write(&volume, 100 * step + step % 7, &noise(100 + step, 1));
    }
    let changed = from.snapshot(&volume);
    let link = Link::to(&target);
    let sent = sent(&changed, Some(&base), &link).unwrap();
    assert!(link.is_complete());
    assert_eq!((sent.blocks, sent.blocks_moved), (40, 40));
    assert!(sent.bytes_moved * 1000 <= 4000 * BLOCK * 12, "{} bytes", sent.bytes_moved);
    assert!(link.asked() < 8, "many changes fit into one question");
    assert_equal(&target, &changed);
}

#[test]
fn a_base_of_another_size_serves_too() {
    for (before, after) in [(100 * BLOCK - 9, 130 * BLOCK), (130 * BLOCK, 100 * BLOCK - 9), (99 * BLOCK, 99 * BLOCK)] {
        let (from, to) = (Bench::new(9), Bench::new(10));
        let volume = from.volume(before);
        write(&volume, 0, &noise(1, 98));
        volume.write(&[Write { offset: before - 50, data: &[7; 50] }]).unwrap();
        let (base, target) = (from.snapshot(&volume), to.volume(before));
        copied(&base, None, &target);
        from.store.resize_volume(volume.id(), after).unwrap();
        volume.write(&[Write { offset: after - 20, data: &[8; 20] }]).unwrap();
        write(&volume, 50, &noise(2, 2));
        volume.zero(60 * BLOCK, 9 * BLOCK, Zeroing::Hole).unwrap();
        let snapshot = from.snapshot(&volume);
        let refused = sent(&snapshot, Some(&base), &Link::to(&target));
        assert_eq!(refused.is_err(), before != after, "the receiver has another size");
        to.store.resize_volume(target.id(), after).unwrap();
        let sent = copied(&snapshot, Some(&base), &target);
        assert!(sent.blocks < 45, "{} blocks", sent.blocks);
        assert_equal(&target, &snapshot);
    }
}

#[test]
fn a_volume_of_64_tebibytes_takes_no_longer_than_its_content() {
    let (from, to) = (Bench::new(11), Bench::new(12));
    let size = 1 << 46;
    let volume = from.volume(size);
    write(&volume, (size / BLOCK) / 2, &noise(1, 3));
    let target = to.volume(size);
    let link = Link::to(&target);
    let sent = sent(&from.snapshot(&volume), None, &link).unwrap();
    assert_eq!((sent.blocks, sent.blocks_moved), (size / BLOCK, 3));
    assert!(link.asked() < 1100, "{} questions", link.asked());
}

#[test]
fn whoever_was_cut_off_moves_only_what_is_missing() {
    let from = Bench::new(13);
    let volume = mixed(&from, 900);
    let snapshot = from.snapshot(&volume);
    let whole = Link::to(&Bench::new(14).volume(volume.size_bytes()));
    let all = sent(&snapshot, None, &whole).unwrap();
    assert!(whole.asked() > 6);
    for (cut_at, loses_answer) in (0..whole.asked()).flat_map(|at| [(at, false), (at, true)]) {
        let to = Bench::new(15);
        let target = to.volume(volume.size_bytes());
        let cut = Link { cut_at, loses_answer, ..Link::to(&target) };
        assert!(matches!(sent(&snapshot, None, &cut), Err(SendError::Ask(RequestError::Down))));
        let before = missing(&snapshot, &target);
        let again = copied(&snapshot, None, &target);
        assert_eq!(again.blocks_moved, before, "cut at {cut_at}");
        assert!(cut_at + 2 < whole.asked() || again.blocks_moved < all.blocks_moved / 2);
        assert_equal(&target, &snapshot);
    }
}

/// How many blocks with data the target has not.
fn missing(source: &Volume, target: &Volume) -> u64 {
    let (source, target) = (content(source), content(target));
    let blocks = source.chunks(BLOCK_BYTES).zip(target.chunks(BLOCK_BYTES));
    blocks.filter(|(source, target)| source != target && source.iter().any(|byte| *byte != 0)).count() as u64
}

#[test]
fn what_is_complete_is_there_after_a_power_cut() {
    let (from, to) = (Bench::new(16), Bench::new(17));
    let volume = mixed(&from, 200);
    let target = to.volume(volume.size_bytes());
    copied(&from.snapshot(&volume), None, &target);
    let id = target.id();
    let reopened = Bench::on(to.device.crash_image(&CrashChoice::Nothing));
    assert_equal(&reopened.store.volume(id).unwrap(), &volume);
}

#[test]
fn a_page_is_asked_while_blocks_travel() {
    let (from, to) = (Bench::new(18), Bench::new(19));
    let volume = from.volume(6000 * BLOCK);
    write(&volume, 0, &noise(1, 6000));
    let target = to.volume(6000 * BLOCK);
    let link = Link::to(&target);
    sent(&from.snapshot(&volume), None, &link).unwrap();
    assert!(link.under_way_max.load(Ordering::Relaxed) >= 2);
}

#[test]
fn a_rate_is_kept_and_a_transfer_can_be_cancelled() {
    let (from, to) = (Bench::new(20), Bench::new(21));
    let volume = from.volume(500 * BLOCK);
    write(&volume, 0, &noise(1, 500));
    let (snapshot, target) = (from.snapshot(&volume), to.volume(500 * BLOCK));
    let source = Source { volume: snapshot, base: None };
    let (clock, is_over) = (VirtualClock::new(), AtomicBool::new(false));
    let is_cancelled = || is_over.load(Ordering::Relaxed);
    let throttle = Throttle::default();
    throttle.set(100_000);
    let pace = Pace { throttle: Some(&throttle), is_cancelled: &is_cancelled, ..Pace::new(&clock) };
    let cancel = |progress: Progress| is_over.store(progress.blocks_moved > 0, Ordering::Relaxed);
    let cancelled = send(&source, VOLUME, TransferId(1), &Link::to(&target), &pace, &cancel);
    assert!(matches!(cancelled, Err(SendError::Cancelled)));
    is_over.store(false, Ordering::Relaxed);
    let began = clock.monotonic();
    let sent = send(&source, VOLUME, TransferId(1), &Link::to(&target), &pace, &|_| {}).unwrap();
    assert!((100..500).contains(&sent.blocks_moved), "{} blocks", sent.blocks_moved);
    let took = (clock.monotonic() - began).as_secs_f64();
    assert!(took >= sent.blocks_moved as f64 * BLOCK as f64 / 100_000.0 - 0.1, "{took} s");
    // Without a limit from the middle on, also for what waits already.
    let (again, began) = (to.volume(500 * BLOCK), clock.monotonic());
    write(&volume, 0, &noise(2, 500));
    let source = Source { volume: from.snapshot(&volume), base: None };
    let release = |progress: Progress| throttle.set(if progress.blocks_moved > 0 { 0 } else { 100_000 });
    let sent = send(&source, VOLUME, TransferId(1), &Link::to(&again), &pace, &release).unwrap();
    assert!(sent.blocks_moved >= 400, "{} blocks", sent.blocks_moved);
    let took = (clock.monotonic() - began).as_secs_f64();
    assert!(took < 12.0, "{took} s");
}
