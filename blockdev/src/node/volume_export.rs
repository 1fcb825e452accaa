//! A volume as a frontend serves it: the store's volume, with a count of who has it open.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lsm_store::Result;
use lsm_store::device::Wake;
use lsm_store::read::ReadData;
use lsm_store::store::{Volume, VolumeReads};

use crate::export::{Export, Requests, StatusExtent, Write, Zeroing};

/// How many clients have a volume open.
#[derive(Debug, Default)]
pub(super) struct OpenCount(AtomicU64);

impl OpenCount {
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// A volume that a client has open; dropping it says that the client is gone.
pub struct VolumeExport {
    volume: Volume,
    open: Arc<OpenCount>,
}

impl VolumeExport {
    pub(super) fn new(volume: Volume, open: Arc<OpenCount>) -> Self {
        open.0.fetch_add(1, Ordering::AcqRel);
        Self { volume, open }
    }

    /// The store's volume below.
    #[must_use]
    pub fn volume(&self) -> &Volume {
        &self.volume
    }
}

impl Drop for VolumeExport {
    fn drop(&mut self) {
        self.open.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Export for VolumeExport {
    fn size_bytes(&self) -> u64 {
        self.volume.size_bytes()
    }

    fn is_read_only(&self) -> bool {
        self.volume.is_read_only()
    }

    fn write(&self, writes: &[Write<'_>]) -> Result<()> {
        self.volume.write(writes)
    }

    fn zero(&self, offset: u64, len: u64, zeroing: Zeroing) -> Result<()> {
        self.volume.zero(offset, len, zeroing)
    }

    fn flush(&self) -> Result<()> {
        self.volume.flush()
    }

    fn prefetch(&self, offset: u64, len: u64) -> Result<()> {
        self.volume.prefetch(offset, len)
    }

    fn block_status(&self, offset: u64, len: u64, extents_max: usize) -> Result<Vec<StatusExtent>> {
        self.volume.block_status(offset, len, extents_max)
    }

    fn requests(&self) -> Result<Box<dyn Requests>> {
        Ok(Box::new(self.volume.reads()?))
    }
}

impl Requests for VolumeReads {
    fn start_read(&mut self, token: u64, offset: u64, len: usize) {
        Self::start(self, token, offset, len);
    }

    fn next_read(&mut self) -> Option<(u64, Result<ReadData>)> {
        Self::next_finished(self)
    }

    fn in_flight(&self) -> usize {
        Self::in_flight(self)
    }

    fn wait(&mut self, socket: Option<BorrowedFd<'_>>, timeout: Option<Duration>) -> Result<Wake> {
        Self::wait(self, socket, timeout)
    }
}
