//! The lock of a directory: an advisory `flock` on its file `lock`, which ends with the process.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use crate::device::path::LOCK_NAME;
use crate::device::{AccessMode, Lock, LockMode};

/// The open file description that carries the lock; closing it lets go.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    _held: OwnedFd,
}

impl Lock for DirectoryLock {}

/// Locks the device whose top is `top`, without waiting.
pub(super) fn take(top: &OwnedFd, mode: LockMode, access_mode: AccessMode) -> io::Result<DirectoryLock> {
    let held = match access_mode {
        AccessMode::ReadWrite => open(top, OFlags::RDWR | OFlags::CREATE)?,
        AccessMode::ReadOnly => open_existing(top)?,
    };
    let operation = match mode {
        LockMode::Shared => FlockOperation::NonBlockingLockShared,
        LockMode::Exclusive => FlockOperation::NonBlockingLockExclusive,
    };
    retry_on_intr(|| rustix::fs::flock(&held, operation))?;
    Ok(DirectoryLock { _held: held })
}

fn open(top: &OwnedFd, how: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = how | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    retry_on_intr(|| rustix::fs::openat(top, LOCK_NAME, flags, Mode::RUSR | Mode::WUSR))
}

/// A reader creates nothing. Where no writer ever made the lock file there is no store to protect, and the directory
/// itself will do.
fn open_existing(top: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    match open(top, OFlags::RDONLY) {
        Err(Errno::NOENT) => {
            rustix::fs::openat(top, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        }
        opened => opened,
    }
}
