//! Scrubs of one volume.

use super::*;
use crate::ErrorKind;

fn scrub(bench: &Bench, id: VolumeId) -> VolumeScrub {
    bench.store.scrub_volume(id, &mut |_, _| Ok(())).unwrap()
}

fn ranges(report: &VolumeScrub) -> Vec<(u64, u64, &'static str)> {
    report.ranges.iter().map(|range| (range.first.0, range.count, range.what)).collect()
}

#[test]
fn what_a_volume_sees_is_verified_and_nothing_else() {
    let bench = Bench::new(21);
    let (volume, other) = (bench.filled(21, 300), bench.filled(22, 20));
    write(&volume, 100 * BLOCK as u64, &pattern(23, 50 * BLOCK));
    volume.zero(0, 10 * BLOCK as u64, Zeroing::Hole).unwrap();
    settle(&bench.store);
    bench.rot(&other, 3);
    let memory = bench.store.status().memory;
    let mut heard = Vec::new();
    let report = bench.store.scrub_volume(volume.id(), &mut |done, total| {
        heard.push((done, total));
        Ok(())
    });
    assert_eq!(report.unwrap(), VolumeScrub { blocks_good: 290, ..VolumeScrub::default() });
    let size_bytes = 300 * BLOCK as u64;
    assert_eq!((heard.first(), heard.last()), (Some(&(0, size_bytes)), Some(&(size_bytes, size_bytes))));
    assert_eq!(bench.store.status().memory, memory, "no cache has changed");
}

#[test]
fn damaged_frames_are_named_by_their_blocks_and_go_on_the_list() {
    let bench = Bench::new(22);
    let volume = bench.filled(22, 100);
    let snapshot = bench.store.snapshot_volumes(&[volume.id()], |_| Vec::new()).unwrap()[0];
    write(&volume, 40 * BLOCK as u64, &pattern(24, BLOCK));
    settle(&bench.store);
    let at_snapshot = bench.store.volume(snapshot).unwrap();
    for block in [10, 11, 40] {
        bench.rot(&at_snapshot, block);
    }
    let text = PlaceKind::Frame.text();
    let report = scrub(&bench, volume.id());
    assert_eq!(ranges(&report), [(10, 2, text)]);
    assert_eq!((report.blocks_good, report.blocks_damaged), (98, 2));
    assert_eq!(ranges(&scrub(&bench, snapshot)), [(10, 2, text), (40, 1, text)]);
    assert_eq!(bench.finish().damages.len(), 3);
}

#[test]
fn a_damaged_page_of_the_map_costs_the_blocks_it_knows() {
    let bench = Bench::new(23);
    // Every other block: a stretch each, on several pages.
    let volume = new_volume(&bench.store, 64 * MIB);
    for block in (0..2000).step_by(2) {
        write(&volume, block * BLOCK as u64, &pattern(block, BLOCK));
    }
    settle(&bench.store);
    let good = scrub(&bench, volume.id());
    assert_eq!((good.blocks_good, good.blocks_damaged), (1000, 0));
    let (run, _) =
        bench.store.map().runs().map(|(_, run)| (run::path(run.id()), run.meta().entry_pages)).next().unwrap();
    bench.device.flip_bit(&run, 4096 + 60, 2).unwrap();
    let report = scrub(&bench, volume.id());
    assert_eq!((report.ranges.len(), &report.ranges[0].file, report.ranges[0].what), (1, &run, PlaceKind::Run.text()));
    assert_eq!(report.blocks_good + report.blocks_damaged.div_ceil(2).min(1000), 1000, "{report:?}");
}

#[test]
fn it_ends_with_its_asker_or_its_volume() {
    let bench = Bench::new(24);
    let volume = bench.filled(24, 20);
    let ended = bench.store.scrub_volume(volume.id(), &mut |_, _| Err(Error::Closed));
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Busy);
    bench.store.delete_volume(volume.id(), Vec::new()).unwrap();
    let missing = bench.store.scrub_volume(volume.id(), &mut |_, _| Ok(()));
    assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_collection_in_the_middle_changes_nothing() {
    for nth in 0..10 {
        let bench = Bench::new(25);
        let volume = bench.filled(25, 400);
        let gone = bench.filled(26, 400);
        bench.store.set_scrub(ScrubSettings { rate_bytes: MIB, every: None }).unwrap();
        let (store, id) = (Arc::clone(&bench.store), gone.id());
        bench.clock.interrupt(nth, move || {
            store.delete_volume(id, Vec::new()).unwrap();
            store.collect(true).unwrap();
        });
        let report = scrub(&bench, volume.id());
        assert_eq!((report.blocks_good, report.blocks_damaged), (400, 0));
        assert!(bench.clock.is_interrupted());
    }
}
