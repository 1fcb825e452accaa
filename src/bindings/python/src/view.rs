//! Volumes and snapshots to read.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use siltstone::unwatched;

use crate::error::{Invalid, closed, raised, waiting};
use crate::items::{Allocation, Changes, Fingerprints};
use crate::slow::Slow;

type Opened = Slow<siltstone::View>;

/// An open volume or snapshot, to read.
#[pyclass(frozen, module = "siltstone")]
pub(crate) struct View {
    #[pyo3(get)]
    name: String,
    #[pyo3(get)]
    id: u64,
    #[pyo3(get)]
    size_bytes: u64,
    /// Calls under way have it too, so that closing does not take it from under them.
    opened: Mutex<Option<Arc<Opened>>>,
}

impl View {
    pub(crate) fn new(opened: siltstone::View) -> Self {
        let (name, id, size_bytes) = (opened.name().to_owned(), opened.id(), opened.size_bytes());
        Self { name, id, size_bytes, opened: Mutex::new(Some(Arc::new(Slow::new(opened)))) }
    }

    /// Never held while anything waits.
    fn lock(&self) -> MutexGuard<'_, Option<Arc<Opened>>> {
        // Nothing is half done while it is held.
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened(&self) -> PyResult<Arc<Opened>> {
        self.lock().clone().ok_or_else(|| closed(&self.name))
    }

    fn end(&self, offset: u64, length: Option<u64>) -> PyResult<u64> {
        let end = length.map_or(Some(self.size_bytes.max(offset)), |length| offset.checked_add(length));
        end.ok_or_else(|| Invalid::new_err(format!("the range is beyond the end of {}", self.name)))
    }
}

#[pymethods]
impl View {
    fn read_at<'py>(&self, py: Python<'py>, offset: u64, length: u64) -> PyResult<Bound<'py, PyBytes>> {
        let opened = self.opened()?;
        // Before so much is allocated.
        if self.end(offset, Some(length))? > self.size_bytes {
            let (name, size) = (&self.name, self.size_bytes);
            return Err(Invalid::new_err(format!("bytes {offset}+{length} are beyond the end of {name} at {size}")));
        }
        PyBytes::new_with(py, length as usize, |buf| py.detach(|| opened.read_at(offset, buf)).map_err(raised))
    }

    fn changes_since(&self, py: Python<'_>, earlier: &Self) -> PyResult<Changes> {
        let (opened, earlier) = (self.opened()?, earlier.opened()?);
        Ok(Changes::new(waiting(py, || opened.changes_since(&earlier))?))
    }

    #[pyo3(signature = (offset = 0, length = None))]
    fn fingerprints(&self, py: Python<'_>, offset: u64, length: Option<u64>) -> PyResult<Fingerprints> {
        let (opened, end) = (self.opened()?, self.end(offset, length)?);
        Ok(Fingerprints::new(waiting(py, || opened.fingerprints(offset..end))?))
    }

    #[pyo3(signature = (offset = 0, length = None))]
    fn allocation(&self, py: Python<'_>, offset: u64, length: Option<u64>) -> PyResult<Allocation> {
        let (opened, end) = (self.opened()?, self.end(offset, length)?);
        Ok(Allocation::new(waiting(py, || opened.allocation(offset..end))?))
    }

    fn root(&self, py: Python<'_>) -> PyResult<String> {
        let opened = self.opened()?;
        Ok(waiting(py, || opened.root(&mut unwatched))?.to_string())
    }

    fn close(&self) {
        let opened = self.lock().take();
        // The lock is free: a daemon is waited for until it has let go.
        drop(opened);
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, _exception: &Bound<'_, PyTuple>) {
        self.close();
    }

    fn __repr__(&self) -> String {
        format!("<siltstone.View {} of {} bytes>", self.name, self.size_bytes)
    }
}
