//! What was flushed survives a power cut at the worst moment, and what was not vanishes from the end only.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;

use parking_lot::Mutex;

use super::hooked::{Hook, HookedDevice};
use super::*;
use crate::device::sim::{CrashChoice, Fault, OperationKind, Trigger};
use crate::error::ErrorKind;

fn hooked(device: &SimDevice, hook: Hook) -> Environment {
    Environment { device: Arc::new(HookedDevice { below: device.clone(), hook }), ..environment(device) }
}

fn reopened(device: &SimDevice) -> Arc<Store> {
    Store::open(environment(device), options()).unwrap()
}

#[test]
fn a_batch_that_reaches_its_file_after_the_next_generation_was_synced_is_synced_by_the_next_flush() {
    const BATCH_BYTES: usize = 64 + 56 + 4 * BLOCK;
    let device = SimDevice::new(11, Faults::none());
    Store::create(&environment(&device), Settings::default()).unwrap();
    let (arrived, arrivals) = mpsc::channel();
    let (pass, passes) = mpsc::channel();
    let passes = Mutex::new(passes);
    let hook: Hook = Arc::new(move |path, len| {
        if path.starts_with("journal/") && len == BATCH_BYTES {
            arrived.send(()).unwrap();
            passes.lock().recv().unwrap();
        }
    });
    let store = Store::open(hooked(&device, hook), options()).unwrap();
    let volume = new_volume(&store, 1 << 20);
    let (before, late) = (pattern(1, BLOCK), pattern(2, 4 * BLOCK));
    write(&volume, 0, &before);
    std::thread::scope(|scope| {
        scope.spawn(|| write(&volume, BLOCK as u64, &late));
        arrivals.recv().unwrap();
        store.freeze().unwrap();
        volume.flush().unwrap();
        pass.send(()).unwrap();
    });
    volume.flush().unwrap();
    let store = reopened(&device.crash_image(&CrashChoice::Nothing));
    let volume = store.volume(volume.id()).unwrap();
    assert!(read(&volume, 0, BLOCK) == before);
    assert!(read(&volume, BLOCK as u64, late.len()) == late);
}

#[test]
fn nothing_is_placed_behind_a_mark_that_is_not_written() {
    const MARK_BYTES: usize = 64;
    let device = SimDevice::new(12, Faults::none());
    Store::create(&environment(&device), Settings::default()).unwrap();
    let opened: Arc<OnceLock<Arc<Store>>> = Arc::default();
    let marks = Arc::new(AtomicU64::new(0));
    let hook: Hook = {
        let (opened, marks) = (Arc::clone(&opened), Arc::clone(&marks));
        Arc::new(move |path, len| {
            if path.starts_with("journal/") && len == MARK_BYTES {
                let store = opened.get().expect("the store is open before it is idle");
                assert!(store.inner.front.try_lock().is_none(), "a batch could be placed behind the mark");
                marks.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let store = Store::open(hooked(&device, hook), options()).unwrap();
    assert!(opened.set(Arc::clone(&store)).is_ok());
    let volume = new_volume(&store, 1 << 20);
    write(&volume, 0, &pattern(1, BLOCK));
    volume.flush().unwrap();
    while store.step().unwrap() {}
    assert_eq!(marks.load(Ordering::Relaxed), 1);
}
