use std::io::{ErrorKind, IoSlice};

use super::*;
use crate::device::AlignedBuffer;

const SECTOR: usize = 512;

fn device() -> SimDevice {
    SimDevice::new(1, Faults::none())
}

fn create(device: &SimDevice, path: &str) -> Arc<dyn File> {
    device.create(path, Access::Buffered).unwrap()
}

/// A file whose name is stable.
fn durable_file(device: &SimDevice, path: &str, content: &[u8]) -> Arc<dyn File> {
    let file = create(device, path);
    put(&file, content, 0).unwrap();
    file.sync_data().unwrap();
    device.sync_directory("").unwrap();
    file
}

fn put(file: &Arc<dyn File>, data: &[u8], offset: u64) -> io::Result<()> {
    file.write_at(&[IoSlice::new(data)], offset)
}

fn content(device: &SimDevice, path: &str) -> io::Result<Vec<u8>> {
    let file = device.open(path, Access::Buffered)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).unwrap()];
    file.read_at(&mut bytes, 0)?;
    Ok(bytes)
}

fn direct_read(device: &SimDevice, path: &str, len: usize) -> Vec<u8> {
    let mut buffer = AlignedBuffer::zeroed(len);
    device.open(path, Access::Direct).unwrap().read_at(&mut buffer, 0).unwrap();
    buffer.to_vec()
}

fn os_error<T>(result: io::Result<T>) -> Errno {
    Errno::from_io_error(&result.err().expect("an error")).unwrap()
}

#[test]
fn only_what_was_synced_is_sure_to_survive() {
    let device = device();
    let file = create(&device, "x");
    put(&file, b"synced", 0).unwrap();
    file.sync_data().unwrap();
    assert!(device.crash_image(&CrashChoice::Nothing).list("").unwrap().is_empty(), "the name was not synced");
    device.sync_directory("").unwrap();
    put(&file, b"S", 0).unwrap();
    assert_eq!(content(&device.crash_image(&CrashChoice::Nothing), "x").unwrap(), b"synced");
    assert_eq!(content(&device.crash_image(&CrashChoice::Everything), "x").unwrap(), b"Synced");
    assert_eq!(content(&device.process_death(), "x").unwrap(), b"Synced");
}

#[test]
fn a_name_may_survive_without_its_data() {
    let device = device();
    let file = create(&device, "x");
    put(&file, b"data", 0).unwrap();
    device.sync_directory("").unwrap();
    assert_eq!(content(&device.crash_image(&CrashChoice::Nothing), "x").unwrap(), b"");
    // The length, then the data, are pending: the first without the second shows zeros.
    assert_eq!(device.crash_point().pending_count(), 2);
    assert_eq!(content(&device.crash_image(&CrashChoice::Prefix(1)), "x").unwrap(), [0; 4]);
    assert_eq!(content(&device.crash_image(&CrashChoice::Alone(1)), "x").unwrap(), b"data");
}

#[test]
fn data_written_before_a_death_is_still_unsynced_after_it() {
    let device = device();
    put(&durable_file(&device, "x", b"old"), b"new", 0).unwrap();
    let next = device.process_death();
    assert_eq!(content(&next, "x").unwrap(), b"new");
    assert_eq!(content(&next.crash_image(&CrashChoice::Nothing), "x").unwrap(), b"old");
    next.open("x", Access::Buffered).unwrap().sync_data().unwrap();
    assert_eq!(content(&next.crash_image(&CrashChoice::Nothing), "x").unwrap(), b"new");
}

#[test]
fn pending_writes_survive_in_any_combination() {
    let device = device();
    let file = durable_file(&device, "x", &[b'.'; 4 * SECTOR]);
    for index in 0..4_u8 {
        put(&file, &[b'0' + index; SECTOR], u64::from(index) * SECTOR as u64).unwrap();
    }
    let survivors = |choice| {
        let bytes = content(&device.crash_image(&choice), "x").unwrap();
        bytes.chunks(SECTOR).map(|sector| char::from(sector[0])).collect::<String>()
    };
    assert_eq!(survivors(CrashChoice::Prefix(2)), "01..");
    assert_eq!(survivors(CrashChoice::Missing(1)), "0.23");
    assert_eq!(survivors(CrashChoice::Alone(2)), "..2.");
    assert_eq!(survivors(CrashChoice::Subset(vec![0b1001])), "0..3");
    assert_eq!(survivors(CrashChoice::Random(5)), survivors(CrashChoice::Random(5)));
    let random: std::collections::BTreeSet<_> = (0..200).map(|seed| survivors(CrashChoice::Random(seed))).collect();
    assert_eq!(random.len(), 16, "chance finds every combination");
}

#[test]
fn a_write_can_tear_between_sectors_only() {
    let device = device();
    let file = durable_file(&device, "x", &[b'.'; 2000]);
    put(&file, &[b'n'; 1500], 300).unwrap();
    let torn = content(&device.crash_image(&CrashChoice::TornAt { change: 0, sectors: 2 }), "x").unwrap();
    let expected: Vec<u8> = (0..2000).map(|at| if (300..1024).contains(&at) { b'n' } else { b'.' }).collect();
    assert_eq!(torn, expected);
    for seed in 0..20 {
        let torn = content(&device.crash_image(&CrashChoice::TornRandomly { change: 0, seed }), "x").unwrap();
        for (index, sector) in torn.chunks(SECTOR).enumerate() {
            let changed: Vec<bool> = sector.iter().map(|&byte| byte == b'n').collect();
            let whole = (0..sector.len()).map(|at| (300..1800).contains(&(index * SECTOR + at)));
            assert!(changed.iter().all(|changed| !changed) || changed.iter().copied().eq(whole));
        }
    }
}

#[test]
fn a_sector_never_has_a_later_write_without_an_earlier_one() {
    let device = device();
    let file = durable_file(&device, "x", b"");
    put(&file, b"first", 0).unwrap();
    put(&file, b"second", 5).unwrap();
    // Changes: length 5, "first", length 11, "second".
    assert_eq!(content(&device.crash_image(&CrashChoice::Alone(3)), "x").unwrap(), b"firstsecond");
}

#[test]
fn a_cut_is_pending_like_any_change() {
    let device = device();
    let file = durable_file(&device, "x", b"0123456789");
    file.set_len(4).unwrap();
    put(&file, b"ab", 4).unwrap();
    assert_eq!(content(&device.crash_image(&CrashChoice::Nothing), "x").unwrap(), b"0123456789");
    assert_eq!(content(&device.crash_image(&CrashChoice::Prefix(1)), "x").unwrap(), b"0123");
    assert_eq!(content(&device.crash_image(&CrashChoice::Everything), "x").unwrap(), b"0123ab");
}

#[test]
fn a_rename_happens_whole_or_not_at_all() {
    let device = device();
    durable_file(&device, "new", b"new");
    durable_file(&device, "name", b"old");
    device.rename("new", "name").unwrap();
    let before = device.crash_image(&CrashChoice::Nothing);
    assert_eq!(before.list("").unwrap(), ["name", "new"]);
    assert_eq!(content(&before, "name").unwrap(), b"old");
    let after = device.crash_image(&CrashChoice::Everything);
    assert_eq!(after.list("").unwrap(), ["name"]);
    assert_eq!(content(&after, "name").unwrap(), b"new");
    device.sync_directory("").unwrap();
    assert_eq!(device.crash_point().pending_count(), 0);
    assert_eq!(content(&device.crash_image(&CrashChoice::Nothing), "name").unwrap(), b"new");
}

#[test]
fn changes_of_one_name_survive_in_order() {
    let device = device();
    create(&device, "a");
    device.rename("a", "b").unwrap();
    device.remove("b").unwrap();
    let names = |choice| device.crash_image(&choice).list("").unwrap();
    assert!(names(CrashChoice::Missing(0)).is_empty(), "nothing can build on a lost creation");
    assert_eq!(names(CrashChoice::Missing(2)), ["b"]);
    assert_eq!(names(CrashChoice::Prefix(1)), ["a"]);

    let device = self::device();
    durable_file(&device, "a", b"data");
    device.rename("a", "b").unwrap();
    device.rename("b", "c").unwrap();
    let alone = device.crash_image(&CrashChoice::Alone(1));
    assert_eq!(alone.list("").unwrap(), ["c"], "a surviving rename brings the earlier one with it");
}

#[test]
fn a_rename_between_directories_needs_both_synced() {
    let device = device();
    device.create_directory("d").unwrap();
    durable_file(&device, "x", b"data");
    device.rename("x", "d/x").unwrap();
    device.sync_directory("d").unwrap();
    assert_eq!(content(&device.crash_image(&CrashChoice::Nothing), "x").unwrap(), b"data");
    device.sync_directory("").unwrap();
    assert_eq!(content(&device.crash_image(&CrashChoice::Nothing), "d/x").unwrap(), b"data");
}

#[test]
fn a_synced_change_of_names_makes_those_it_builds_on_stable() {
    let device = device();
    device.create_directory("d").unwrap();
    durable_file(&device, "x", b"data");
    device.rename("x", "d/x").unwrap();
    device.rename("d/x", "d/y").unwrap();
    device.sync_directory("d").unwrap();
    let image = device.crash_image(&CrashChoice::Nothing);
    assert_eq!(image.list("d").unwrap(), ["y"]);
    assert!(image.list("").unwrap().is_empty(), "a file never has two names");
}

#[test]
fn an_unsynced_removal_may_be_undone() {
    let device = device();
    drop(durable_file(&device, "x", b"data"));
    device.remove("x").unwrap();
    assert_eq!(content(&device.crash_image(&CrashChoice::Nothing), "x").unwrap(), b"data");
    assert!(device.crash_image(&CrashChoice::Everything).list("").unwrap().is_empty());
    device.sync_directory("").unwrap();
    assert!(device.crash_image(&CrashChoice::Nothing).list("").unwrap().is_empty());
}

#[test]
fn a_recording_makes_every_earlier_moment_again() {
    let device = device();
    let file = durable_file(&device, "x", &[0; SECTOR]);
    device.record();
    let mut seen = vec![content(&device, "x").unwrap()];
    for step in 1..6_u8 {
        if step == 3 {
            file.sync_data().unwrap()
        } else {
            put(&file, &[step; SECTOR], 0).unwrap()
        }
        seen.push(content(&device, "x").unwrap());
    }
    let recording = device.recording();
    assert_eq!(recording.len(), 5);
    for (count, point) in recording.walk() {
        assert_eq!(content(&point.process_death(), "x").unwrap(), seen[count], "{count}");
        assert_eq!(point.pending_count(), recording.at(count).pending_count());
        assert_eq!(point.pending_count(), [0, 1, 2, 0, 1, 2][count]);
    }
    let stable = content(&recording.at(4).image(&CrashChoice::Nothing), "x").unwrap();
    assert_eq!(stable, [2; SECTOR]);
    assert_eq!(recording.at(5).pending_count(), device.crash_point().pending_count());
}

#[test]
fn a_recording_tells_what_had_been_promised() {
    let device = device();
    device.record();
    let file = durable_file(&device, "x", b"1");
    device.note(1);
    put(&file, b"2", 0).unwrap();
    file.sync_data().unwrap();
    device.note(2);
    let recording = device.recording();
    let mut notes = Vec::new();
    for count in 0..=recording.len() {
        let promised = recording.last_note(count);
        notes.push(promised);
        for (choice, image) in recording.states_at(count, 7, 100) {
            let survived = content(&image, "x").unwrap_or_default();
            match promised {
                Some(1) => assert!(survived == b"1" || survived == b"2", "{choice:?} at {count}"),
                Some(_) => assert_eq!(survived, b"2", "{choice:?} at {count}"),
                None => {}
            }
        }
    }
    notes.dedup();
    assert_eq!(notes, [None, Some(1), Some(2)]);
    assert_eq!(recording.describe(0), "Create { path: \"x\" }");
}

/// The harness must see a store that skips a sync.
#[test]
fn the_enumerated_states_show_a_forgotten_sync() {
    let outcomes = |sync: bool| -> Vec<bool> {
        let device = device();
        let file = create(&device, "tmp");
        put(&file, &[7; 3000], 0).unwrap();
        if sync {
            file.sync_data().unwrap();
        }
        device.rename("tmp", "x").unwrap();
        device.sync_directory("").unwrap();
        device.crash_point().images(3, 1000).map(|(_, image)| content(&image, "x").unwrap() == [7; 3000]).collect()
    };
    assert!(outcomes(true).iter().all(|intact| *intact));
    let forgotten = outcomes(false);
    assert!(forgotten.contains(&true) && forgotten.contains(&false));
}

#[test]
fn choices_are_bounded_and_keep_the_extremes() {
    let device = device();
    let file = durable_file(&device, "x", b"");
    for index in 0..50 {
        put(&file, &[1; 2000], index * 2000).unwrap();
    }
    let point = device.crash_point();
    assert!(point.choices(1, usize::MAX).len() > 300);
    let some = point.choices(1, 20);
    assert_eq!(some.len(), 20);
    assert_eq!(some[..2], [CrashChoice::Nothing, CrashChoice::Everything]);
    assert_eq!(some, point.choices(1, 20));
}

#[test]
fn faults_strike_when_their_trigger_says() {
    let faults = Faults::none()
        .with(Trigger::any().after(2), Fault::Io)
        .with(Trigger::on(OperationKind::Write).under("y").after(1).times(2), Fault::NoSpace);
    let device = SimDevice::new(1, faults);
    let x = create(&device, "x");
    put(&x, b"1", 0).unwrap();
    assert_eq!(os_error(x.sync_data()), Errno::IO, "the third operation");
    x.sync_data().unwrap();
    let y = create(&device, "y");
    let results: Vec<bool> = (0..5).map(|_| put(&y, b"1", 0).is_ok()).collect();
    assert_eq!(results, [true, false, false, true, true]);
    assert_eq!((device.operation_count(), device.operation_count_of(OperationKind::Write)), (10, 6));

    device.inject(Trigger::any().forever(), Fault::Io);
    assert_eq!(os_error(device.list("")), Errno::IO);
    assert_eq!(os_error(device.remove("x")), Errno::IO);
    assert_eq!(os_error(device.open("x", Access::Buffered).map(|_| ())), Errno::IO);
    device.clear_faults();
    assert_eq!(device.list("").unwrap(), ["x", "y"]);
}

#[test]
#[should_panic(expected = "cannot strike")]
fn a_fault_that_makes_no_sense_is_refused() {
    let _ = Faults::none().with(Trigger::on(OperationKind::Read), Fault::DropDirty);
}

#[test]
fn a_failed_write_may_be_half_done() {
    let halves: std::collections::BTreeSet<usize> = (0..50)
        .map(|seed| {
            let device = SimDevice::new(seed, Faults::none());
            let file = durable_file(&device, "x", &[0; 4 * SECTOR]);
            device.inject(Trigger::on(OperationKind::Write), Fault::Io);
            assert_eq!(os_error(put(&file, &[1; 4 * SECTOR], 0)), Errno::IO);
            content(&device, "x").unwrap().iter().filter(|&&byte| byte == 1).count()
        })
        .collect();
    assert_eq!(halves.into_iter().collect::<Vec<_>>(), [0, SECTOR, 2 * SECTOR, 3 * SECTOR, 4 * SECTOR]);
}

#[test]
fn a_failed_sync_forgets_like_linux_does() {
    let device = device();
    let file = durable_file(&device, "x", &[b'o'; 4096]);
    put(&file, &[b'n'; 4096], 0).unwrap();
    put(&file, b"longer", 4096).unwrap();
    device.inject(Trigger::on(OperationKind::Sync), Fault::DropDirty);
    assert_eq!(os_error(file.sync_data()), Errno::IO);
    file.sync_data().unwrap();
    assert_eq!(content(&device, "x").unwrap()[..4096], [b'n'; 4096], "the page cache lies");
    assert_eq!(direct_read(&device, "x", 4096), [b'o'; 4096]);
    let survived = content(&device.crash_image(&CrashChoice::Everything), "x").unwrap();
    assert_eq!(survived[..4096], [b'o'; 4096]);
    assert_eq!(survived[4096..], [0; 6], "the length is not forgotten");

    put(&file, &[b'a'; SECTOR], 0).unwrap();
    file.sync_data().unwrap();
    assert_eq!(direct_read(&device, "x", 4096)[SECTOR - 1..=SECTOR], *b"ao");
}

#[test]
fn lost_writes_and_syncs_are_acknowledged() {
    let device = device();
    let file = durable_file(&device, "x", b"old");
    device.inject(Trigger::on(OperationKind::Write), Fault::Lost);
    put(&file, b"newer", 0).unwrap();
    file.sync_data().unwrap();
    assert_eq!(content(&device, "x").unwrap(), b"old\0\0");

    put(&file, b"newer", 0).unwrap();
    device.inject(Trigger::on(OperationKind::Sync), Fault::Lost);
    file.sync_data().unwrap();
    assert_eq!(content(&device.crash_image(&CrashChoice::Nothing), "x").unwrap(), b"old\0\0");
    create(&device, "y");
    device.inject(Trigger::on(OperationKind::SyncDirectory), Fault::Lost);
    device.sync_directory("").unwrap();
    assert_eq!(device.crash_image(&CrashChoice::Nothing).list("").unwrap(), ["x"]);
}

#[test]
fn a_misdirected_write_lands_elsewhere() {
    let device = device();
    let x = durable_file(&device, "x", b"xxxxxxxx");
    durable_file(&device, "y", b"yyyyyyyy");
    let write = Trigger::on(OperationKind::Write);
    device.inject(write.clone(), Fault::Misdirected { path: None, offset: 4 });
    device.inject(write.after(1), Fault::Misdirected { path: Some("y".into()), offset: 6 });
    put(&x, b"ab", 0).unwrap();
    put(&x, b"cdef", 0).unwrap();
    for device in [device.clone(), device.crash_image(&CrashChoice::Nothing)] {
        assert_eq!(content(&device, "x").unwrap(), b"xxxxabxx");
        assert_eq!(content(&device, "y").unwrap(), b"yyyyyycd");
    }
}

#[test]
fn a_flipped_bit_stays_until_it_is_written_over() {
    let device = device();
    let file = durable_file(&device, "x", b"abc");
    device.flip_bit("x", 1, 0).unwrap();
    assert_eq!(content(&device, "x").unwrap(), b"acc");
    assert_eq!(content(&device.crash_image(&CrashChoice::Nothing), "x").unwrap(), b"acc");

    put(&file, b"abc", 0).unwrap();
    device.flip_bit("x", 1, 0).unwrap();
    assert_eq!(content(&device, "x").unwrap(), b"abc", "memory holds the good bytes");
    assert_eq!(content(&device.crash_image(&CrashChoice::Nothing), "x").unwrap(), b"abc", "flipped back");
    file.sync_data().unwrap();
    assert_eq!(content(&device.crash_image(&CrashChoice::Nothing), "x").unwrap(), b"abc");
    assert_eq!(device.flip_bit("z", 0, 0).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_full_device_takes_what_fits_and_recovers() {
    let device = SimDevice::with_options(SimOptions { capacity_bytes: Some(5 * 4096), ..SimOptions::new(1) });
    let x = create(&device, "x");
    x.allocate(0, 2 * 4096).unwrap();
    assert_eq!(device.space().unwrap(), Space { total_bytes: 5 * 4096, available_bytes: 3 * 4096 });
    let y = create(&device, "y");
    assert_eq!(put(&y, &[1; 4 * 4096], 0).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(y.len().unwrap(), 3 * 4096, "a short write, then the error");
    put(&x, &[1; 2 * 4096], 0).unwrap();
    put(&y, &[2; 4096], 0).unwrap();
    assert_eq!(x.allocate(0, 3 * 4096).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(x.set_len(3 * 4096).unwrap_err().kind(), ErrorKind::StorageFull);

    y.set_len(4096).unwrap();
    x.allocate(0, 3 * 4096).unwrap();
    device.remove("y").unwrap();
    assert_eq!(device.space().unwrap().available_bytes, 4096, "an open file takes room without a name");
    drop(y);
    assert_eq!(device.space().unwrap().available_bytes, 2 * 4096);
    device.set_capacity(Some(0));
    assert_eq!(device.space().unwrap().available_bytes, 0);
    put(&x, &[3; 3 * 4096], 0).unwrap();
    device.set_capacity(None);
    put(&x, &[1], 1 << 20).unwrap();
}

#[test]
fn a_short_read_is_an_error() {
    let device = device();
    let file = durable_file(&device, "x", b"abcd");
    device.inject(Trigger::on(OperationKind::Read), Fault::ShortRead);
    let mut bytes = [0; 4];
    assert_eq!(file.read_at(&mut bytes, 0).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert_eq!(bytes, *b"ab\0\0");
    file.read_at(&mut bytes, 0).unwrap();
}

#[test]
fn a_slow_read_takes_virtual_time() {
    let clock = Arc::new(VirtualClock::new());
    let device = SimDevice::with_options(SimOptions { clock: clock.clone(), ..SimOptions::new(1) });
    let file = durable_file(&device, "x", b"abcd");
    device.inject(Trigger::on(OperationKind::Read), Fault::Slow(Duration::from_secs(5)));
    file.read_at(&mut [0; 4], 0).unwrap();
    assert_eq!(clock.monotonic(), Duration::from_secs(5));
}

#[test]
fn reads_overtake_a_slow_one_in_a_queue() {
    let clock = Arc::new(VirtualClock::new());
    let device = SimDevice::with_options(SimOptions { clock: clock.clone(), ..SimOptions::new(1) });
    durable_file(&device, "slow", b"slow");
    durable_file(&device, "fast", b"fast");
    device.inject(Trigger::on(OperationKind::Read).under("slow"), Fault::Slow(Duration::from_secs(5)));
    let mut queue = device.read_queue(4).unwrap();
    for (token, path) in [(0, "slow"), (1, "fast"), (2, "fast")] {
        queue.submit(token, &device.open(path, Access::Buffered).unwrap(), AlignedBuffer::zeroed(4), 0);
    }
    let mut tokens = Vec::new();
    while tokens.len() < 2 {
        assert!(queue.wait(None, None).unwrap().completions);
        tokens.extend(std::iter::from_fn(|| queue.next_completion()).map(|completion| completion.token));
    }
    tokens.sort_unstable();
    assert_eq!((tokens, clock.monotonic()), (vec![1, 2], Duration::ZERO));
    assert!(!queue.wait(None, Some(Duration::from_secs(1))).unwrap().completions);
    assert_eq!(clock.monotonic(), Duration::from_secs(1));
    assert!(queue.wait(None, None).unwrap().completions);
    assert_eq!(clock.monotonic(), Duration::from_secs(5));
    assert_eq!(*queue.next_completion().unwrap().buffer, *b"slow");
}

/// The order in which a queue's reads come back, and how many at a time.
fn completion_order(seed: u64) -> Vec<Vec<u64>> {
    let device = SimDevice::new(seed, Faults::none());
    let file = durable_file(&device, "x", b"x");
    let mut queue = device.read_queue(20).unwrap();
    (0..20).for_each(|token| queue.submit(token, &file, AlignedBuffer::zeroed(1), 0));
    let mut waits = Vec::new();
    while queue.in_flight() > 0 {
        assert!(queue.wait(None, None).unwrap().completions);
        waits.push(std::iter::from_fn(|| queue.next_completion()).map(|completion| completion.token).collect());
    }
    waits
}

#[test]
fn the_same_seed_gives_the_same_order() {
    assert_eq!(completion_order(1), completion_order(1));
    assert_ne!(completion_order(1), completion_order(2));
    let order = completion_order(3).concat();
    assert!(!order.is_sorted());
}

#[test]
#[should_panic(expected = "is full")]
fn a_queue_refuses_more_reads_than_its_depth() {
    let device = device();
    let file = create(&device, "x");
    let mut queue = device.read_queue(1).unwrap();
    queue.submit(0, &file, AlignedBuffer::zeroed(1), 0);
    queue.submit(1, &file, AlignedBuffer::zeroed(1), 0);
}
