//! What is in a volume or snapshot, range by range.

use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use siltstone::Content;

use crate::error::raised;
use crate::slow::Slow;

/// The next item of what several threads may ask.
fn next<T: Send>(
    py: Python<'_>,
    items: &Mutex<impl Iterator<Item = siltstone::Result<T>> + Send>,
) -> PyResult<Option<T>> {
    // After a panic it is in the middle of an item or at its end: either way what comes next is right, or an error.
    let next = py.detach(|| items.lock().unwrap_or_else(PoisonError::into_inner).next());
    next.transpose().map_err(raised)
}

/// Ranges that changed, as `(offset, length)`.
#[pyclass(frozen, module = "siltstone")]
pub(crate) struct Changes(Slow<Mutex<siltstone::Changes>>);

impl Changes {
    pub(crate) fn new(changes: siltstone::Changes) -> Self {
        Self(Slow::new(Mutex::new(changes)))
    }
}

#[pymethods]
impl Changes {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<(u64, u64)>> {
        Ok(next(py, &*self.0)?.map(|range| (range.start, range.end - range.start)))
    }
}

/// Blocks, as `(offset, length, fingerprint)`; zeros have no fingerprint.
#[pyclass(frozen, module = "siltstone")]
pub(crate) struct Fingerprints(Slow<Mutex<siltstone::Fingerprints>>);

impl Fingerprints {
    pub(crate) fn new(fingerprints: siltstone::Fingerprints) -> Self {
        Self(Slow::new(Mutex::new(fingerprints)))
    }
}

/// A block as Python sees it.
type Block<'py> = (u64, u64, Option<Bound<'py, PyBytes>>);

#[pymethods]
impl Fingerprints {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Block<'py>>> {
        Ok(next(py, &*self.0)?.map(|extent| {
            let fingerprint = extent.fingerprint.map(|fingerprint| PyBytes::new(py, &fingerprint.0));
            (extent.range.start, extent.range.end - extent.range.start, fingerprint)
        }))
    }
}

/// Stretches of one content, as `(offset, length, content)`.
#[pyclass(frozen, module = "siltstone")]
pub(crate) struct Allocation(Slow<Mutex<siltstone::Allocation>>);

impl Allocation {
    pub(crate) fn new(allocation: siltstone::Allocation) -> Self {
        Self(Slow::new(Mutex::new(allocation)))
    }
}

#[pymethods]
impl Allocation {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<(u64, u64, &'static str)>> {
        Ok(next(py, &*self.0)?.map(|extent| {
            let content = match extent.content {
                Content::Data => "data",
                Content::Zeros => "zeros",
                Content::Hole => "hole",
            };
            (extent.range.start, extent.range.end - extent.range.start, content)
        }))
    }
}
