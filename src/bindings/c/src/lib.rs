//! The reading side of [`siltstone`] for C, and for whatever calls C: `include/siltstone.h`, which is made of this file's crate and
//! checked against it by a test.
//!
//! What holds of every function here, so that each `unsafe` below can lean on it:
//!
//! - A pointer is checked for null and otherwise believed: the caller promises that it is one this library gave and has not been
//!   closed, or that it points to as many bytes as the function says.
//! - Nothing unwinds out of here: [`status::guard`] and [`status::guard_or`] turn a panic into [`Status::Other`].
//! - What is handed out is a `Box` as a raw pointer, and the function that closes it takes the `Box` back.

#![expect(unsafe_code, reason = "pointers from C are what this crate is about")]

mod handle;
mod list;
mod ranges;
mod status;
mod store;
mod view;

pub use list::{Info, ListHandle, silt_list_close, silt_list_next, silt_snapshots, silt_volumes};
pub use ranges::{
    AllocationHandle, ChangesHandle, Content, Extent, Fingerprint, FingerprintsHandle, Range, silt_allocation,
    silt_allocation_close, silt_allocation_next, silt_changes, silt_changes_close, silt_changes_next,
    silt_fingerprints, silt_fingerprints_close, silt_fingerprints_next,
};
pub use status::{Status, silt_error_message, silt_status_name};
pub use store::{
    StoreHandle, silt_close, silt_connect, silt_connect_or_open, silt_open, silt_remove_snapshot, silt_snapshot,
};
pub use view::{
    ViewHandle, silt_read_at, silt_root, silt_view_close, silt_view_id, silt_view_open, silt_view_size_bytes,
};

/// The version of what this header promises. It grows when something that was there changes or goes; what is added leaves it.
/// Compare it with silt_abi_version().
pub const SILT_ABI_VERSION: u32 = 1;

/// The version of the library that is there at run time: it fits this header if it is SILT_ABI_VERSION.
///
/// Any thread, any time.
#[unsafe(no_mangle)]
pub extern "C" fn silt_abi_version() -> u32 {
    SILT_ABI_VERSION
}
