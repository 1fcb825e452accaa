//! Scrubs find what rots and nothing else, at their rate, and remember where they were.

use std::time::Duration;

use super::*;
use crate::device::sim::{Fault, OperationKind, SimOptions, Trigger, VirtualClock};
use crate::id::Location;
use crate::map::{Target, run};
use crate::segment;
use crate::store::scrub::PlaceKind;

mod volume;

const MIB: u64 = 1 << 20;

/// What is done once, in the middle of a pause.
type Interruption = Box<dyn FnOnce() + Send>;

/// A simulated clock that lets a test step in while the store sleeps.
#[derive(Default)]
struct TestClock {
    clock: VirtualClock,
    interruption: Mutex<Option<(u32, Interruption)>>,
}

impl TestClock {
    /// Does something at the end of the `nth` sleep from now, from 0.
    fn interrupt(&self, nth: u32, what: impl FnOnce() + Send + 'static) {
        *self.interruption.lock() = Some((nth, Box::new(what)));
    }

    fn is_interrupted(&self) -> bool {
        self.interruption.lock().is_none()
    }
}

impl Clock for TestClock {
    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    fn wall(&self) -> Duration {
        self.clock.wall()
    }

    fn sleep(&self, duration: Duration) {
        self.clock.sleep(duration);
        let mut interruption = self.interruption.lock();
        match interruption.take() {
            Some((0, what)) => {
                drop(interruption);
                what();
            }
            Some((nth, what)) => *interruption = Some((nth - 1, what)),
            None => {}
        }
    }
}

struct Bench {
    device: SimDevice,
    clock: Arc<TestClock>,
    store: Arc<Store>,
}

impl Bench {
    fn new(seed: u64) -> Self {
        let device = SimDevice::with_options(SimOptions::new(seed));
        Store::create(&environment(&device), Settings::default()).unwrap();
        Self::open(device)
    }

    fn open(device: SimDevice) -> Self {
        let clock = Arc::new(TestClock::default());
        let environment = Environment { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..environment(&device) };
        let store = Store::open(environment, options()).unwrap();
        Self { device, clock, store }
    }

    /// A volume of blocks that compress to nothing less, in segments.
    fn filled(&self, seed: u64, blocks: usize) -> Volume {
        let volume = new_volume(&self.store, (blocks * BLOCK) as u64);
        write(&volume, 0, &pattern(seed, blocks * BLOCK));
        settle(&self.store);
        volume
    }

    fn scrub(&self) -> ScrubStatus {
        assert!(self.store.start_scrub().unwrap());
        self.finish()
    }

    fn finish(&self) -> ScrubStatus {
        while self.store.step_scrub().unwrap() {}
        let status = self.store.scrub_status();
        assert_eq!(status.pass, None);
        status
    }

    /// Where a block of a volume is stored.
    fn location(&self, volume: &Volume, block: u64) -> Location {
        let lineage = self.store.lineage(volume.id()).unwrap();
        match self.store.map().find(&lineage, BlockIndex(block)).unwrap() {
            Some(Target::Data(location)) => location,
            other => panic!("the block is in a segment: {other:?}"),
        }
    }

    /// Spoils the frame of a block of a volume.
    fn rot(&self, volume: &Volume, block: u64) -> String {
        let location = self.location(volume, block);
        let place = self.store.segments().segment(location.segment).unwrap().locate(location.slot).unwrap();
        let path = segment::path(location.segment);
        self.device.flip_bit(&path, u64::from(place.offset) + 100, 3).unwrap();
        path
    }

    fn only_file(&self, directory: &str) -> String {
        let files = self.device.list(directory).unwrap();
        assert_eq!(files.len(), 1);
        format!("{directory}/{}", files[0])
    }
}

fn range(volume: VolumeId, first: u64, count: u64) -> TouchedRange {
    TouchedRange { volume, first: BlockIndex(first), count }
}

fn touched(damage: &ScrubDamage) -> Vec<TouchedRange> {
    let touched = damage.touched.as_ref().unwrap();
    assert!(touched.complete);
    touched.ranges.clone()
}

/// What could not be opened for want of a descriptor was called damaged, and nothing was shared with it any more.
#[test]
fn a_file_that_cannot_be_opened_for_want_of_a_descriptor_is_not_damaged() {
    for path in ["segments/", "runs/", "manifest/", "superblock"] {
        let bench = Bench::new(40);
        bench.filled(40, 20);
        bench.store.start_scrub().unwrap();
        bench.device.inject(Trigger::on(OperationKind::Open).under(path), Fault::NoDescriptor);
        let failed = loop {
            match bench.store.step_scrub() {
                Ok(more) => assert!(more, "{path}: it is met"),
                Err(error) => break error,
            }
        };
        assert_eq!(failed.kind(), crate::ErrorKind::Io, "{path}");
        assert_eq!(bench.finish().damages, [], "{path}");
        assert!(bench.store.scrub_status().completed_ms.is_some(), "{path}");
    }
}

#[test]
fn a_sound_store_is_read_whole_and_nothing_is_found() {
    let bench = Bench::new(1);
    let volume = bench.filled(1, 600);
    let before = (bench.store.status(), bench.device.operation_count_of(OperationKind::Read));
    bench.clock.clock.advance(Duration::from_secs(5));
    let status = bench.scrub();
    assert_eq!((&status.damages, status.damages_left_out, status.damages_gone), (&Vec::new(), 0, 0));
    assert_eq!(status.completed_ms, Some(bench.clock.wall().as_millis() as u64));
    let after = bench.store.status();
    assert!(after.segment_count > 2, "{}", after.segment_count);
    assert_eq!(after.memory, before.0.memory, "no cache has changed");
    assert!(bench.device.operation_count_of(OperationKind::Read) > before.1);
    assert_eq!(read(&volume, 0, 600 * BLOCK), pattern(1, 600 * BLOCK));
}

#[test]
fn a_rotten_frame_is_found_with_all_who_see_it_until_it_is_gone() {
    let bench = Bench::new(2);
    let (other, volume) = (bench.filled(9, 40), bench.filled(2, 40));
    let snapshot = bench.store.snapshot_volumes(&[volume.id()], |_| Vec::new()).unwrap()[0];
    let clone = bench.store.clone_volume(snapshot, |_| Vec::new()).unwrap();
    // The volume itself sees only one of the two any more.
    write(&volume, 8 * BLOCK as u64, &pattern(3, BLOCK));
    settle(&bench.store);
    let at_snapshot = bench.store.volume(snapshot).unwrap();
    let path = bench.rot(&volume, 7);
    assert_eq!(bench.rot(&at_snapshot, 8), path);
    let found = bench.scrub().damages;
    assert_eq!(found.len(), 2, "{found:?}");
    for (damage, block) in found.iter().zip([7, 8]) {
        assert_eq!((&damage.file, damage.what), (&path, PlaceKind::Frame.text()));
        let mut expected = vec![range(snapshot, block, 1), range(clone, block, 1)];
        if block == 7 {
            expected.insert(0, range(volume.id(), block, 1));
        }
        assert_eq!(touched(damage), expected);
    }
    // It stays on the list for as long as it is there.
    bench.clock.clock.advance(Duration::from_secs(1));
    let again = bench.scrub();
    assert_eq!((again.damages, again.damages_gone), (found, 0));
    // Overwritten and collected.
    [snapshot, clone].into_iter().for_each(|id| bench.store.delete_volume(id, Vec::new()).unwrap());
    write(&volume, 7 * BLOCK as u64, &pattern(4, BLOCK));
    settle(&bench.store);
    bench.store.collect(true).unwrap();
    let status = bench.scrub();
    assert_eq!((status.damages, status.damages_gone), (Vec::new(), 2));
    assert_eq!(read(&other, 0, 40 * BLOCK), pattern(9, 40 * BLOCK));
}

#[test]
fn rot_in_every_part_of_a_segment_is_found() {
    let bench = Bench::new(3);
    let volume = bench.filled(3, 40);
    let path = bench.only_file("segments");
    let geometry = *bench.store.segments().segment(bench.location(&volume, 0).segment).unwrap().geometry();
    let all = vec![range(volume.id(), 0, 40)];
    let parts = [
        (0, PlaceKind::Header, Vec::new()),
        (geometry.slot_table_offset(), PlaceKind::SlotTable, all.clone()),
        (geometry.fingerprints_offset(), PlaceKind::Fingerprints, all.clone()),
        (geometry.footer_offset(), PlaceKind::Footer, all),
    ];
    for (offset, kind, expected) in parts {
        bench.device.flip_bit(&path, u64::from(offset) + 40, 1).unwrap();
        let found = bench.scrub().damages;
        assert_eq!((found.len(), found[0].what), (1, kind.text()), "{kind:?}");
        assert_eq!(touched(&found[0]), expected, "{kind:?}");
        // Repaired.
        bench.device.flip_bit(&path, u64::from(offset) + 40, 1).unwrap();
    }
    let status = bench.scrub();
    assert_eq!((status.damages.len(), status.damages_gone), (0, 4));
}

#[test]
fn a_lost_segment_and_a_sector_that_cannot_be_read_are_found() {
    let bench = Bench::new(5);
    let (lost, bad) = (bench.filled(5, 20), bench.filled(6, 20));
    let lost_path = segment::path(bench.location(&lost, 0).segment);
    let bad_path = segment::path(bench.location(&bad, 0).segment);
    bench.device.remove(&lost_path).unwrap();
    let reads = Trigger::on(OperationKind::Read).under(&bad_path);
    bench.device.inject(reads.forever(), Fault::Io);
    let found = bench.scrub().damages;
    let files: Vec<_> = found.iter().map(|damage| (damage.file.clone(), touched(damage))).collect();
    assert_eq!(files, [(lost_path, vec![range(lost.id(), 0, 20)]), (bad_path, vec![range(bad.id(), 0, 20)])]);
    assert_eq!(bench.store.status().stopped, None);
}

#[test]
fn a_rotten_page_of_the_map_is_found_with_the_blocks_it_knows() {
    let bench = Bench::new(6);
    let volume = bench.filled(6, 40);
    let run = bench.only_file(run::DIRECTORY);
    bench.device.flip_bit(&run, 4096 + 60, 2).unwrap();
    let found = bench.scrub().damages;
    let on_page: Vec<_> = found.iter().filter(|damage| damage.offset == 4096).collect();
    assert_eq!((on_page.len(), &on_page[0].file, on_page[0].what), (1, &run, PlaceKind::Run.text()));
    assert_eq!(touched(on_page[0]), [range(volume.id(), 0, 40)]);
}

#[test]
fn rot_in_manifest_and_superblock_is_found() {
    let bench = Bench::new(7);
    bench.filled(7, 4);
    let manifests = bench.device.list("manifest").unwrap();
    let newest = format!("manifest/{}", manifests.last().unwrap());
    bench.device.flip_bit(&newest, 50, 0).unwrap();
    bench.device.flip_bit("superblock", 4096 + 9, 0).unwrap();
    let found = bench.scrub().damages;
    let found: Vec<_> = found.iter().map(|damage| (damage.file.as_str(), damage.offset, damage.what)).collect();
    let superblock = ("superblock", 4096, PlaceKind::Superblock.text());
    assert_eq!(found, [superblock, ("manifest", 0, PlaceKind::Manifest.text())]);
}

#[test]
fn damage_that_a_read_meets_is_looked_at_without_a_pass() {
    let bench = Bench::new(8);
    let volume = bench.filled(8, 20);
    bench.rot(&volume, 5);
    assert!(!bench.store.step_scrub().unwrap());
    volume.read(5 * BLOCK as u64, BLOCK).unwrap_err();
    volume.read(5 * BLOCK as u64, BLOCK).unwrap_err();
    let status = bench.finish();
    assert_eq!(status.damages.len(), 1);
    assert_eq!(touched(&status.damages[0]), [range(volume.id(), 5, 1)]);
    assert_eq!((status.completed_ms, bench.store.status().damage_count), (None, 1));
}

#[test]
fn known_damage_and_settings_survive_a_crash() {
    let bench = Bench::new(9);
    let volume = bench.filled(9, 20);
    bench.rot(&volume, 5);
    let settings = ScrubSettings { rate_bytes: 7 * MIB, every: None };
    bench.store.set_scrub(settings).unwrap();
    let before = bench.scrub();
    let again = Bench::open(bench.device.process_death());
    let status = again.store.scrub_status();
    assert_eq!((status.settings, status.completed_ms), (settings, before.completed_ms));
    assert_eq!((status.damages.len(), &status.damages[0].touched), (1, &None));
    let traced = again.finish();
    assert_eq!(traced.damages, before.damages);
}

#[test]
fn a_pass_takes_the_time_its_rate_says() {
    let bench = Bench::new(10);
    bench.filled(10, 2000);
    for rate_bytes in [MIB, 10 * MIB] {
        bench.store.set_scrub(ScrubSettings { rate_bytes, every: None }).unwrap();
        bench.clock.clock.advance(Duration::from_secs(60));
        assert!(bench.store.start_scrub().unwrap());
        let bytes = bench.store.scrub_status().pass.unwrap().bytes_total;
        let status = bench.store.status();
        assert_eq!(bytes, status.segment_bytes + status.run_bytes);
        let start = bench.clock.monotonic();
        bench.finish();
        let took = (bench.clock.monotonic() - start).as_secs_f64();
        let expected = (bytes + status.manifest_bytes) as f64 / rate_bytes as f64;
        assert!((took - expected).abs() < expected * 0.02 + 0.05, "{took} s instead of {expected} at {rate_bytes} B/s");
    }
}

#[test]
fn a_pass_goes_on_after_a_crash_where_it_was() {
    let bench = Bench::new(11);
    let volume = bench.filled(11, 2000);
    bench.store.start_scrub().unwrap();
    for _ in 0..6 {
        assert!(bench.store.step_scrub().unwrap());
        bench.clock.clock.advance(Duration::from_secs(61));
    }
    let before = bench.store.scrub_status().pass.unwrap();
    assert!(before.bytes_done > 0);
    // Of what was verified already, nothing is read again: rot in it is not noticed before the next pass.
    let first = segment::path(bench.store.segment_ids()[0]);
    let again = Bench::open(bench.device.process_death());
    let pass = again.store.scrub_status().pass.unwrap();
    assert_eq!(pass, before);
    assert!(!again.store.start_scrub().unwrap(), "it is under way");
    again.device.flip_bit(&first, 5000, 0).unwrap();
    assert_eq!(again.finish().damages, []);
    assert_eq!(again.scrub().damages.len(), 1);
    drop(volume);
}

#[test]
fn a_power_cut_at_any_moment_of_a_scrub_leaves_a_store_that_opens() {
    let bench = Bench::new(12);
    let volume = bench.filled(12, 300);
    bench.rot(&volume, 100);
    bench.device.record();
    bench.store.start_scrub().unwrap();
    while bench.store.step_scrub().unwrap() {
        bench.clock.clock.advance(Duration::from_secs(61));
    }
    let recording = bench.device.recording();
    let mut resumed = 0;
    for (count, point) in recording.walk() {
        for (_, image) in point.images(count as u64, 2) {
            let again = Bench::open(image);
            let was_under_way = again.store.scrub_status().pass.is_some();
            resumed += u32::from(was_under_way);
            let status = if was_under_way { again.finish() } else { again.scrub() };
            assert_eq!(status.damages.len(), 1, "after {count} operations");
        }
    }
    assert!(resumed > 0);
}

#[test]
fn segments_and_runs_that_go_under_a_scrub_are_no_damage() {
    let mut interrupted = 0;
    for nth in (0..40).step_by(4) {
        let bench = Bench::new(13);
        let kept = bench.filled(1, 150);
        let gone = bench.filled(2, 900);
        bench.store.set_scrub(ScrubSettings { rate_bytes: MIB, every: None }).unwrap();
        bench.store.start_scrub().unwrap();
        let (store, id) = (Arc::clone(&bench.store), gone.id());
        bench.clock.interrupt(nth, move || {
            store.delete_volume(id, Vec::new()).unwrap();
            store.collect(true).unwrap();
            while store.step().unwrap() {}
        });
        let files = bench.device.list("segments").unwrap().len();
        let status = bench.finish();
        assert_eq!(status.damages, [], "interrupted at {nth}");
        if bench.clock.is_interrupted() {
            interrupted += 1;
            assert!(bench.device.list("segments").unwrap().len() < files, "the collection has given room back");
        }
        assert_eq!(read(&kept, 0, 150 * BLOCK), pattern(1, 150 * BLOCK));
    }
    assert_eq!(interrupted, 10);
}

#[test]
fn a_pass_that_is_paused_in_a_file_waits_and_goes_on() {
    let bench = Bench::new(14);
    bench.filled(14, 500);
    bench.store.set_scrub(ScrubSettings { rate_bytes: MIB, every: None }).unwrap();
    bench.store.start_scrub().unwrap();
    let store = Arc::clone(&bench.store);
    bench.clock.interrupt(20, move || store.pause_scrub().unwrap());
    while bench.store.step_scrub().unwrap() {}
    let status = bench.store.scrub_status();
    assert!(status.paused && status.pass.is_some());
    let again = Bench::open(bench.device.process_death());
    assert!(!again.store.step_scrub().unwrap(), "also after a crash");
    again.store.resume_scrub().unwrap();
    assert_eq!(again.finish().damages, []);
}

#[test]
fn what_it_cannot_write_down_does_not_keep_it_from_scrubbing() {
    let bench = Bench::new(15);
    let volume = bench.filled(15, 50);
    bench.rot(&volume, 1);
    let writes = Trigger::on(OperationKind::Write).under("manifest/");
    bench.device.inject(writes.forever(), Fault::NoSpace);
    assert_eq!(bench.scrub().damages.len(), 1);
    assert_eq!(bench.store.status().stopped, None);
}

#[test]
fn threads_that_write_delete_and_collect_cause_no_alarm() {
    let device = SimDevice::new(16, Faults::none());
    Store::create(&environment(&device), Settings::default()).unwrap();
    let options = Options { background: BackgroundMode::Threads, ..options() };
    let store = Store::open(environment(&device), options).unwrap();
    store.set_scrub(ScrubSettings { rate_bytes: 1 << 40, every: None }).unwrap();
    let mut passes = 0;
    for round in 0..12 {
        passes += u32::from(store.start_scrub().unwrap());
        let volume = new_volume(&store, 300 * BLOCK as u64);
        write(&volume, 0, &pattern(round, 300 * BLOCK));
        store.freeze().unwrap();
        store.collect(true).unwrap();
        store.delete_volume(volume.id(), Vec::new()).unwrap();
        store.collect(true).unwrap();
    }
    while store.scrub_status().pass.is_some() {
        std::thread::yield_now();
    }
    assert!(passes > 0);
    assert_eq!(store.scrub_status().damages, []);
    store.close().unwrap();
}
