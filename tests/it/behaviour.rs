//! What holds for every store, embedded or connected. Each behaviour gets an empty store of its own.

// Named by path, because another crate's tests have this file under another one.
#[path = "behaviour/copies.rs"]
mod copies;
#[path = "behaviour/objects.rs"]
mod objects;
#[path = "behaviour/streams.rs"]
mod streams;

use std::ops::{ControlFlow, Range};

use siltstone::{Codec, Content, ErrorKind, Extent, Fingerprint, Shrink, Store, View, VolumeOptions, unwatched};

const MIB: u64 = 1 << 20;

/// A behaviour by its name.
type Behaviour = (&'static str, fn(&Store));

pub(crate) const ALL: &[Behaviour] = &[
    ("bytes_come_back", bytes_come_back),
    ("ranges_end_with_the_volume", ranges_end_with_the_volume),
    ("names_are_checked", names_are_checked),
    ("both_are_views", both_are_views),
    ("settings_are_shown", settings_are_shown),
    ("snapshots_never_change", snapshots_never_change),
    ("groups_are_frozen_together", groups_are_frozen_together),
    ("clones_are_independent", clones_are_independent),
    ("volumes_roll_back", volumes_roll_back),
    ("what_is_open_stays", what_is_open_stays),
    ("volumes_are_resized", volumes_are_resized),
    ("allocation_covers_the_range", allocation_covers_the_range),
    ("long_maps_come_in_pages", long_maps_come_in_pages),
    ("changes_are_what_differs", changes_are_what_differs),
    ("unrelated_volumes_are_not_compared", unrelated_volumes_are_not_compared),
    ("fingerprints_are_those_of_the_content", fingerprints_are_those_of_the_content),
    ("fingerprints_come_in_pages", fingerprints_come_in_pages),
    ("copies_follow_their_source", copies::copies_follow_their_source),
    ("copies_cost_what_differs", copies::copies_cost_what_differs),
    ("copies_follow_a_source_that_was_cut_between_blocks", copies::copies_follow_a_source_that_was_cut_between_blocks),
    ("copies_can_be_cancelled_and_go_on", copies::copies_can_be_cancelled_and_go_on),
    ("copies_are_not_made_blindly", copies::copies_are_not_made_blindly),
    ("images_are_what_is_read", copies::images_are_what_is_read),
    ("quotas_hold", quotas_hold),
    ("space_is_accounted_for", space_is_accounted_for),
    ("verification_reads_everything", verification_reads_everything),
    ("verification_can_be_cancelled", verification_can_be_cancelled),
    ("threads_share_a_volume", threads_share_a_volume),
    ("objects_come_back", objects::objects_come_back),
    ("readers_give_pieces_and_bytes", objects::readers_give_pieces_and_bytes),
    ("objects_are_described", objects::objects_are_described),
    ("lists_of_objects_come_in_pages", objects::lists_of_objects_come_in_pages),
    ("objects_are_checked", objects::objects_are_checked),
    ("broken_uploads_are_resumed", objects::broken_uploads_are_resumed),
    ("uploads_go_on_where_content_is_sought", objects::uploads_go_on_where_content_is_sought),
    ("broken_uploads_are_forgotten", objects::broken_uploads_are_forgotten),
    ("puts_and_gets_can_be_cancelled", objects::puts_and_gets_can_be_cancelled),
    ("removal_does_not_wait_for_readers", objects::removal_does_not_wait_for_readers),
    ("one_at_a_time_puts_an_object", objects::one_at_a_time_puts_an_object),
    ("snapshots_travel", streams::snapshots_travel),
    ("names_of_what_comes_are_checked", streams::names_of_what_comes_are_checked),
    ("what_was_changed_is_not_lost", streams::what_was_changed_is_not_lost),
    ("damaged_streams_are_refused", streams::damaged_streams_are_refused),
    ("streams_can_be_cancelled", streams::streams_can_be_cancelled),
    ("what_a_store_lacks_is_asked_for", streams::what_a_store_lacks_is_asked_for),
    ("a_volume_goes_on_with_what_is_offered", streams::a_volume_goes_on_with_what_is_offered),
    ("both_ends_hear_why_nothing_was_received", streams::both_ends_hear_why_nothing_was_received),
    ("exchanges_can_be_cancelled", streams::exchanges_can_be_cancelled),
    ("what_is_received_stays_though_nobody_is_told", streams::what_is_received_stays_though_nobody_is_told),
    ("broken_exchanges_are_gone_on_with", streams::broken_exchanges_are_gone_on_with),
    ("roots_are_those_of_the_content", streams::roots_are_those_of_the_content),
];

/// Fills `buf` with bytes that neither compress nor repeat (SplitMix64).
pub(crate) fn fill_with_noise(buf: &mut [u8], state: &mut u64) {
    for chunk in buf.chunks_mut(8) {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = *state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        chunk.copy_from_slice(&(bits ^ (bits >> 31)).to_le_bytes()[..chunk.len()]);
    }
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    fill_with_noise(&mut bytes, &mut seed.clone());
    bytes
}

fn read(view: &View, range: Range<u64>) -> Vec<u8> {
    let mut buf = vec![0xee; (range.end - range.start) as usize];
    view.read_at(range.start, &mut buf).unwrap();
    buf
}

#[track_caller]
fn assert_kind<T>(result: siltstone::Result<T>, kind: ErrorKind) {
    let error = result.err().expect("it fails");
    assert_eq!(error.kind(), kind, "{error}");
}

fn bytes_come_back(store: &Store) {
    let volume = store.create_volume("disk", &VolumeOptions::new(8 * MIB + 100)).unwrap();
    let mut model = vec![0; (8 * MIB + 100) as usize];
    let writes = [
        (0, 1),
        (4095, 2),
        (8192, 4096),
        (10_000, 10_000),
        (MIB - 7, (3 * MIB + 13) as usize),
        (8 * MIB - 1, 101),
        (77, 0),
        (8 * MIB + 100, 0),
    ];
    for (seed, (offset, len)) in writes.into_iter().enumerate() {
        let data = noise(len, seed as u64);
        volume.write_at(offset, &data).unwrap();
        model[offset as usize..offset as usize + len].copy_from_slice(&data);
    }
    volume.flush().unwrap();
    for (offset, len) in [(12_000, 5), (12_288, 4096), (2 * MIB + 1, (MIB + 1) as usize)] {
        volume.trim(offset, len as u64).unwrap();
        model[offset as usize..offset as usize + len].fill(0);
    }
    volume.zero(3 * MIB - 1, 2).unwrap();
    model[(3 * MIB - 1) as usize..(3 * MIB + 1) as usize].fill(0);
    volume.zero(9, 0).unwrap();
    assert!(read(&volume, 0..8 * MIB + 100) == model);
    for range in [0..0, 5..6, 4090..4100, 8 * MIB..8 * MIB + 100] {
        assert_eq!(read(&volume, range.clone()), model[range.start as usize..range.end as usize]);
    }
}

fn ranges_end_with_the_volume(store: &Store) {
    let volume = store.create_volume("disk", &VolumeOptions::new(10_000)).unwrap();
    assert_eq!(volume.size_bytes(), 10_000);
    for (offset, len) in [(10_000, 1), (9_999, 2), (0, 10_001), (u64::MAX, 1), (1 << 60, 4096)] {
        assert_kind(volume.write_at(offset, &vec![1; len]), ErrorKind::Invalid);
        assert_kind(volume.read_at(offset, &mut vec![1; len]), ErrorKind::Invalid);
        assert_kind(volume.trim(offset, len as u64), ErrorKind::Invalid);
        assert_kind(volume.zero(offset, len as u64), ErrorKind::Invalid);
        assert_kind(volume.allocation(offset..offset.saturating_add(len as u64).max(10_001)), ErrorKind::Invalid);
    }
    assert_kind(volume.trim(1, u64::MAX), ErrorKind::Invalid);
    assert_eq!(read(&volume, 0..10_000), vec![0; 10_000]);
}

fn both_are_views(store: &Store) {
    let disk = store.create_volume("disk", &VolumeOptions::new(MIB)).unwrap();
    disk.write_at(0, b"old").unwrap();
    let monday = disk.snapshot("monday").unwrap();
    disk.write_at(0, b"new").unwrap();
    let (volume, snapshot) = (store.view("disk").unwrap(), store.view("disk@monday").unwrap());
    assert_eq!((volume.name(), volume.id(), volume.size_bytes()), ("disk", disk.id(), MIB));
    assert_eq!((snapshot.name(), snapshot.id(), snapshot.size_bytes()), ("disk@monday", monday.id(), MIB));
    assert_eq!((&read(&volume, 0..3)[..], &read(&snapshot, 0..3)[..]), (&b"new"[..], &b"old"[..]));
    let mut changes = volume.changes_since(&View::from(monday)).unwrap().map(Result::unwrap);
    assert_eq!((changes.next(), changes.next()), (Some(0..4096), None));
    drop(changes);
    assert_kind(store.remove_snapshot("disk@monday"), ErrorKind::Busy);
    assert_kind(store.view("none"), ErrorKind::NotFound);
    assert_kind(store.view("disk@none"), ErrorKind::NotFound);
    assert_kind(store.view("disk@"), ErrorKind::Invalid);
}

fn names_are_checked(store: &Store) {
    let options = VolumeOptions::new(MIB);
    assert_kind(store.volume("none"), ErrorKind::NotFound);
    assert_kind(store.volume_info("none"), ErrorKind::NotFound);
    assert_kind(store.snapshot("none@a"), ErrorKind::NotFound);
    assert_kind(store.snapshots("none"), ErrorKind::NotFound);
    assert_kind(store.remove_volume("none"), ErrorKind::NotFound);
    for name in ["", "Upper", "a/b", "a@b", "-a", "ä", &"x".repeat(64), "a\0"] {
        assert_kind(store.create_volume(name, &options), ErrorKind::Invalid);
    }
    assert_kind(store.open_or_create_volume("a/b", &options), ErrorKind::Invalid);
    assert_kind(store.open_or_create_volume("empty", &VolumeOptions::new(0)), ErrorKind::Invalid);
    drop(store.open_or_create_volume("disk", &options).unwrap());
    let disk = store.open_or_create_volume("disk", &VolumeOptions::new(2 * MIB)).unwrap();
    assert_eq!(disk.size_bytes(), MIB, "one that exists stays as it is");
    assert_eq!((disk.name(), disk.id()), ("disk", store.volume_info("disk").unwrap().id));
    assert_kind(store.create_volume("disk", &options), ErrorKind::Exists);
    assert_kind(store.create_volume("empty", &VolumeOptions::new(0)), ErrorKind::Invalid);
    assert_kind(store.create_volume("huge", &VolumeOptions::new((1 << 50) + 1)), ErrorKind::Invalid);
    assert_kind(store.snapshot("disk"), ErrorKind::Invalid);
    assert_kind(store.snapshot("disk@none"), ErrorKind::NotFound);
    disk.snapshot("a").unwrap();
    assert_kind(disk.snapshot("a"), ErrorKind::Exists);
    assert_kind(disk.snapshot("a@b"), ErrorKind::Invalid);
    assert_kind(store.clone_volume("disk@a", "disk"), ErrorKind::Exists);
    assert_kind(store.clone_volume("disk@b", "more"), ErrorKind::NotFound);
    let renamed = store.rename_snapshot("disk@a", "b").unwrap();
    assert_eq!(renamed.name, "disk@b");
    let names: Vec<_> = store.volumes().unwrap().into_iter().map(|volume| volume.name).collect();
    assert_eq!(names, ["disk"]);
}

fn settings_are_shown(store: &Store) {
    let codec: Codec = "zstd:7".parse().unwrap();
    let options = VolumeOptions::new(64 * MIB).codec(codec).reserve_bytes(MIB).quota_bytes(32 * MIB);
    drop(store.create_volume("disk", &options).unwrap());
    let info = store.volume_info("disk").unwrap();
    assert_eq!((info.size_bytes, info.codec, info.is_ready), (64 * MIB, codec, true));
    assert_eq!((info.reserve_bytes, info.quota_bytes), (Some(MIB), Some(32 * MIB)));
    assert_eq!((info.connections, info.snapshots), (0, 0));
    let snapshot = store.create_snapshot("disk@a").unwrap();
    let info = store.volume_info("disk").unwrap();
    assert_eq!((info.connections, info.snapshots), (0, 1));
    let [listed] = <[_; 1]>::try_from(store.all_snapshots().unwrap()).unwrap();
    assert_eq!((&*listed.name, &*listed.volume, listed.id), ("disk@a", "disk", snapshot.id()));
    assert_eq!((listed.size_bytes, listed.connections), (64 * MIB, 1));
    assert!(listed.created() >= info.created());
    assert_eq!(store.snapshots("disk").unwrap(), [listed]);
}

fn snapshots_never_change(store: &Store) {
    let volume = store.create_volume("disk", &VolumeOptions::new(MIB)).unwrap();
    volume.write_at(4000, b"old and new").unwrap();
    let before = volume.snapshot("before").unwrap();
    volume.write_at(4004, b"NOW").unwrap();
    volume.trim(0, 4000).unwrap();
    assert_eq!(read(&before, 4000..4011), b"old and new");
    assert_eq!(read(&volume, 4000..4011), b"old NOW new");
    drop((before, volume));
    assert_kind(store.remove_volume("disk"), ErrorKind::Invalid);
    store.remove_snapshot("disk@before").unwrap();
    assert_kind(store.snapshot("disk@before"), ErrorKind::NotFound);
    store.create_snapshot("disk@again").unwrap();
    store.remove_volume_with_snapshots("disk").unwrap();
    assert!(store.volumes().unwrap().is_empty() && store.all_snapshots().unwrap().is_empty());
}

fn groups_are_frozen_together(store: &Store) {
    for name in ["a", "b"] {
        store.create_volume(name, &VolumeOptions::new(MIB)).unwrap();
    }
    let made = store.create_snapshots(&["a@1", "b@1"]).unwrap();
    let names: Vec<_> = made.iter().map(|snapshot| snapshot.name.as_str()).collect();
    assert_eq!(names, ["a@1", "b@1"]);
    assert_kind(store.create_snapshots(&["a@2", "b@1"]), ErrorKind::Exists);
    assert_kind(store.create_snapshots(&["a@2", "a@3"]), ErrorKind::Invalid);
    assert_kind(store.create_snapshots(&[]), ErrorKind::Invalid);
    assert_eq!(store.all_snapshots().unwrap().len(), 2, "all or none are made");
}

fn clones_are_independent(store: &Store) {
    let volume = store.create_volume("disk", &VolumeOptions::new(MIB)).unwrap();
    volume.write_at(0, b"common").unwrap();
    let branch = store.clone_volume("disk", "branch").unwrap();
    branch.write_at(0, b"branch").unwrap();
    assert_eq!(read(&volume, 0..6), b"common");
    drop(volume);
    store.remove_volume("disk").unwrap();
    assert_eq!(read(&branch, 0..6), b"branch");
}

fn volumes_roll_back(store: &Store) {
    let mut volume = store.create_volume("disk", &VolumeOptions::new(MIB)).unwrap();
    volume.write_at(0, b"good").unwrap();
    volume.snapshot("good").unwrap();
    volume.write_at(0, b"evil").unwrap();
    volume.resize(2 * MIB, Shrink::Refused).unwrap();
    assert_kind(store.roll_back("disk@good"), ErrorKind::Busy);
    drop(volume);
    assert_eq!(store.roll_back("disk@good").unwrap().size_bytes, MIB);
    assert_eq!(read(&store.volume("disk").unwrap(), 0..4), b"good");
}

fn what_is_open_stays(store: &Store) {
    let volume = store.create_volume("disk", &VolumeOptions::new(MIB)).unwrap();
    let snapshot = volume.snapshot("a").unwrap();
    assert_eq!(store.volume_info("disk").unwrap().connections, 1);
    assert_kind(store.remove_volume_with_snapshots("disk"), ErrorKind::Busy);
    assert_kind(store.remove_snapshot("disk@a"), ErrorKind::Busy);
    assert_kind(store.rename_snapshot("disk@a", "b"), ErrorKind::Busy);
    let changes = volume.changes_since(&snapshot).unwrap();
    drop((volume, snapshot));
    assert_kind(store.remove_snapshot("disk@a"), ErrorKind::Busy);
    drop(changes);
    store.remove_snapshot("disk@a").unwrap();
    store.remove_volume("disk").unwrap();
}

fn volumes_are_resized(store: &Store) {
    let mut volume = store.create_volume("disk", &VolumeOptions::new(MIB)).unwrap();
    volume.write_at(MIB - 4, b"tail").unwrap();
    volume.resize(2 * MIB + 1, Shrink::Refused).unwrap();
    assert_eq!(volume.size_bytes(), 2 * MIB + 1);
    volume.write_at(2 * MIB - 2, b"end").unwrap();
    assert_kind(volume.resize(MIB, Shrink::Refused), ErrorKind::Invalid);
    assert_eq!((volume.size_bytes(), read(&volume, MIB - 4..MIB)), (2 * MIB + 1, b"tail".to_vec()));

    let other = store.volume("disk").unwrap();
    assert_kind(volume.resize(MIB, Shrink::Allowed), ErrorKind::Busy);
    assert_eq!(read(&volume, 2 * MIB - 2..2 * MIB + 1), b"end");
    drop(other);
    volume.resize(MIB - 2, Shrink::Allowed).unwrap();
    assert_kind(volume.read_at(MIB - 4, &mut [0; 4]), ErrorKind::Invalid);
    volume.resize(MIB, Shrink::Refused).unwrap();
    assert_eq!(read(&volume, MIB - 4..MIB), b"ta\0\0", "what was cut off is gone");
    assert_eq!(store.resize_volume("disk", 3 * MIB, Shrink::Refused).unwrap().size_bytes, 3 * MIB);
    assert_kind(store.resize_volume("none", MIB, Shrink::Refused), ErrorKind::NotFound);
    assert_kind(store.resize_volume("disk", 0, Shrink::Allowed), ErrorKind::Busy);
}

fn allocation(view: &View, range: Range<u64>) -> Vec<(Range<u64>, Content)> {
    let extent = |extent: siltstone::Result<Extent>| extent.map(|extent| (extent.range, extent.content)).unwrap();
    view.allocation(range).unwrap().map(extent).collect()
}

fn allocation_covers_the_range(store: &Store) {
    let volume = store.create_volume("disk", &VolumeOptions::new(MIB + 10)).unwrap();
    assert_eq!(allocation(&volume, 0..MIB + 10), [(0..MIB + 10, Content::Hole)]);
    volume.write_at(8192, &noise(8192, 1)).unwrap();
    volume.zero(16_384, 4096).unwrap();
    volume.write_at(MIB, &noise(10, 2)).unwrap();
    let whole = [
        (0..8192, Content::Hole),
        (8192..16_384, Content::Data),
        (16_384..20_480, Content::Zeros),
        (20_480..MIB, Content::Hole),
        (MIB..MIB + 10, Content::Data),
    ];
    assert_eq!(allocation(&volume, 0..MIB + 10), whole);
    assert_eq!(allocation(&volume, 9000..9001), [(9000..9001, Content::Data)]);
    assert_eq!(
        allocation(&volume, 16_000..17_000),
        [(16_000..16_384, Content::Data), (16_384..17_000, Content::Zeros)]
    );
    assert_eq!(allocation(&volume, 5..5), []);
    assert_eq!(volume.allocation(..).unwrap().count(), 5);
    assert_eq!(volume.allocation(MIB..).unwrap().count(), 1);
    assert_eq!(volume.allocation(..=8192).unwrap().count(), 2);
}

/// More extents than a page of any kind has.
fn long_maps_come_in_pages(store: &Store) {
    let blocks = 6000;
    let volume = store.create_volume("disk", &VolumeOptions::new(2 * blocks * 4096)).unwrap();
    let before = volume.snapshot("before").unwrap();
    for block in 0..blocks {
        volume.write_at(2 * block * 4096, &[(block % 250) as u8 + 1; 4096]).unwrap();
    }
    let data = |block: u64| 2 * block * 4096..(2 * block + 1) * 4096;
    let map = allocation(&volume, 0..volume.size_bytes());
    assert_eq!(map.len() as u64, 2 * blocks);
    for (block, pair) in map.chunks(2).enumerate() {
        let (data, hole) = (data(block as u64), (2 * block as u64 + 1) * 4096..(2 * block as u64 + 2) * 4096);
        assert_eq!(pair, [(data, Content::Data), (hole, Content::Hole)]);
    }
    let changes: Vec<_> = volume.changes_since(&before).unwrap().map(siltstone::Result::unwrap).collect();
    assert!(changes.into_iter().eq((0..blocks).map(data)));
    volume.zero(0, volume.size_bytes()).unwrap();
    assert_eq!(volume.changes_since(&before).unwrap().count(), 1, "what touches is one range, whatever the pages");
}

fn changes_are_what_differs(store: &Store) {
    let mut volume = store.create_volume("disk", &VolumeOptions::new(MIB)).unwrap();
    volume.write_at(0, &noise(3 * 4096, 1)).unwrap();
    let a = volume.snapshot("a").unwrap();
    let changed = |later: &View, earlier: &View| -> Vec<Range<u64>> {
        later.changes_since(earlier).unwrap().map(siltstone::Result::unwrap).collect()
    };
    assert_eq!(changed(&volume, &a), []);
    volume.write_at(4096 + 17, b"x").unwrap();
    volume.trim(40_960, 8192).unwrap();
    volume.resize(2 * MIB, Shrink::Refused).unwrap();
    let b = volume.snapshot("b").unwrap();
    let branch = store.clone_volume("disk@a", "branch").unwrap();
    branch.write_at(0, b"other").unwrap();
    let said = changed(&b, &a);
    assert!(said.contains(&(MIB..2 * MIB)) && said.iter().any(|range| range.contains(&4113)), "{said:?}");
    assert!(!said.iter().any(|range| range.contains(&0)), "{said:?}");
    assert_eq!(changed(&a, &b), said, "either may be the earlier one");
    let of_branch = changed(&branch, &a);
    assert_eq!((of_branch.len(), &of_branch[0]), (1, &(0..4096)));
    assert_eq!(changed(&volume, &volume), []);
}

fn unrelated_volumes_are_not_compared(store: &Store) {
    let [a, b] = ["a", "b"].map(|name| store.create_volume(name, &VolumeOptions::new(MIB)).unwrap());
    assert_kind(a.changes_since(&b), ErrorKind::Invalid);
}

fn prints(view: &View, range: Range<u64>) -> Vec<(Range<u64>, Option<Fingerprint>)> {
    let extents = view.fingerprints(range).unwrap().map(siltstone::Result::unwrap);
    extents.map(|extent| (extent.range, extent.fingerprint)).collect()
}

fn fingerprints_are_those_of_the_content(store: &Store) {
    let volume = store.create_volume("disk", &VolumeOptions::new(MIB + 10)).unwrap();
    assert_eq!(prints(&volume, 0..MIB + 10), [(0..MIB + 10, None)]);
    let data = noise(8192, 1);
    volume.write_at(8192, &data).unwrap();
    volume.zero(16_384, 4096).unwrap();
    volume.write_at(MIB, b"tail").unwrap();
    let mut tail = [0; 4096];
    tail[..4].copy_from_slice(b"tail");
    let hash = |bytes: &[u8]| Some(Fingerprint::of(bytes.try_into().unwrap()));
    let whole = [
        (0..8192, None),
        (8192..12_288, hash(&data[..4096])),
        (12_288..16_384, hash(&data[4096..])),
        (16_384..MIB, None),
        (MIB..MIB + 10, hash(&tail)),
    ];
    assert_eq!(prints(&volume, 0..MIB + 10), whole);
    assert_eq!(prints(&volume, 12_000..12_289), whole[1..3], "a range is widened to blocks");
    assert_eq!(prints(&volume, MIB + 9..MIB + 10), whole[4..]);
    assert_eq!(prints(&volume, 77..77), []);
    assert_eq!(prints(&volume.snapshot("a").unwrap(), 0..MIB + 10), whole);
    assert_kind(volume.fingerprints(..MIB + 11), ErrorKind::Invalid);
}

/// More blocks than a page of any kind has, in segments and in memory.
fn fingerprints_come_in_pages(store: &Store) {
    let volume = store.create_volume("disk", &VolumeOptions::new(1 << 40)).unwrap();
    let data = noise(160 * MIB as usize, 1);
    for (index, piece) in data.chunks(MIB as usize).enumerate() {
        volume.write_at(512 * MIB + index as u64 * MIB, piece).unwrap();
    }
    volume.trim(600 * MIB, MIB).unwrap();
    let found = prints(&volume, 0..1 << 40);
    assert_eq!((found.first().unwrap(), found.last().unwrap()), (&(0..512 * MIB, None), &(672 * MIB..1 << 40, None)));
    let blocks = &found[1..found.len() - 1];
    assert_eq!(blocks.len(), 159 * 256 + 1);
    for (range, fingerprint) in blocks {
        let content = &data[(range.start - 512 * MIB) as usize..(range.end - 512 * MIB) as usize];
        match fingerprint {
            Some(fingerprint) => assert_eq!(*fingerprint, Fingerprint::of(content.try_into().unwrap()), "{range:?}"),
            None => assert_eq!(*range, 600 * MIB..601 * MIB),
        }
    }
}

fn quotas_hold(store: &Store) {
    let options = VolumeOptions::new(64 * MIB).quota_bytes(MIB);
    let volume = store.create_volume("disk", &options).unwrap();
    let written = (0..8).try_for_each(|index| volume.write_at(index * MIB, &noise(MIB as usize, index)));
    assert_kind(written, ErrorKind::OutOfSpace);
    volume.flush().unwrap();
}

fn space_is_accounted_for(store: &Store) {
    let empty = store.space().unwrap();
    assert!(empty.total_bytes > 0 && empty.used_bytes <= empty.total_bytes && empty.free_bytes <= empty.total_bytes);
    let volume = store.create_volume("disk", &VolumeOptions::new(16 * MIB)).unwrap();
    let data = noise(2 * MIB as usize, 1);
    volume.write_at(0, &data).unwrap();
    volume.write_at(4 * MIB, &data).unwrap();
    volume.flush().unwrap();
    volume.snapshot("a").unwrap();
    let mut calls = 0;
    let usage = store.usage(&mut |_| {
        calls += 1;
        ControlFlow::Continue(())
    });
    assert!(usage.unwrap().views.iter().map(|view| view.name.as_str()).eq(["disk", "disk@a"]) && calls > 0);
    assert_kind(store.usage(&mut |_| ControlFlow::Break(())), ErrorKind::Cancelled);
    let collected = store.collect(true).unwrap();
    assert!(collected.moved_bytes <= collected.reclaimed_bytes);
    store.start_scrub().unwrap();
    assert_eq!(store.scrub_status().unwrap().damaged_places, 0);
}

/// Enough that the store has put a part of it into segments, where verification looks.
fn volume_in_segments(store: &Store) -> siltstone::Volume {
    let volume = store.create_volume("disk", &VolumeOptions::new(256 * MIB)).unwrap();
    for index in 0..96 {
        volume.write_at(index * MIB, &noise(MIB as usize, index)).unwrap();
    }
    volume.flush().unwrap();
    volume
}

fn verification_reads_everything(store: &Store) {
    let volume = volume_in_segments(store);
    let verified = volume.verify(&mut unwatched).unwrap();
    assert!(verified.good_bytes > 0 && verified.damaged_bytes == 0 && verified.damage.is_empty(), "{verified:?}");
    let used = store.usage(&mut unwatched).unwrap();
    assert!(used.views[0].mapped_bytes > 0 && used.views[0].stored_bytes <= used.disk_bytes, "{used:?}");
}

fn verification_can_be_cancelled(store: &Store) {
    let volume = volume_in_segments(store);
    assert_kind(volume.verify(&mut |_| ControlFlow::Break(())), ErrorKind::Cancelled);
    assert_eq!(read(&volume, 0..8), noise(8, 0), "the store goes on");
    assert_eq!(store.volumes().unwrap().len(), 1);
}

fn threads_share_a_volume(store: &Store) {
    let volume = store.create_volume("disk", &VolumeOptions::new(16 * MIB)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let volume = &volume;
            scope.spawn(move || {
                for step in 0..64 {
                    let offset = thread * 4 * MIB + step * 65_536;
                    let data = noise(65_536, offset);
                    volume.write_at(offset, &data).unwrap();
                    assert_eq!(read(volume, offset..offset + 65_536), data);
                }
                volume.flush().unwrap();
            });
        }
    });
}
