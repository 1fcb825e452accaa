//! Stores: opening, and the snapshots that a backup makes and removes.

use std::ffi::c_char;

use siltstone::{Options, Store};

use crate::handle::{self, Out, borrowed, hand_out, path, taken};
use crate::status::{Status, guard};
use crate::view::ViewHandle;

/// An open store. Any number of threads may use it at once; one closes it when no other uses it any more.
pub struct StoreHandle(Store);

impl StoreHandle {
    pub(crate) fn store(&self) -> &Store {
        &self.0
    }
}

fn options(memory_bytes: u64) -> Options {
    if memory_bytes == 0 { Options::new() } else { Options::new().memory_bytes(memory_bytes) }
}

/// # Safety
/// As the functions below say of `dir` and `store`.
unsafe fn opened(
    dir: *const c_char,
    store: *mut *mut StoreHandle,
    open: impl FnOnce(&std::path::Path) -> siltstone::Result<Store>,
) -> Status {
    guard(|| {
        // SAFETY: the caller promises a text that ends in a zero, and a place for a pointer.
        let (dir, store) = unsafe { (path(dir, "dir")?, Out::new(store, "store")?) };
        hand_out(store, StoreHandle(open(dir)?));
        Ok(())
    })
}

/// Opens the store in the directory dir, in this process. With read_only nothing on disk changes, and any number of processes may do
/// so at once. It takes up to memory_bytes of memory, at least 128 MiB; 0 is 1 GiB.
///
/// SILT_STATUS_NOT_FOUND if there is none; SILT_STATUS_BUSY if another process has it, of which silt_connect() may reach a daemon.
///
/// Any thread, any time. *store is set only if the call succeeds, and then is for silt_close().
///
/// # Safety
/// `dir` is null or text that ends in a zero; `store` is null or a place for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn silt_open(
    dir: *const c_char,
    memory_bytes: u64,
    read_only: bool,
    store: *mut *mut StoreHandle,
) -> Status {
    // SAFETY: the caller promises what `opened` wants.
    unsafe { opened(dir, store, |dir| options(memory_bytes).read_only(read_only).open(dir)) }
}

/// Connects to the daemon that serves the directory dir, silt serve.
///
/// SILT_STATUS_UNAVAILABLE if none does.
///
/// Any thread, any time. *store is set only if the call succeeds, and then is for silt_close().
///
/// # Safety
/// As `silt_open`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn silt_connect(dir: *const c_char, store: *mut *mut StoreHandle) -> Status {
    // SAFETY: the caller promises what `opened` wants.
    unsafe { opened(dir, store, |dir| Store::connect(dir)) }
}

/// Connects to the daemon that serves the directory dir; opens the store, for writing, if none does.
///
/// Any thread, any time. *store is set only if the call succeeds, and then is for silt_close().
///
/// # Safety
/// As `silt_open`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn silt_connect_or_open(
    dir: *const c_char,
    memory_bytes: u64,
    store: *mut *mut StoreHandle,
) -> Status {
    // SAFETY: the caller promises what `opened` wants.
    unsafe { opened(dir, store, |dir| options(memory_bytes).connect_or_open(dir)) }
}

/// Closes a store, and frees the handle whatever the result. What is still open of it may fail from then on with
/// SILT_STATUS_UNAVAILABLE, and has to be closed all the same. Does nothing with NULL.
///
/// SILT_STATUS_STOPPED if the disk failed, now or before.
///
/// One thread, when no other uses the handle any more.
///
/// # Safety
/// `store` is null or a handle of this library that nobody uses any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn silt_close(store: *mut StoreHandle) -> Status {
    guard(|| {
        // SAFETY: the caller promises that nobody uses it any more.
        match unsafe { taken(store) } {
            Some(handle) => Ok(handle.0.close()?),
            None => Ok(()),
        }
    })
}

/// Freezes what a volume holds now as the snapshot name, "VOLUME@NAME". If view is not NULL, *view is that snapshot, open, for
/// silt_view_close().
///
/// SILT_STATUS_EXISTS, SILT_STATUS_NOT_FOUND; SILT_STATUS_READ_ONLY of a store that is.
///
/// Any thread.
///
/// # Safety
/// `store` is null or an open handle, `name` is null or text that ends in a zero, `view` is null or a place for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn silt_snapshot(
    store: *const StoreHandle,
    name: *const c_char,
    view: *mut *mut ViewHandle,
) -> Status {
    guard(|| {
        // SAFETY: the caller promises an open handle and a text that ends in a zero.
        let (store, name) = unsafe { (borrowed(store, "store")?, handle::name(name, "name")?) };
        let snapshot = store.store().create_snapshot(name)?;
        if !view.is_null() {
            // SAFETY: the caller promises a place for a pointer.
            hand_out(unsafe { Out::new(view, "view")? }, ViewHandle(snapshot.into()));
        }
        Ok(())
    })
}

/// Removes the snapshot name, "VOLUME@NAME".
///
/// SILT_STATUS_NOT_FOUND; SILT_STATUS_BUSY while it is open; SILT_STATUS_READ_ONLY of a store that is.
///
/// Any thread.
///
/// # Safety
/// `store` is null or an open handle, `name` is null or text that ends in a zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn silt_remove_snapshot(store: *const StoreHandle, name: *const c_char) -> Status {
    guard(|| {
        // SAFETY: the caller promises an open handle and a text that ends in a zero.
        let (store, name) = unsafe { (borrowed(store, "store")?, handle::name(name, "name")?) };
        Ok(store.store().remove_snapshot(name)?)
    })
}
