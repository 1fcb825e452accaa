//! Block devices as the kernel shows them: making and clearing loop devices, and asking whether one is in use.
//!
//! Loop devices are made by `losetup` (util-linux, present on every Debian), because their ioctls cannot be
//! called without unsafe code and it already handles the races for a free number.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::OFlags;

use super::error::{AttachError, Result};

/// Logical block size of the devices made here, the same for both methods.
///
/// Not the 4096 that a volume is made of: images carry 512-byte units in their partition tables and file systems
/// remember the sector size they were made with, so a volume must look the same wherever it is attached. The
/// cost is a merge in the daemon when somebody writes less than a block, which file systems of 4 KiB blocks seldom do.
pub(super) const LOGICAL_BLOCK_BYTES: u64 = 512;

/// A block device that nobody else can mount or hold while this lives.
#[derive(Debug)]
pub(super) struct Exclusive {
    file: File,
    device: PathBuf,
}

impl Exclusive {
    /// Opens `device`; fails with [`AttachError::InUse`] if it is mounted, a swap, or part of another device.
    pub(super) fn open(device: &Path, read_only: bool) -> Result<Self> {
        File::options()
            .read(true)
            .write(!read_only)
            .custom_flags(OFlags::EXCL.bits().cast_signed())
            .open(device)
            .map(|file| Self { file, device: device.to_owned() })
            .map_err(|error| match error.kind() {
                io::ErrorKind::ResourceBusy => AttachError::InUse { device: device.to_owned() },
                _ => AttachError::io("opening", device, error),
            })
    }

    /// Writes what the kernel caches of the device and flushes the volume.
    pub(super) fn flush(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Frees a loop device. The kernel does it when the last user, here `self`, closes it.
    pub(super) fn clear_loop(self) -> Result<()> {
        run("losetup", Command::new("losetup").arg("--detach").arg(&self.device)).map(drop)
    }
}

/// Makes a loop device over `file`.
pub(super) fn create_loop(file: &Path, read_only: bool) -> Result<PathBuf> {
    let mut command = Command::new("losetup");
    command.args(["--find", "--show", "--direct-io=on"]);
    command.arg(format!("--sector-size={LOGICAL_BLOCK_BYTES}"));
    if read_only {
        command.arg("--read-only");
    }
    run("losetup", command.arg(file)).map(|stdout| PathBuf::from(stdout.trim_end()))
}

/// The loop device over `file`, if there is one.
pub(super) fn loop_over(file: &Path) -> Option<PathBuf> {
    let blocks = fs::read_dir("/sys/block").ok()?;
    blocks
        .filter_map(|entry| Some(PathBuf::from("/dev").join(entry.ok()?.file_name())))
        .find(|device| sysfs_attribute(device, "loop/backing_file").is_some_and(|backing| Path::new(&backing) == file))
}

/// An attribute of a block device under `/sys/block`, without the newline; `None` if it has none.
pub(super) fn sysfs_attribute(device: &Path, attribute: &str) -> Option<String> {
    let path = Path::new("/sys/block").join(device.file_name()?).join(attribute);
    fs::read_to_string(path).ok().map(|value| value.trim_end_matches('\n').to_owned())
}

/// Runs a program to its end and returns what it printed.
pub(super) fn run(program: &'static str, command: &mut Command) -> Result<String> {
    let output = command.output().map_err(|error| AttachError::io("running", program, error))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
        return Err(AttachError::Program { program, stderr });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
