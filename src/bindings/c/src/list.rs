//! Volumes and snapshots by name.

use std::ffi::{CString, c_char};
use std::vec;

use siltstone::{SnapshotInfo, VolumeInfo};

use crate::handle::{self, Out, borrowed, exclusive, hand_out, taken};
use crate::status::{Status, guard, guard_or, text};
use crate::store::StoreHandle;

/// A volume or snapshot as a list shows it.
#[repr(C)]
#[derive(Debug)]
pub struct Info {
    /// Its name: of a snapshot "VOLUME@NAME". Valid until the list's next silt_list_next() or silt_list_close().
    pub name: *const c_char,
    /// Its id, never used for another volume or snapshot of the store; a later snapshot has a larger one. Of a replicated volume it is the
    /// cluster's number, which may also be the id of something else, and snapshots of such volumes have 0.
    pub id: u64,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_ms: u64,
}

struct Item {
    name: CString,
    id: u64,
    size_bytes: u64,
    created_ms: u64,
}

impl From<VolumeInfo> for Item {
    fn from(volume: VolumeInfo) -> Self {
        let VolumeInfo { name, id, size_bytes, created_ms, .. } = volume;
        Self { name: text(name), id, size_bytes, created_ms }
    }
}

impl From<SnapshotInfo> for Item {
    fn from(snapshot: SnapshotInfo) -> Self {
        let SnapshotInfo { name, id, size_bytes, created_ms, .. } = snapshot;
        Self { name: text(name), id, size_bytes, created_ms }
    }
}

/// A list of volumes or snapshots, as it was when it was asked for. One thread at a time uses it.
pub struct ListHandle {
    items: vec::IntoIter<Item>,
    /// Whose name the caller may be reading.
    last: Option<Item>,
}

impl ListHandle {
    fn new<T: Into<Item>>(items: Vec<T>) -> Self {
        Self { items: items.into_iter().map(Into::into).collect::<Vec<_>>().into_iter(), last: None }
    }
}

/// Lists all volumes, by name.
///
/// Any thread. *list is set only if the call succeeds, and then is for silt_list_close().
///
/// # Safety
/// `store` is null or an open handle; `list` is null or a place for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn silt_volumes(store: *const StoreHandle, list: *mut *mut ListHandle) -> Status {
    guard(|| {
        // SAFETY: the caller promises an open handle and a place for a pointer.
        let (store, list) = unsafe { (borrowed(store, "store")?, Out::new(list, "list")?) };
        hand_out(list, ListHandle::new(store.store().volumes()?));
        Ok(())
    })
}

/// Lists the snapshots of a volume, from the oldest, or of all volumes if volume is NULL.
///
/// Any thread. *list is set only if the call succeeds, and then is for silt_list_close().
///
/// # Safety
/// `store` is null or an open handle; `volume` is null or text that ends in a zero; `list` is null or a place for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn silt_snapshots(
    store: *const StoreHandle,
    volume: *const c_char,
    list: *mut *mut ListHandle,
) -> Status {
    guard(|| {
        // SAFETY: the caller promises an open handle and a place for a pointer.
        let (store, list) = unsafe { (borrowed(store, "store")?.store(), Out::new(list, "list")?) };
        let snapshots = if volume.is_null() {
            store.all_snapshots()?
        } else {
            // SAFETY: the caller promises a text that ends in a zero.
            store.snapshots(unsafe { handle::name(volume, "volume")? })?
        };
        hand_out(list, ListHandle::new(snapshots));
        Ok(())
    })
}

/// Fills *info with the next of a list. SILT_STATUS_END when there is none; *info is as before then.
///
/// One thread at a time.
///
/// # Safety
/// `list` is null or an open handle; `info` is null or a place for one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn silt_list_next(list: *mut ListHandle, info: *mut Info) -> Status {
    guard_or(|| {
        // SAFETY: the caller promises an open handle that nobody else uses, and a place for the result.
        let (list, info) = unsafe { (exclusive(list, "list")?, Out::new(info, "info")?) };
        list.last = list.items.next();
        let Some(item) = &list.last else { return Ok(Status::End) };
        let &Item { ref name, id, size_bytes, created_ms } = item;
        info.put(Info { name: name.as_ptr(), id, size_bytes, created_ms });
        Ok(Status::Ok)
    })
}

/// Closes a list. Does nothing with NULL.
///
/// One thread, when no other uses the handle any more.
///
/// # Safety
/// `list` is null or a handle of this library that nobody uses any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn silt_list_close(list: *mut ListHandle) {
    guard(|| {
        // SAFETY: the caller promises that nobody uses it any more.
        drop(unsafe { taken(list) });
        Ok(())
    });
}
