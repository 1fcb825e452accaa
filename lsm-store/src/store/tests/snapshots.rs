//! Snapshots and clones hold what was there when they were made, whatever happens afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;
use crate::device::sim::{CrashChoice, Fault, OperationKind, Trigger};
use crate::error::ErrorKind;

const BLOCKS: usize = 12;

fn snapshot(store: &Store, of: &Volume) -> Volume {
    let ids = store.snapshot_volumes(&[of.id()], |_| Vec::new()).unwrap();
    store.volume(ids[0]).unwrap()
}

fn reopened(device: &SimDevice) -> Arc<Store> {
    Store::open(environment(device), options()).unwrap()
}

#[test]
fn a_snapshot_keeps_what_the_volume_writes_over() {
    let device = SimDevice::new(31, Faults::none());
    let store = new_store(&device);
    let volume = new_volume(&store, 1 << 20);
    let (old, new) = (pattern(1, 8 * BLOCK), pattern(2, 4 * BLOCK));
    write(&volume, 0, &old);
    let frozen = snapshot(&store, &volume);
    write(&volume, 2 * BLOCK as u64, &new);
    volume.zero(7 * BLOCK as u64, BLOCK as u64, Zeroing::Hole).unwrap();
    let mut expected = old.clone();
    expected[2 * BLOCK..6 * BLOCK].copy_from_slice(&new);
    expected[7 * BLOCK..].fill(0);
    for _ in 0..2 {
        assert!(read(&volume, 0, 8 * BLOCK) == expected);
        assert!(read(&frozen, 0, 8 * BLOCK) == old);
        settle(&store);
    }
    drop(store);
    let store = reopened(&device.process_death());
    assert!(read(&store.volume(volume.id()).unwrap(), 0, 8 * BLOCK) == expected);
    assert!(read(&store.volume(frozen.id()).unwrap(), 0, 8 * BLOCK) == old);
    assert_eq!(store.volumes().iter().map(|volume| volume.snapshot_of).collect::<Vec<_>>(), [None, Some(volume.id())]);
}

#[test]
fn a_snapshot_cannot_be_changed() {
    let store = new_store(&SimDevice::new(32, Faults::none()));
    let volume = new_volume(&store, 1 << 20);
    let frozen = snapshot(&store, &volume);
    assert!(frozen.is_read_only() && !volume.is_read_only());
    let write = frozen.write(&[Write { offset: 0, data: &[1; BLOCK] }]);
    assert_eq!(write.unwrap_err().kind(), Error::ReadOnly.kind());
    assert_eq!(frozen.zero(0, 4096, Zeroing::Hole).unwrap_err().kind(), Error::ReadOnly.kind());
    assert_eq!(store.resize_volume(frozen.id(), 5).unwrap_err().kind(), Error::ReadOnly.kind());
    let refused = store.snapshot_volumes(&[frozen.id()], |_| Vec::new());
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
    let refused = store.snapshot_volumes(&[volume.id(), volume.id()], |_| Vec::new());
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(store.roll_back_volume(volume.id(), volume.id()).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn what_was_written_before_a_rollback_is_gone_also_after_a_crash() {
    for crash in [false, true] {
        let device = SimDevice::new(33, Faults::none());
        let store = new_store(&device);
        let volume = new_volume(&store, 1 << 20);
        let (old, lost, new) = (pattern(1, 4 * BLOCK), pattern(2, 4 * BLOCK), pattern(3, BLOCK));
        write(&volume, 0, &old);
        let frozen = snapshot(&store, &volume);
        write(&volume, 0, &lost);
        store.resize_volume(volume.id(), 2 << 20).unwrap();
        store.roll_back_volume(volume.id(), frozen.id()).unwrap();
        assert_eq!(volume.size_bytes(), 1 << 20);
        assert!(read(&volume, 0, old.len()) == old);
        write(&volume, BLOCK as u64, &new);
        volume.flush().unwrap();
        let store = if crash { reopened(&device.crash_image(&CrashChoice::Nothing)) } else { store };
        settle(&store);
        let mut expected = old.clone();
        expected[BLOCK..2 * BLOCK].copy_from_slice(&new);
        assert!(read(&store.volume(volume.id()).unwrap(), 0, old.len()) == expected, "crash: {crash}");
        assert!(read(&store.volume(frozen.id()).unwrap(), 0, old.len()) == old, "crash: {crash}");
    }
}

/// A crash after the cut and before the commit, with and without a flush job in between.
#[test]
fn what_is_written_to_a_layer_that_was_never_committed_is_the_volumes() {
    for flush in [false, true] {
        let device = SimDevice::new(34, Faults::none());
        let store = new_store(&device);
        let volume = new_volume(&store, 1 << 20);
        let (old, new) = (pattern(1, 4 * BLOCK), pattern(2, 2 * BLOCK));
        write(&volume, 0, &old);
        for _ in 0..2 {
            let state = store.inner.volume_state(volume.id()).unwrap();
            store.inner.cut_volumes(&[state]).unwrap();
        }
        write(&volume, BLOCK as u64, &new);
        if flush {
            settle(&store);
            write(&volume, 3 * BLOCK as u64, &new[..BLOCK]);
        }
        let mut expected = old.clone();
        expected[BLOCK..3 * BLOCK].copy_from_slice(&new);
        if flush {
            expected[3 * BLOCK..].copy_from_slice(&new[..BLOCK]);
        }
        volume.flush().unwrap();
        for read_only in [true, false] {
            let image = device.crash_image(&CrashChoice::Nothing);
            let device = if read_only { image.read_only() } else { image };
            let store = Store::open(environment(&device), Options { read_only, ..options() }).unwrap();
            assert!(read(&store.volume(volume.id()).unwrap(), 0, 4 * BLOCK) == expected, "{flush} {read_only}");
        }
    }
}

/// The cut stayed in memory; a merge wrote what the volume had under its new layer, of which the manifest knew nothing.
#[test]
fn a_merge_after_a_snapshot_that_failed_keeps_what_the_volume_holds() {
    let device = SimDevice::new(40, Faults::none());
    let store = new_store(&device);
    let volume = new_volume(&store, 1 << 20);
    let data = pattern(1, 8 * BLOCK);
    for piece in 0..4 {
        write(&volume, (2 * piece * BLOCK) as u64, &data[2 * piece * BLOCK..][..2 * BLOCK]);
        store.freeze().unwrap();
        assert!(store.inner.flush_oldest().unwrap());
    }
    device.inject(Trigger::on(OperationKind::Write).under("manifest/"), Fault::NoSpace);
    let refused = store.snapshot_volumes(&[volume.id()], |_| Vec::new());
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::OutOfSpace);
    assert!(store.inner.compact_once().unwrap() && store.status().merges == 1);
    let store = reopened(&device.process_death());
    let volume = store.volume(volume.id()).unwrap();
    for _ in 0..2 {
        assert!(read(&volume, 0, data.len()) == data);
        settle(&store);
        store.collect(true).unwrap();
    }
    store.close().unwrap();
}

#[test]
fn what_has_changed_is_named_and_nothing_else() {
    let device = SimDevice::new(38, Faults::none());
    let store = new_store(&device);
    let volume = new_volume(&store, VOLUME_BYTES_MAX);
    write(&volume, 0, &pattern(1, 32 * BLOCK));
    let frozen = snapshot(&store, &volume);
    write(&volume, 3 * BLOCK as u64, &pattern(2, 2 * BLOCK));
    volume.zero(8 * BLOCK as u64, BLOCK as u64, Zeroing::Hole).unwrap();
    write(&volume, 1 << 40, &[1]);
    let expected = [(3, false), (2, true), (3, false), (1, true), ((1 << 28) - 9, false), (1, true)];
    for _ in 0..2 {
        let extents = volume.changes_since(&frozen, 0, VOLUME_BYTES_MAX, 100).unwrap();
        let blocks = |extent: &crate::request::ChangedExtent| (extent.len / BLOCK as u64, extent.changed);
        let found: Vec<_> = extents.iter().map(blocks).collect();
        assert_eq!(found[..6], expected);
        assert_eq!((found.len(), found[6].1), (7, false));
        let part = volume.changes_since(&frozen, 4 * BLOCK as u64 + 7, 2 * BLOCK as u64, 1).unwrap();
        assert_eq!(part, [crate::request::ChangedExtent { len: BLOCK as u64 - 7, changed: true }]);
        settle(&store);
    }
    let stranger = new_volume(&store, 1 << 20);
    assert_eq!(volume.changes_since(&stranger, 0, 1 << 20, 1).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn a_reader_of_what_is_removed_gets_an_error() {
    let store = new_store(&SimDevice::new(35, Faults::none()));
    let volume = new_volume(&store, 1 << 20);
    write(&volume, 0, &pattern(1, BLOCK));
    let frozen = snapshot(&store, &volume);
    store.delete_volume(frozen.id(), Vec::new()).unwrap();
    assert_eq!(frozen.read(0, BLOCK).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(store.delete_volume(frozen.id(), Vec::new()).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn volumes_of_one_snapshot_are_cut_at_one_moment() {
    let device = SimDevice::new(36, Faults::none());
    Store::create(&environment(&device), Settings::default()).unwrap();
    let threads = Options { background: BackgroundMode::Threads, ..options() };
    let store = Store::open(environment(&device), threads).unwrap();
    let (one, two) = (new_volume(&store, 1 << 20), new_volume(&store, 1 << 20));
    let (ended, written) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut seen = BTreeSet::new();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for number in 1_u64.. {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                write(&one, 0, &number.to_le_bytes());
                write(&two, 0, &number.to_le_bytes());
                written.store(number, Ordering::Relaxed);
            }
        });
        for _ in 0..50 {
            // The next number may have been written already, and not the one after it.
            let after_next = written.load(Ordering::Relaxed) + 2;
            while written.load(Ordering::Relaxed) < after_next {
                assert!(!writer.is_finished(), "the writer goes on");
                std::thread::yield_now();
            }
            let ids = store.snapshot_volumes(&[one.id(), two.id()], |_| Vec::new()).unwrap();
            let number = |id: &VolumeId| {
                let bytes = read(&store.volume(*id).unwrap(), 0, 8);
                u64::from_le_bytes(bytes.try_into().unwrap())
            };
            let (first, second) = (number(&ids[0]), number(&ids[1]));
            assert!(first == second || first == second + 1, "{first} and {second}");
            seen.insert(second);
        }
        ended.store(true, Ordering::Relaxed);
    });
    assert_eq!(seen.len(), 50, "the writer gets on between two snapshots");
    store.close().unwrap();
}

/// What one step of a random history does; the numbers choose among what there is.
#[derive(Clone, Debug)]
enum Step {
    Write { volume: usize, first: usize, count: usize, seed: u64 },
    Zero { volume: usize, first: usize, count: usize },
    Snapshot { volume: usize },
    Clone { of: usize },
    RollBack { snapshot: usize },
    Delete { of: usize },
    Freeze,
    Work,
    Reopen,
    Kill,
    CutPower,
}

fn step() -> impl Strategy<Value = Step> {
    let place = (any::<usize>(), 0..BLOCKS, 1..5_usize);
    prop_oneof![
        6 => (place.clone(), any::<u64>()).prop_map(|((volume, first, count), seed)| Step::Write { volume, first, count, seed }),
        2 => place.prop_map(|(volume, first, count)| Step::Zero { volume, first, count }),
        3 => any::<usize>().prop_map(|volume| Step::Snapshot { volume }),
        2 => any::<usize>().prop_map(|of| Step::Clone { of }),
        1 => any::<usize>().prop_map(|snapshot| Step::RollBack { snapshot }),
        2 => any::<usize>().prop_map(|of| Step::Delete { of }),
        2 => Just(Step::Freeze),
        3 => Just(Step::Work),
        1 => Just(Step::Reopen),
        1 => Just(Step::Kill),
        1 => Just(Step::CutPower),
    ]
}

/// What each volume and snapshot should hold.
#[derive(Default)]
struct Model {
    /// (content, of which volume it is a snapshot)
    volumes: BTreeMap<VolumeId, (Vec<u8>, Option<VolumeId>)>,
}

impl Model {
    fn pick(&self, number: usize, wanted: impl Fn(&Option<VolumeId>) -> bool) -> Option<VolumeId> {
        let ids: Vec<_> = self.volumes.iter().filter(|(_, (_, of))| wanted(of)).map(|(id, _)| *id).collect();
        (!ids.is_empty()).then(|| ids[number % ids.len()])
    }

    /// Between any two, what is not named as changed is the same.
    fn check_changes(&self, store: &Store) {
        for (one, (content, _)) in &self.volumes {
            for (other, (before, _)) in &self.volumes {
                let (one, other) = (store.volume(*one).unwrap(), store.volume(*other).unwrap());
                let extents = match one.changes_since(&other, 0, content.len() as u64, 1000) {
                    Ok(extents) => extents,
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Invalid, "of two families");
                        continue;
                    }
                };
                assert!(extents.windows(2).all(|pair| pair[0].changed != pair[1].changed), "{extents:?}");
                let mut at = 0;
                for extent in extents {
                    let range = at..at + extent.len as usize;
                    assert!(extent.changed || content[range.clone()] == before[range.clone()], "{range:?} has changed");
                    at = range.end;
                }
                assert_eq!(at, content.len());
            }
        }
    }

    fn check(&self, store: &Store) {
        assert_eq!(store.volumes().len(), self.volumes.len());
        for (id, (content, _)) in &self.volumes {
            assert!(read(&store.volume(*id).unwrap(), 0, content.len()) == *content, "volume {id:?}");
        }
    }

    fn apply(&mut self, step: &Step, store: &mut Arc<Store>, device: &mut SimDevice) {
        let range = |first: usize, count: usize| first * BLOCK..(first + count).min(BLOCKS) * BLOCK;
        let is_volume = |of: &Option<VolumeId>| of.is_none();
        match *step {
            Step::Write { volume, first, count, seed } => {
                let Some(id) = self.pick(volume, is_volume) else { return };
                let range = range(first, count);
                let data = pattern(seed, range.len());
                write(&store.volume(id).unwrap(), range.start as u64, &data);
                self.volumes.get_mut(&id).unwrap().0[range].copy_from_slice(&data);
            }
            Step::Zero { volume, first, count } => {
                let Some(id) = self.pick(volume, is_volume) else { return };
                let range = range(first, count);
                let volume = store.volume(id).unwrap();
                volume.zero(range.start as u64, range.len() as u64, Zeroing::Hole).unwrap();
                self.volumes.get_mut(&id).unwrap().0[range].fill(0);
            }
            Step::Snapshot { volume } => {
                let Some(id) = self.pick(volume, is_volume) else { return };
                let ids = store.snapshot_volumes(&[id], |_| Vec::new()).unwrap();
                self.volumes.insert(ids[0], (self.volumes[&id].0.clone(), Some(id)));
            }
            Step::Clone { of } => {
                let Some(id) = self.pick(of, |_| true) else { return };
                let clone = store.clone_volume(id, |_| Vec::new()).unwrap();
                self.volumes.insert(clone, (self.volumes[&id].0.clone(), None));
            }
            Step::RollBack { snapshot } => {
                let Some(id) = self.pick(snapshot, |of| of.is_some_and(|of| self.volumes.contains_key(&of))) else {
                    return;
                };
                let (content, of) = self.volumes[&id].clone();
                store.roll_back_volume(of.unwrap(), id).unwrap();
                self.volumes.get_mut(&of.unwrap()).unwrap().0 = content;
            }
            Step::Delete { of } => {
                if self.volumes.len() > 1
                    && let Some(id) = self.pick(of, |_| true)
                {
                    store.delete_volume(id, Vec::new()).unwrap();
                    self.volumes.remove(&id);
                }
            }
            Step::Freeze => store.freeze().unwrap(),
            Step::Work => while store.step().unwrap() {},
            Step::Reopen => {
                store.close().unwrap();
                *store = reopened(device);
            }
            Step::Kill => {
                *device = device.process_death();
                *store = reopened(device);
            }
            Step::CutPower => {
                let heads = self.volumes.iter().filter(|(_, (_, of))| of.is_none());
                heads.for_each(|(id, _)| store.volume(*id).unwrap().flush().unwrap());
                *device = device.crash_image(&CrashChoice::Nothing);
                *store = reopened(device);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_volume_and_snapshot_holds_what_it_should(steps in prop::collection::vec(step(), 1..60)) {
        let mut device = SimDevice::new(37, Faults::none());
        let mut store = new_store(&device);
        let mut model = Model::default();
        let volume = new_volume(&store, (BLOCKS * BLOCK) as u64);
        model.volumes.insert(volume.id(), (vec![0; BLOCKS * BLOCK], None));
        for step in &steps {
            model.apply(step, &mut store, &mut device);
        }
        model.check(&store);
        model.check_changes(&store);
        settle(&store);
        model.check_changes(&store);
        store.close().unwrap();
        let report = Store::check(&environment(&device), &mut |_, _| {}).unwrap();
        prop_assert!(report.damages.is_empty(), "{:?}", report.damages);
    }
}

#[test]
fn a_replaced_volume_holds_what_the_other_held_also_after_a_crash() {
    for (crash, settled) in [(false, false), (true, false), (true, true)] {
        let device = SimDevice::new(38, Faults::none());
        let store = new_store(&device);
        let volume = new_volume(&store, 1 << 20);
        let (old, lost, new) = (pattern(1, 4 * BLOCK), pattern(2, 4 * BLOCK), pattern(3, 2 * BLOCK));
        write(&volume, 0, &old);
        let base = snapshot(&store, &volume);
        write(&volume, 0, &lost);
        let clone = store.volume(store.clone_volume(base.id(), |_| Vec::new()).unwrap()).unwrap();
        write(&clone, 3 * BLOCK as u64, &new);
        store.resize_volume(clone.id(), 2 << 20).unwrap();
        if settled {
            settle(&store);
        }
        let record = |id: VolumeId| vec![Record { key: b"named".into(), value: Some(id.0.to_le_bytes().into()) }];
        let received = store.replace_volume(volume.id(), clone.id(), record).unwrap();
        assert_eq!(clone.read(0, 1).unwrap_err().kind(), ErrorKind::NotFound);
        let mut expected = [&old[..3 * BLOCK], &new].concat();
        let after = pattern(4, BLOCK);
        write(&volume, 0, &after);
        volume.flush().unwrap();
        let store = if crash { reopened(&device.process_death()) } else { store };
        let (volume, frozen) = (store.volume(volume.id()).unwrap(), store.volume(received).unwrap());
        assert_eq!((volume.size_bytes(), frozen.size_bytes()), (2 << 20, 2 << 20));
        assert_eq!(store.records(), [Record { key: b"named".into(), value: Some(received.0.to_le_bytes().into()) }]);
        let ids: Vec<_> = store.volumes().iter().map(|info| (info.id, info.snapshot_of)).collect();
        let snapshot_of = Some(volume.id());
        assert_eq!(ids, [(volume.id(), None), (base.id(), snapshot_of), (received, snapshot_of)]);
        for _ in 0..2 {
            assert!(read(&frozen, 0, 5 * BLOCK) == expected);
            assert!(read(&store.volume(base.id()).unwrap(), 0, 4 * BLOCK) == old);
            expected[..BLOCK].copy_from_slice(&after);
            assert!(read(&volume, 0, 5 * BLOCK) == expected);
            expected[..BLOCK].copy_from_slice(&old[..BLOCK]);
            settle(&store);
        }
        store.roll_back_volume(volume.id(), received).unwrap();
        assert!(read(&volume, 0, 5 * BLOCK) == expected);
        store.roll_back_volume(volume.id(), base.id()).unwrap();
        assert!(read(&volume, 0, 4 * BLOCK) == old);
        while store.step().unwrap() {}
        store.collect(true).unwrap();
        assert!(read(&frozen, 0, 5 * BLOCK) == expected);
    }
}

#[test]
fn what_cannot_replace_a_volume_is_refused() {
    let store = new_store(&SimDevice::new(39, Faults::none()));
    let volume = new_volume(&store, 1 << 20);
    write(&volume, 0, &pattern(1, BLOCK));
    let frozen = snapshot(&store, &volume);
    for (of, by) in [(volume.id(), volume.id()), (volume.id(), frozen.id()), (frozen.id(), volume.id())] {
        assert_eq!(store.replace_volume(of, by, |_| Vec::new()).unwrap_err().kind(), ErrorKind::Invalid);
    }
    assert_eq!(
        store.replace_volume(volume.id(), VolumeId(99), |_| Vec::new()).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert!(read(&volume, 0, BLOCK) == pattern(1, BLOCK));
    assert_eq!(store.volumes().len(), 2);
}
