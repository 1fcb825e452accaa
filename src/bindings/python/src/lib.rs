//! The reading side of [`siltstone`] for Python: what `siltstone.pyi` describes, and the documentation of each item is there.
//!
//! Whatever may wait for a disk or a daemon runs with the interpreter released, and takes locks only then, so that no thread waits
//! for the interpreter and another for a lock of ours.

mod error;
mod items;
mod slow;
mod store;
mod view;

use pyo3::prelude::*;

/// The reading side of Siltstone: stores, volumes and snapshots, what changed, and what blocks hold.
#[pymodule]
mod siltstone {
    #[pymodule_export]
    use crate::error::{
        Busy, Cancelled, Corrupt, Error, Exists, Invalid, IoError, NotFound, OutOfSpace, ReadOnly, Stopped,
        Unavailable, Unsupported,
    };
    #[pymodule_export]
    use crate::items::{Allocation, Changes, Fingerprints};
    #[pymodule_export]
    use crate::store::{Info, Store, connect, connect_or_open, open};
    #[pymodule_export]
    use crate::view::View;
}
