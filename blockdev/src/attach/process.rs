//! Ending what an attachment keeps running: its mount and its helper.

use std::fs;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount as unmount_path};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::error::{AttachError, Result};
use super::place::Place;

/// How long a helper may take to end by itself once its file system is unmounted, in seconds.
const END_SECONDS: i64 = 10;

/// Unmounts lazily, so that neither a prober nor a dead FUSE server can hold it up. Not being mounted is fine.
pub(super) fn unmount(mount_point: &Path) -> Result<()> {
    match unmount_path(mount_point, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        Ok(()) | Err(Errno::INVAL | Errno::NOENT) => Ok(()),
        Err(errno) => Err(AttachError::io("unmounting", mount_point, errno)),
    }
}

/// Waits for the helper to end, and kills it if it does not. Without a helper, does nothing.
pub(super) fn end_helper(place: &Place) -> Result<()> {
    let failed = |errno: Errno| AttachError::io("ending the helper of", &place.directory, errno);
    let Some(pid) = helper_pid(place) else { return Ok(()) };
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(Errno::SRCH) => return Ok(()),
        Err(errno) => return Err(failed(errno)),
    };
    // The lock is held by whoever wrote the id into it: while it is held, the id is not another process's.
    if !place.is_held() {
        return Ok(());
    }
    let mut polled = [PollFd::new(&process, PollFlags::IN)];
    let wait = |polled: &mut [PollFd<'_>]| poll(polled, Some(&Timespec { tv_sec: END_SECONDS, tv_nsec: 0 }));
    let has_ended = !place.supervises_kernel_device()? && wait(&mut polled).map_err(failed)? > 0;
    if !has_ended {
        pidfd_send_signal(&process, Signal::KILL).map_err(failed)?;
        wait(&mut polled).map_err(failed)?;
    }
    Ok(())
}

fn helper_pid(place: &Place) -> Option<Pid> {
    let pid = fs::read_to_string(place.lock()).ok()?.trim().parse().ok()?;
    Pid::from_raw(pid)
}
