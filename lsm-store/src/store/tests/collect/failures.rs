//! What interrupts a collection: power cuts, full disks, damage.

use super::*;
use crate::device::sim::{Fault, OperationKind, Trigger};
use crate::error::ErrorKind;
use crate::id::SegmentId;
use crate::segment::FramePlace;

#[test]
fn a_power_cut_during_a_collection_loses_nothing() {
    let mut world = worn(8);
    let gone = *world.expected.keys().nth(2).unwrap();
    world.delete(gone);
    world.device.record();
    let report = world.store.collect(true).unwrap();
    assert!(report.segments_reclaimed > 1 && report.blocks_relocated > 0);
    let recording = world.device.recording();
    for (count, point) in recording.walk() {
        for (choice, image) in point.images(count as u64, 4) {
            let why = format!("after {count} of {} operations, {choice:?}", recording.len());
            assert_clean(&image, &why);
            let store = Store::open(environment(&image), options()).unwrap_or_else(|error| panic!("{why}: {error}"));
            world.assert_holds(&store, &why);
            if count % 4 == 0 {
                store.collect(true).unwrap();
                world.assert_holds(&store, &why);
                store.close().unwrap();
                assert_clean(&image, &why);
            }
        }
    }
}

#[test]
fn a_collection_without_room_leaves_everything_as_it_was() {
    let kinds = [
        (OperationKind::Create, "segments/"),
        (OperationKind::Allocate, "segments/"),
        (OperationKind::Write, "segments/"),
        (OperationKind::Create, "runs/"),
        (OperationKind::Write, "runs/"),
        (OperationKind::Write, "manifest/"),
    ];
    for (kind, path) in kinds {
        for skipped in 0..3 {
            let why = format!("{kind:?} {path} after {skipped}");
            let world = worn(9);
            let trigger = Trigger::on(kind).under(path).after(skipped);
            world.device.inject(trigger, Fault::NoSpace);
            match world.store.collect(true) {
                Ok(_) => assert!(skipped > 0, "{why}: it is noticed"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::OutOfSpace, "{why}"),
            }
            world.assert_holds(&world.store, &why);
            assert_eq!(world.segment_files() as u64, world.store.status().segment_count, "{why}");
            let runs = world.device.list("runs").unwrap().len() as u64;
            assert_eq!(runs, world.store.status().run_count, "{why}");
            world.device.clear_faults();
            world.store.collect(true).unwrap();
            assert!(world.store.collect_plan(true).unwrap().is_empty(), "{why}");
            world.assert_holds(&world.store, &why);
            world.store.close().unwrap();
            assert_clean(&world.device, &why);
        }
    }
}

/// A frame of a segment of which somebody sees a block.
fn living_frame(store: &Store, id: SegmentId) -> FramePlace {
    let slot = store.map().scan_visible(&store.visibility()).find_map(|stretch| match stretch.unwrap().target {
        Target::Data(first) if first.segment == id => Some(first.slot),
        _ => None,
    });
    store.segments().segment(id).unwrap().locate(slot.unwrap()).unwrap()
}

#[test]
fn a_damaged_segment_is_left_alone_and_the_others_are_collected() {
    let world = worn(10);
    let plan = world.store.collect_plan(true).unwrap();
    // Not the worst of damage: one frame.
    let victim = plan.victims[0];
    let frame = living_frame(&world.store, victim);
    world.device.flip_bit(&crate::segment::path(victim), u64::from(frame.offset + frame.len / 2), 3).unwrap();
    world.store.collect(true).unwrap();
    let left = world.store.segment_ids();
    assert!(plan.victims[1..].iter().all(|id| !left.contains(id)));
    assert!(left.contains(&victim), "what cannot be moved is not given up");
    assert_marked(&world.store, "the damaged one is still there");
}

/// One bad sector in a segment's directory, or a file that cannot be opened, ended all collection.
#[test]
fn a_segment_that_cannot_be_read_is_left_alone_and_the_others_are_collected() {
    for kind in [OperationKind::Read, OperationKind::Open] {
        let mut world = worn(14);
        world.store.close().unwrap();
        world.store = Store::open(environment(&world.device), options()).unwrap();
        let plan = world.store.collect_plan(true).unwrap();
        let victim = plan.victims[0];
        world.device.inject(Trigger::on(kind).under(crate::segment::path(victim)).forever(), Fault::Io);
        world.store.collect(true).unwrap();
        let left = world.store.segment_ids();
        assert!(plan.victims.len() > 1 && plan.victims[1..].iter().all(|id| !left.contains(id)), "{kind:?}");
        assert!(left.contains(&victim), "{kind:?}");
        world.device.clear_faults();
        world.assert_holds(&world.store, "afterwards");
    }
}

/// Everything is full and accepted writes wait; then a volume is deleted.
#[test]
fn writes_resume_by_themselves_when_a_volume_was_deleted_on_a_full_disk() {
    const DISK_BYTES: u64 = 192 << 20;
    let device = SimDevice::with_options(SimOptions { capacity_bytes: Some(DISK_BYTES), ..SimOptions::new(11) });
    let store = new_store(&device);
    let (keep, gone) = (new_volume(&store, 1 << 30), new_volume(&store, 1 << 30));
    let mut offset = 0;
    let data = |at: u64| pattern(at + 1, 16 * BLOCK);
    let refused = loop {
        let volume = if offset % (1 << 20) == 0 { &keep } else { &gone };
        match volume.write(&[Write { offset, data: &data(offset) }]) {
            Ok(()) => offset += (16 * BLOCK) as u64,
            Err(error) => break error,
        }
        while store.step().unwrap_or(false) {}
    };
    assert_eq!(refused.kind(), ErrorKind::OutOfSpace);
    store.delete_volume(gone.id(), Vec::new()).unwrap();
    while store.step().unwrap_or(false) {}
    assert!(store.status().segments_reclaimed > 0);
    for at in (0..offset).step_by(1 << 20) {
        assert!(read(&keep, at, 16 * BLOCK) == data(at), "at {at}");
    }
    write(&keep, 5, &pattern(1, BLOCK));
    store.close().unwrap();
    assert_clean(&device, "afterwards");
}

/// No segment is dead as a whole, and survivors have hardly room beside what is reserved for flush jobs.
#[test]
fn writes_resume_by_themselves_when_every_other_block_was_trimmed_on_a_full_disk() {
    const DISK_BYTES: u64 = 192 << 20;
    let device = SimDevice::with_options(SimOptions { capacity_bytes: Some(DISK_BYTES), ..SimOptions::new(13) });
    let store = new_store(&device);
    let volume = new_volume(&store, 1 << 30);
    let data = |at: u64| pattern(at + 1, 16 * BLOCK);
    let mut end = 0;
    while volume.write(&[Write { offset: end, data: &data(end) }]).is_ok() {
        end += (16 * BLOCK) as u64;
        while store.step().unwrap_or(false) {}
    }
    for at in (0..end).step_by(2 * BLOCK) {
        volume.zero(at, BLOCK as u64, Zeroing::Hole).unwrap();
    }
    store.freeze().unwrap();
    while store.step().unwrap_or(false) {}
    let status = store.status();
    assert!(status.segments_reclaimed > 0 && status.bytes_relocated > 0, "{status:?}");
    assert!(status.segment_bytes < end * 3 / 5, "{} of {end} bytes", status.segment_bytes);
    write(&volume, end, &pattern(1, 64 * BLOCK));
    for at in (0..end).step_by(16 * BLOCK) {
        let mut expected = data(at);
        (0..16).step_by(2).for_each(|block| expected[block * BLOCK..][..BLOCK].fill(0));
        assert!(read(&volume, at, 16 * BLOCK) == expected, "at {at}");
    }
    store.close().unwrap();
    assert_clean(&device, "afterwards");
}
