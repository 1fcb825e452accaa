//! An open file of a simulated device.

use std::io::{self, IoSlice};
use std::sync::Arc;

use rustix::io::Errno;

use super::Shared;
use super::disk::FileId;
use super::state::ReadFault;
use crate::device::{Access, AccessMode, DIRECT_ALIGNMENT, File, alignment};

/// A handle; the file lives on without a name while there is one.
pub(super) struct SimFile {
    shared: Arc<Shared>,
    file: FileId,
    path: String,
    access: Access,
    access_mode: AccessMode,
}

impl SimFile {
    /// Wraps a file that the device's state has counted as open.
    pub(super) fn new(shared: Arc<Shared>, file: FileId, path: &str, access: Access, access_mode: AccessMode) -> Self {
        Self { shared, file, path: path.to_owned(), access, access_mode }
    }

    fn check_writable(&self) -> io::Result<()> {
        match self.access_mode {
            AccessMode::ReadWrite => Ok(()),
            AccessMode::ReadOnly => Err(Errno::ROFS.into()),
        }
    }

    /// Reads at once, whatever time it is to take.
    fn read_now(&self, buf: &mut [u8], offset: u64) -> io::Result<Option<ReadFault>> {
        let mut state = self.shared.state.lock();
        let fault = state.begin_read(&self.path)?;
        let len = state.disk.len(self.file);
        let present = usize::try_from(len.saturating_sub(offset)).unwrap_or(usize::MAX).min(buf.len());
        let filled = if matches!(fault, Some(ReadFault::Short)) { present / 2 } else { present };
        state.disk.read(self.file, self.access == Access::Direct, &mut buf[..filled], offset);
        if filled < buf.len() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(fault) }
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.shared.state.lock().close(self.file);
    }
}

impl File for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        alignment::check(self.alignment(), buf, offset)?;
        if let Some(ReadFault::Slow(delay)) = self.read_now(buf, offset)? {
            self.shared.pause(delay);
        }
        Ok(())
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.check_writable()?;
        if self.access == Access::Direct {
            bufs.iter().try_for_each(|buf| alignment::check(DIRECT_ALIGNMENT, buf, offset))?;
        }
        let data: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        self.shared.state.lock().write((self.file, &self.path), &data, offset, &self.shared.rng)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check_writable()?;
        self.shared.state.lock().sync(self.file, &self.path)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.shared.state.lock().disk.len(self.file))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        self.shared.state.lock().set_len(self.file, &self.path, len)
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.check_writable()?;
        let end = offset.checked_add(len).filter(|_| len > 0).ok_or(io::ErrorKind::InvalidInput)?;
        self.shared.state.lock().allocate(self.file, &self.path, end)
    }

    fn alignment(&self) -> usize {
        match self.access {
            Access::Buffered => 1,
            Access::Direct => self.shared.options.read_alignment,
        }
    }
}
