//! Pointers from C, checked as far as they can be.

use std::ffi::{CStr, OsStr, c_char};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::status::Failure;

/// The failure of what must not be null.
pub(crate) fn null(what: &str) -> Failure {
    Failure::invalid(format!("{what} is a null pointer"))
}

/// What a handle stands for.
///
/// # Safety
/// `handle` is null, or one that this library gave and that is not closed while the result lives.
pub(crate) unsafe fn borrowed<'a, T>(handle: *const T, what: &str) -> Result<&'a T, Failure> {
    // SAFETY: the caller promises that it is null or points to a `T` that stays.
    unsafe { handle.as_ref() }.ok_or_else(|| null(what))
}

/// What a handle stands for that one thread uses at a time.
///
/// # Safety
/// As [`borrowed`]; and nobody else uses it while the result lives.
pub(crate) unsafe fn exclusive<'a, T>(handle: *mut T, what: &str) -> Result<&'a mut T, Failure> {
    // SAFETY: the caller promises that it is null or points to a `T` that stays and that nobody else uses.
    unsafe { handle.as_mut() }.ok_or_else(|| null(what))
}

/// Takes back what was handed out; nothing of null.
///
/// # Safety
/// `handle` is null, or one that [`hand_out`] gave, and nobody uses it any more.
pub(crate) unsafe fn taken<T>(handle: *mut T) -> Option<Box<T>> {
    // SAFETY: unless it is null it was made by `Box::into_raw` in `hand_out`, and the caller has no other use for it.
    (!handle.is_null()).then(|| unsafe { Box::from_raw(handle) })
}

/// Where a caller wants a result. Made before the work, so that nothing is done for a result that has no place.
pub(crate) struct Out<T>(*mut T);

impl<T> Out<T> {
    /// # Safety
    /// `place` is null, or a `T` can be written there until the call returns.
    pub(crate) unsafe fn new(place: *mut T, what: &str) -> Result<Self, Failure> {
        if place.is_null() { Err(null(what)) } else { Ok(Self(place)) }
    }

    pub(crate) fn put(self, value: T) {
        // SAFETY: `new` promised that it can be written to. What was there is no value of ours, so nothing is dropped.
        unsafe { self.0.write(value) }
    }
}

/// Hands a value out.
pub(crate) fn hand_out<T>(out: Out<*mut T>, value: T) {
    out.put(Box::into_raw(Box::new(value)));
}

/// A name.
///
/// # Safety
/// `name` is null, or text that ends in a zero and stays while the result lives.
pub(crate) unsafe fn name<'a>(name: *const c_char, what: &str) -> Result<&'a str, Failure> {
    if name.is_null() {
        return Err(null(what));
    }
    // SAFETY: the caller promises that it ends in a zero and stays.
    let bytes = unsafe { CStr::from_ptr(name) };
    bytes.to_str().map_err(|_| Failure::invalid(format!("{what} is not UTF-8")))
}

/// A path, whatever bytes it is made of.
///
/// # Safety
/// As [`name`].
pub(crate) unsafe fn path<'a>(path: *const c_char, what: &str) -> Result<&'a Path, Failure> {
    if path.is_null() {
        return Err(null(what));
    }
    // SAFETY: the caller promises that it ends in a zero and stays.
    let bytes = unsafe { CStr::from_ptr(path) };
    Ok(Path::new(OsStr::from_bytes(bytes.to_bytes())))
}
