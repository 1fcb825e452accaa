//! Stores.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use siltstone::{Options, SnapshotInfo, VolumeInfo};

use crate::error::{closed, waiting};
use crate::slow::Slow;
use crate::view::View;

const MEMORY_BYTES: u64 = 1 << 30;

/// Opens the store in a directory, in this process.
#[pyfunction]
#[pyo3(signature = (directory, *, memory_bytes = MEMORY_BYTES, read_only = false))]
pub(crate) fn open(py: Python<'_>, directory: PathBuf, memory_bytes: u64, read_only: bool) -> PyResult<Store> {
    Store::opened(py, || Options::new().memory_bytes(memory_bytes).read_only(read_only).open(directory))
}

/// Connects to the daemon that serves a directory.
#[pyfunction]
pub(crate) fn connect(py: Python<'_>, directory: PathBuf) -> PyResult<Store> {
    Store::opened(py, || siltstone::Store::connect(directory))
}

/// Connects to the daemon that serves a directory; opens the store if none does.
#[pyfunction]
#[pyo3(signature = (directory, *, memory_bytes = MEMORY_BYTES))]
pub(crate) fn connect_or_open(py: Python<'_>, directory: PathBuf, memory_bytes: u64) -> PyResult<Store> {
    Store::opened(py, || Options::new().memory_bytes(memory_bytes).connect_or_open(directory))
}

/// A volume or snapshot as lists show it.
#[pyclass(frozen, get_all, module = "siltstone")]
pub(crate) struct Info {
    name: String,
    id: u64,
    size_bytes: u64,
    created_ms: u64,
}

#[pymethods]
impl Info {
    fn __repr__(&self) -> String {
        format!("<siltstone.Info {} of {} bytes>", self.name, self.size_bytes)
    }
}

impl From<VolumeInfo> for Info {
    fn from(volume: VolumeInfo) -> Self {
        let VolumeInfo { name, id, size_bytes, created_ms, .. } = volume;
        Self { name, id, size_bytes, created_ms }
    }
}

impl From<SnapshotInfo> for Info {
    fn from(snapshot: SnapshotInfo) -> Self {
        let SnapshotInfo { name, id, size_bytes, created_ms, .. } = snapshot;
        Self { name, id, size_bytes, created_ms }
    }
}

/// An open store.
#[pyclass(frozen, module = "siltstone")]
pub(crate) struct Store(Mutex<Option<Arc<Opened>>>);

type Opened = Slow<siltstone::Store>;

impl Store {
    fn opened(py: Python<'_>, open: impl FnOnce() -> siltstone::Result<siltstone::Store> + Send) -> PyResult<Self> {
        Ok(Self(Mutex::new(Some(Arc::new(Slow::new(waiting(py, open)?))))))
    }

    /// Never held while anything waits.
    fn lock(&self) -> MutexGuard<'_, Option<Arc<Opened>>> {
        // Nothing is half done while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self) -> PyResult<Arc<Opened>> {
        self.lock().clone().ok_or_else(|| closed("the store"))
    }
}

#[pymethods]
impl Store {
    fn volumes(&self, py: Python<'_>) -> PyResult<Vec<Info>> {
        let store = self.store()?;
        let volumes = waiting(py, || store.volumes())?;
        Ok(volumes.into_iter().map(Info::from).collect())
    }

    #[pyo3(signature = (volume = None))]
    fn snapshots(&self, py: Python<'_>, volume: Option<&str>) -> PyResult<Vec<Info>> {
        let store = self.store()?;
        let snapshots = waiting(py, || volume.map_or_else(|| store.all_snapshots(), |volume| store.snapshots(volume)))?;
        Ok(snapshots.into_iter().map(Info::from).collect())
    }

    fn view(&self, py: Python<'_>, name: &str) -> PyResult<View> {
        let store = self.store()?;
        Ok(View::new(waiting(py, || store.view(name))?))
    }

    fn snapshot(&self, py: Python<'_>, name: &str) -> PyResult<View> {
        let store = self.store()?;
        Ok(View::new(waiting(py, || Ok(store.create_snapshot(name)?.into()))?))
    }

    fn remove_snapshot(&self, py: Python<'_>, name: &str) -> PyResult<()> {
        let store = self.store()?;
        waiting(py, || store.remove_snapshot(name))
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let store = self.lock().take();
        waiting(py, || store.map_or(Ok(()), |store| store.close()))
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, pyo3::types::PyTuple>) -> PyResult<()> {
        self.close(py)
    }

    fn __repr__(&self) -> &'static str {
        if self.lock().is_some() { "<siltstone.Store>" } else { "<siltstone.Store, closed>" }
    }
}
