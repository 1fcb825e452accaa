//! What is in a volume or snapshot, range by range: what changed, what is data, what each block holds. None of it reads any data.

use std::ops;

use siltstone::{Allocation, Changes, Fingerprints};

use crate::handle::{Out, borrowed, exclusive, hand_out, taken};
use crate::status::{Failure, Status, guard, guard_or};
use crate::view::ViewHandle;

/// Bytes that differ.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    /// Where they begin.
    pub offset: u64,
    /// How many.
    pub len: u64,
}

/// A block, or zeros.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fingerprint {
    /// Where it begins: at a block of 4 KiB.
    pub offset: u64,
    /// How many bytes: of data one block, cut by the end of the volume; of zeros as many blocks as follow one another.
    pub len: u64,
    /// It reads as zeros, allocated or not; fingerprint is all zeros then.
    pub is_zeros: bool,
    /// BLAKE3-256 of the block's 4,096 bytes; what lies beyond the end of the volume counts as zeros.
    pub fingerprint: [u8; 32],
}

/// What a range holds.
#[repr(i32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    /// Data.
    Data = 0,
    /// Zeros that were asked for and count as allocated.
    Zeros = 1,
    /// Nothing; reads as zeros.
    Hole = 2,
}

/// A range of one content.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// Where it begins.
    pub offset: u64,
    /// How many bytes.
    pub len: u64,
    /// What all of it holds.
    pub content: Content,
}

/// What changed. One thread at a time uses it.
pub struct ChangesHandle(Changes);

/// What blocks hold. One thread at a time uses it.
pub struct FingerprintsHandle(Fingerprints);

/// What is data. One thread at a time uses it.
pub struct AllocationHandle(Allocation);

fn bytes(offset: u64, len: u64) -> Result<ops::Range<u64>, Failure> {
    let end = offset.checked_add(len).ok_or_else(|| Failure::invalid("offset and len are beyond any volume"))?;
    Ok(offset..end)
}

/// Gives the next item; an error ends what it is of.
///
/// # Safety
/// `handle` is null or open and used by nobody else; `item` is null or a place for one.
unsafe fn next<H, T>(
    handle: *mut H,
    item: *mut T,
    take: impl FnOnce(&mut H) -> Option<siltstone::Result<T>>,
) -> Status {
    guard_or(|| {
        // SAFETY: the caller promises an open handle that nobody else uses, and a place for the result.
        let (handle, item) =
            unsafe { (exclusive(handle, "the iterator")?, Out::new(item, "the place for the result")?) };
        match take(handle).transpose()? {
            Some(found) => item.put(found),
            None => return Ok(Status::End),
        }
        Ok(Status::Ok)
    })
}

/// # Safety
/// `handle` is null, or one of this library that nobody uses any more.
unsafe fn close<H>(handle: *mut H) {
    guard(|| {
        // SAFETY: the caller promises that nobody uses it any more.
        drop(unsafe { taken(handle) });
        Ok(())
    });
}

/// Compares a volume or snapshot with an earlier one of the same store and family: one is a snapshot or clone of the other, or both are
/// of a third. What no range names is the same for certain; what one names was written since, or lies beyond the smaller of the
/// two sizes.
///
/// SILT_STATUS_INVALID if the two share no past.
///
/// Any thread. *changes is set only if the call succeeds, and then is for silt_changes_close(); it keeps both open.
///
/// # Safety
/// `view` and `earlier` are null or open handles; `changes` is null or a place for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn silt_changes(
    view: *const ViewHandle,
    earlier: *const ViewHandle,
    changes: *mut *mut ChangesHandle,
) -> Status {
    guard(|| {
        // SAFETY: the caller promises open handles and a place for a pointer.
        let (view, earlier, changes) =
            unsafe { (borrowed(view, "view")?, borrowed(earlier, "earlier")?, Out::new(changes, "changes")?) };
        hand_out(changes, ChangesHandle(view.0.changes_since(&earlier.0)?));
        Ok(())
    })
}

/// Fills *range with the next range that changed, by offset. SILT_STATUS_END when there is none, and after an error.
///
/// One thread at a time.
///
/// # Safety
/// `changes` is null or an open handle; `range` is null or a place for one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn silt_changes_next(changes: *mut ChangesHandle, range: *mut Range) -> Status {
    let take = |changes: &mut ChangesHandle| {
        let range = |range: ops::Range<u64>| Range { offset: range.start, len: range.end - range.start };
        changes.0.next().map(|next| next.map(range))
    };
    // SAFETY: the caller promises what `next` wants.
    unsafe { next(changes, range, take) }
}

/// Closes changes. Does nothing with NULL.
///
/// One thread, when no other uses the handle any more.
///
/// # Safety
/// `changes` is null or a handle of this library that nobody uses any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn silt_changes_close(changes: *mut ChangesHandle) {
    // SAFETY: the caller promises what `close` wants.
    unsafe { close(changes) }
}

/// Asks what the blocks hold that the len bytes at offset touch: all of them in order, without gaps. Two blocks of any volumes and
/// stores with one fingerprint hold the same. Costs the map and 32 bytes a block.
///
/// SILT_STATUS_INVALID beyond the end.
///
/// Any thread. *fingerprints is set only if the call succeeds, and then is for silt_fingerprints_close(); it keeps view open.
///
/// # Safety
/// `view` is null or an open handle; `fingerprints` is null or a place for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn silt_fingerprints(
    view: *const ViewHandle,
    offset: u64,
    len: u64,
    fingerprints: *mut *mut FingerprintsHandle,
) -> Status {
    guard(|| {
        // SAFETY: the caller promises an open handle and a place for a pointer.
        let (view, fingerprints) = unsafe { (borrowed(view, "view")?, Out::new(fingerprints, "fingerprints")?) };
        hand_out(fingerprints, FingerprintsHandle(view.0.fingerprints(bytes(offset, len)?)?));
        Ok(())
    })
}

/// Fills *fingerprint with the next block, or stretch of zeros. SILT_STATUS_END when there is none, and after an error.
///
/// One thread at a time.
///
/// # Safety
/// `fingerprints` is null or an open handle; `fingerprint` is null or a place for one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn silt_fingerprints_next(
    fingerprints: *mut FingerprintsHandle,
    fingerprint: *mut Fingerprint,
) -> Status {
    let take = |fingerprints: &mut FingerprintsHandle| {
        fingerprints.0.next().map(|next| {
            next.map(|extent| Fingerprint {
                offset: extent.range.start,
                len: extent.range.end - extent.range.start,
                is_zeros: extent.fingerprint.is_none(),
                fingerprint: extent.fingerprint.map_or([0; 32], |fingerprint| fingerprint.0),
            })
        })
    };
    // SAFETY: the caller promises what `next` wants.
    unsafe { next(fingerprints, fingerprint, take) }
}

/// Closes fingerprints. Does nothing with NULL.
///
/// One thread, when no other uses the handle any more.
///
/// # Safety
/// `fingerprints` is null or a handle of this library that nobody uses any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn silt_fingerprints_close(fingerprints: *mut FingerprintsHandle) {
    // SAFETY: the caller promises what `close` wants.
    unsafe { close(fingerprints) }
}

/// Asks what of the len bytes at offset is data, allocated zeros, or hole: all of them in order, without gaps.
///
/// SILT_STATUS_INVALID beyond the end.
///
/// Any thread. *allocation is set only if the call succeeds, and then is for silt_allocation_close(); it keeps view open.
///
/// # Safety
/// `view` is null or an open handle; `allocation` is null or a place for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn silt_allocation(
    view: *const ViewHandle,
    offset: u64,
    len: u64,
    allocation: *mut *mut AllocationHandle,
) -> Status {
    guard(|| {
        // SAFETY: the caller promises an open handle and a place for a pointer.
        let (view, allocation) = unsafe { (borrowed(view, "view")?, Out::new(allocation, "allocation")?) };
        hand_out(allocation, AllocationHandle(view.0.allocation(bytes(offset, len)?)?));
        Ok(())
    })
}

/// Fills *extent with the next stretch. SILT_STATUS_END when there is none, and after an error.
///
/// One thread at a time.
///
/// # Safety
/// `allocation` is null or an open handle; `extent` is null or a place for one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn silt_allocation_next(allocation: *mut AllocationHandle, extent: *mut Extent) -> Status {
    let take = |allocation: &mut AllocationHandle| {
        allocation.0.next().map(|next| {
            next.map(|extent| Extent {
                offset: extent.range.start,
                len: extent.range.end - extent.range.start,
                content: match extent.content {
                    siltstone::Content::Data => Content::Data,
                    siltstone::Content::Zeros => Content::Zeros,
                    siltstone::Content::Hole => Content::Hole,
                },
            })
        })
    };
    // SAFETY: the caller promises what `next` wants.
    unsafe { next(allocation, extent, take) }
}

/// Closes an allocation. Does nothing with NULL.
///
/// One thread, when no other uses the handle any more.
///
/// # Safety
/// `allocation` is null or a handle of this library that nobody uses any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn silt_allocation_close(allocation: *mut AllocationHandle) {
    // SAFETY: the caller promises what `close` wants.
    unsafe { close(allocation) }
}
