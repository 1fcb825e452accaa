//! An open file of a directory. Short transfers and signals are gone on with here, so callers see all or an error.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FallocateFlags, OFlags, StatxFlags};
use rustix::io::{Errno, retry_on_intr};

use crate::device::{Access, AccessMode, DIRECT_ALIGNMENT, File, alignment};

/// Slices that Linux takes in one call (`UIO_MAXIOV`).
const SLICES_MAX: usize = 1024;

/// `STATX_DIOALIGN`: ask for the alignment of direct I/O (Linux 6.1).
const STATX_DIOALIGN: StatxFlags = StatxFlags::from_bits_retain(0x2000);

/// A file below a [`super::DirectoryDevice`].
pub(super) struct DirectoryFile {
    fd: OwnedFd,
    access: Access,
    access_mode: AccessMode,
    alignment: usize,
}

impl DirectoryFile {
    /// Wraps an open file; `Access::Direct` falls back to the page cache where the file system has no direct I/O.
    pub(super) fn new(fd: OwnedFd, access: Access, access_mode: AccessMode) -> io::Result<Self> {
        let alignment = match access {
            Access::Buffered => 1,
            Access::Direct => enable_direct(&fd)?,
        };
        Ok(Self { fd, access, access_mode, alignment })
    }

    fn check_writable(&self) -> io::Result<()> {
        match self.access_mode {
            AccessMode::ReadWrite => Ok(()),
            AccessMode::ReadOnly => Err(Errno::ROFS.into()),
        }
    }
}

/// Switches direct I/O on and returns the alignment of reads, which is 1 if the file system refuses.
///
/// Switching it on afterwards, unlike opening with it, leaves no file behind when it is refused.
fn enable_direct(fd: &OwnedFd) -> io::Result<usize> {
    let Some(alignment) = direct_alignment(fd) else { return Ok(1) };
    let flags = rustix::fs::fcntl_getfl(fd)?;
    match rustix::fs::fcntl_setfl(fd, flags | OFlags::DIRECT) {
        Ok(()) => Ok(alignment),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(1),
        Err(error) => Err(error.into()),
    }
}

/// What the kernel says reads must be multiples of; `None` if it says that this file has no direct I/O we could use.
fn direct_alignment(fd: &OwnedFd) -> Option<usize> {
    let Ok(status) = rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, STATX_DIOALIGN) else {
        return Some(DIRECT_ALIGNMENT);
    };
    if status.stx_mask & STATX_DIOALIGN.bits() == 0 {
        return Some(DIRECT_ALIGNMENT);
    }
    let alignment = status.stx_dio_offset_align.max(status.stx_dio_mem_align) as usize;
    let usable = status.stx_dio_offset_align != 0 && alignment.is_power_of_two() && alignment <= DIRECT_ALIGNMENT;
    usable.then_some(alignment)
}

impl File for DirectoryFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        alignment::check(self.alignment, buf, offset)?;
        let mut filled = 0;
        while filled < buf.len() {
            let from = offset + filled as u64;
            let count = retry_on_intr(|| rustix::io::pread(&self.fd, &mut buf[filled..], from))?;
            filled += count;
            if alignment::at_end(count, filled, buf.len(), self.alignment) {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.check_writable()?;
        if self.access == Access::Direct {
            bufs.iter().try_for_each(|buf| alignment::check(DIRECT_ALIGNMENT, buf, offset))?;
        }
        let total: usize = bufs.iter().map(|buf| buf.len()).sum();
        let first = &bufs[..bufs.len().min(SLICES_MAX)];
        let mut written = write_some(&self.fd, first, offset, total)?;
        while written < total {
            let rest = remaining(bufs, written);
            written += write_some(&self.fd, &rest, offset + written as u64, total - written)?;
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check_writable()?;
        Ok(retry_on_intr(|| rustix::fs::fdatasync(&self.fd))?)
    }

    fn start_writeback(&self, offset: u64, len: u64) {
        let (Ok(offset), Ok(len)) = (libc::off64_t::try_from(offset), libc::off64_t::try_from(len)) else { return };
        // SAFETY: the call takes an open descriptor and numbers, and touches no memory of this process.
        #[expect(unsafe_code, reason = "no safe wrapper of sync_file_range is in use here")]
        // A failure is found by the sync that follows.
        let _ = unsafe { libc::sync_file_range(self.fd.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE) };
    }

    fn len(&self) -> io::Result<u64> {
        let size = rustix::fs::fstat(&self.fd)?.st_size;
        Ok(u64::try_from(size).expect("the kernel gives no negative file size"))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        Ok(retry_on_intr(|| rustix::fs::ftruncate(&self.fd, len))?)
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.check_writable()?;
        Ok(retry_on_intr(|| rustix::fs::fallocate(&self.fd, FallocateFlags::empty(), offset, len))?)
    }

    fn alignment(&self) -> usize {
        self.alignment
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.fd.as_fd())
    }
}

/// One call to the kernel; returns how many of the `expected` bytes it took, at least one.
fn write_some(fd: &OwnedFd, bufs: &[IoSlice<'_>], offset: u64, expected: usize) -> io::Result<usize> {
    if expected == 0 {
        return Ok(0);
    }
    match retry_on_intr(|| rustix::io::pwritev(fd, bufs, offset))? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        count => Ok(count),
    }
}

/// The next slices to write when the first `skip` bytes are done.
fn remaining<'a>(bufs: &'a [IoSlice<'_>], mut skip: usize) -> Vec<IoSlice<'a>> {
    let mut rest = Vec::new();
    for buf in bufs {
        let skipped = skip.min(buf.len());
        skip -= skipped;
        if skipped < buf.len() && rest.len() < SLICES_MAX {
            rest.push(IoSlice::new(&buf[skipped..]));
        }
    }
    rest
}

#[cfg(test)]
mod tests;
