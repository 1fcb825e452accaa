//! Volumes and snapshots to read.

use std::ffi::{c_char, c_void};

use siltstone::{View, unwatched};

use crate::handle::{self, Out, borrowed, hand_out, null, taken};
use crate::status::{Failure, Status, guard};
use crate::store::StoreHandle;

/// An open volume or snapshot. Any number of threads may use it at once; one closes it when no other uses it any more. As long as
/// it is open it is not removed.
pub struct ViewHandle(pub(crate) View);

/// Opens a volume by its name, or a snapshot by "VOLUME@NAME", to read.
///
/// SILT_STATUS_NOT_FOUND, SILT_STATUS_INVALID if it cannot be a name.
///
/// Any thread. *view is set only if the call succeeds, and then is for silt_view_close().
///
/// # Safety
/// `store` is null or an open handle, `name` is null or text that ends in a zero, `view` is null or a place for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn silt_view_open(
    store: *const StoreHandle,
    name: *const c_char,
    view: *mut *mut ViewHandle,
) -> Status {
    guard(|| {
        // SAFETY: the caller promises an open handle, a text that ends in a zero, and a place for a pointer.
        let (store, name, view) =
            unsafe { (borrowed(store, "store")?.store(), handle::name(name, "name")?, Out::new(view, "view")?) };
        hand_out(view, ViewHandle(store.view(name)?));
        Ok(())
    })
}

/// Closes a volume or snapshot. Through a daemon it waits until that has let go, a few milliseconds as a rule. Does nothing with NULL.
///
/// One thread, when no other uses the handle any more. What was opened of it, such as its changes, stays valid.
///
/// # Safety
/// `view` is null or a handle of this library that nobody uses any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn silt_view_close(view: *mut ViewHandle) {
    guard(|| {
        // SAFETY: the caller promises that nobody uses it any more.
        drop(unsafe { taken(view) });
        Ok(())
    });
}

/// The size in bytes that it had when it was opened; 0 of NULL, which no volume has.
///
/// Any thread.
///
/// # Safety
/// `view` is null or an open handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn silt_view_size_bytes(view: *const ViewHandle) -> u64 {
    // SAFETY: the caller promises an open handle.
    unsafe { view.as_ref() }.map_or(0, |view| view.0.size_bytes())
}

/// Its id, as in silt_info; 0 of NULL.
///
/// Any thread.
///
/// # Safety
/// `view` is null or an open handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn silt_view_id(view: *const ViewHandle) -> u64 {
    // SAFETY: the caller promises an open handle.
    unsafe { view.as_ref() }.map_or(0, |view| view.0.id())
}

/// Reads len bytes at offset, of any alignment, into buf. What was never written is zeros.
///
/// SILT_STATUS_INVALID beyond the end; SILT_STATUS_CORRUPT if what is on disk is not what was written, which is never handed out. What
/// buf holds is unspecified then.
///
/// Any thread.
///
/// # Safety
/// `view` is null or an open handle; `buf` is null or `len` bytes that nobody else uses meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn silt_read_at(view: *const ViewHandle, offset: u64, buf: *mut c_void, len: usize) -> Status {
    guard(|| {
        // SAFETY: the caller promises an open handle.
        let view = unsafe { &borrowed(view, "view")?.0 };
        if len == 0 {
            return Ok(view.read_at(offset, &mut [])?);
        }
        if isize::try_from(len).is_err() {
            return Err(Failure::invalid("len is more than there is memory"));
        }
        if buf.is_null() {
            return Err(null("buf"));
        }
        let start = buf.cast::<u8>();
        // SAFETY: `u8` has no alignment, and the caller promises `len` bytes that nobody else uses, which are fewer than
        // `isize::MAX`. They may never have been written, which a slice must not be: so they are, at a small part of what reading
        // costs.
        let buf = unsafe {
            start.write_bytes(0, len);
            std::slice::from_raw_parts_mut(start, len)
        };
        Ok(view.read_at(offset, buf)?)
    })
}

/// Computes the root of a volume or snapshot: one digest of all that it holds, the same for equal content in any store; silt verify
/// prints it. Reads no data, and costs the map and 32 bytes for each block of 4 KiB.
///
/// Any thread.
///
/// # Safety
/// `view` is null or an open handle; `digest` is null or 32 bytes that nobody else uses meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn silt_root(view: *const ViewHandle, digest: *mut [u8; 32]) -> Status {
    guard(|| {
        // SAFETY: the caller promises an open handle, and a place for 32 bytes.
        let (view, digest) = unsafe { (&borrowed(view, "view")?.0, Out::new(digest, "digest")?) };
        digest.put(*view.root(&mut unwatched)?.digest());
        Ok(())
    })
}
