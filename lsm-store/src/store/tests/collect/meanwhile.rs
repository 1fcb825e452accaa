//! What happens at the worst moment of a collection: between two looks at the map, or while blocks move.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;

use super::super::hooked::{Hook, HookedDevice};
use super::*;

/// Opens a worn store so that `act` happens once: before the device does what `is_it` says, for the `nth` time from when
/// [`Trap::set`] was called.
struct Trap {
    store: Arc<OnceLock<Arc<Store>>>,
    left: Arc<AtomicU64>,
}

impl Trap {
    fn open(world: &mut World, is_it: fn(&str) -> bool, act: impl Fn(&Arc<Store>) + Send + Sync + 'static) -> Self {
        world.store.close().unwrap();
        let trap = Self { store: Arc::default(), left: Arc::default() };
        let (store, left) = (Arc::clone(&trap.store), Arc::clone(&trap.left));
        let hook: Hook = Arc::new(move |path, _| {
            if is_it(path) && left.load(Ordering::Relaxed) > 0 && left.fetch_sub(1, Ordering::Relaxed) == 1 {
                act(store.get().expect("it is set when the store is open"));
            }
        });
        let below = world.device.clone();
        let environment = Environment { device: Arc::new(HookedDevice { below, hook }), ..environment(&world.device) };
        world.store = Store::open(environment, options()).unwrap();
        assert!(trap.store.set(Arc::clone(&world.store)).is_ok());
        trap
    }

    fn set(&self, nth: u64) {
        self.left.store(nth, Ordering::Relaxed);
    }

    fn has_sprung(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }
}

fn flush_all(store: &Store) {
    store.freeze().unwrap();
    while store.inner.flush_oldest().unwrap() {}
}

/// All that a volume holds is written to another one, and flushed, while the segments it is in are emptied.
#[test]
fn a_twin_of_what_is_being_moved_is_stored_anew() {
    let mut world = worn(21);
    let ids: Vec<_> = world.expected.keys().copied().collect();
    let twin = world.create(Codec::Lz4);
    let data = world.expected[&ids[0]].clone();
    let written = data.clone();
    let trap = Trap::open(
        &mut world,
        |path| path.starts_with("segments/"),
        move |store| {
            write(&store.volume(twin).unwrap(), 0, &written);
            flush_all(store);
        },
    );
    let before = world.store.status();
    trap.set(3);
    let report = world.store.collect(true).unwrap();
    assert!(trap.has_sprung() && report.blocks_relocated > 0);
    let after = world.store.status();
    assert!(after.blocks_stored - before.blocks_stored > 100, "what moves is not shared");
    world.expected.insert(twin, data);
    world.assert_holds(&world.store, "collected");
    world.store.close().unwrap();
    assert_clean(&world.device, "closed");
}

/// A volume is deleted at every read of the map that the first collections make, marks included.
#[test]
fn a_volume_may_be_deleted_whenever_the_map_is_read() {
    let mut sprung = 0;
    for nth in 1.. {
        let mut world = worn(22);
        let gone = *world.expected.keys().next().unwrap();
        let trap = Trap::open(
            &mut world,
            |path| path.starts_with("read:runs/"),
            move |store| {
                store.delete_volume(gone, Vec::new()).unwrap();
            },
        );
        trap.set(nth);
        world.store.collect(true).unwrap();
        if !trap.has_sprung() {
            break;
        }
        sprung += 1;
        let why = format!("deleted before read {nth}");
        world.expected.remove(&gone);
        world.assert_holds(&world.store, &why);
        world.store.collect(true).unwrap();
        assert!(world.store.collect_plan(true).unwrap().is_empty(), "{why}");
        world.assert_holds(&world.store, &why);
        world.store.close().unwrap();
        assert_clean(&world.device, &why);
    }
    assert!(sprung > 3, "the map is read in {sprung} pieces");
}

/// A clone is made, and what it was made of is deleted, at every write that a collection makes.
#[test]
fn a_root_that_comes_and_one_that_goes_keep_what_they_share() {
    let mut sprung = 0;
    for nth in 1.. {
        let mut world = worn(23);
        let of = *world.expected.keys().next().unwrap();
        let is_it = |path: &str| path.starts_with("segments/") || path.starts_with("runs/");
        let made: Arc<OnceLock<VolumeId>> = Arc::default();
        let heir = Arc::clone(&made);
        let trap = Trap::open(&mut world, is_it, move |store| {
            heir.set(store.clone_volume(of, |_| Vec::new()).unwrap()).unwrap();
            store.delete_volume(of, Vec::new()).unwrap();
        });
        trap.set(nth);
        world.store.collect(true).unwrap();
        if !trap.has_sprung() {
            break;
        }
        sprung += 1;
        let why = format!("before write {nth}");
        let held = world.expected.remove(&of).unwrap();
        world.expected.insert(*made.get().unwrap(), held);
        world.assert_holds(&world.store, &why);
        world.store.close().unwrap();
        assert_clean(&world.device, &why);
    }
    assert!(sprung > 5, "a collection writes {sprung} times");
}
