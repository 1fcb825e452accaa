//! What an attachment leaves on disk, `<data>/attach/<name>/`: `state.json` (absent until the device works),
//! `lock` (holds the helper's process id and is held by it as long as it lives, so that its death shows without trusting the id),
//! `helper.log`, and `mnt/` where the FUSE method mounts its one file, `volume`.
//!
//! `<data>/attach/.lock` serializes attach and detach; no volume's or snapshot's name starts with a dot.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::Method;
use super::error::{AttachError, Result};
use crate::name::ExportName;

/// The directory of one attachment.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) name: String,
    pub(super) directory: PathBuf,
}

/// What `list` and `detach` need to know of an attachment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) device: PathBuf,
    pub(super) method: Method,
    /// The helper's process id, for people to read; what is signalled is the one in `lock`.
    pub(super) pid: u32,
    pub(super) read_only: bool,
    /// The helper has given up on the daemon: all I/O fails until the volume is detached.
    pub(super) lost: bool,
}

/// Held while a volume is being attached or detached.
#[derive(Debug)]
pub(super) struct OperationLock(#[expect(dead_code, reason = "dropping it unlocks")] File);

/// Held by a helper as long as it lives.
#[derive(Debug)]
pub(super) struct HelperLock(#[expect(dead_code, reason = "dropping it unlocks")] File);

impl Place {
    /// The place for `name`; fails unless `name` is one that a volume or snapshot can have, since it
    /// becomes a path.
    pub(super) fn new(data_dir: &Path, name: &str) -> Result<Self> {
        if !is_export_name(name) {
            return Err(AttachError::BadName(name.to_owned()));
        }
        Ok(Self { name: name.to_owned(), directory: data_dir.join("attach").join(name) })
    }

    /// Every attachment of this data directory, whole or broken, by name.
    pub(super) fn all(data_dir: &Path) -> Result<Vec<Self>> {
        let parent = data_dir.join("attach");
        let entries = match fs::read_dir(&parent) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return Err(AttachError::NotPermitted),
            Err(error) => return Err(AttachError::io("listing", parent, error)),
        };
        let mut places = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| AttachError::io("listing", &parent, error))?;
            if let Some(name) = entry.file_name().to_str().filter(|name| is_export_name(name)) {
                places.push(Self::new(data_dir, name)?);
            }
        }
        places.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(places)
    }

    pub(super) fn exists(&self) -> bool {
        self.directory.symlink_metadata().is_ok()
    }

    pub(super) fn create(&self) -> Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(self.mount_point())
            .map_err(|error| AttachError::io("creating", self.mount_point(), error))
    }

    pub(super) fn mount_point(&self) -> PathBuf {
        self.directory.join("mnt")
    }

    pub(super) fn volume(&self) -> PathBuf {
        self.mount_point().join("volume")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.directory.join("helper.log")
    }

    /// Held, and holding the process id of its holder.
    pub(super) fn lock(&self) -> PathBuf {
        self.directory.join("lock")
    }

    fn state(&self) -> PathBuf {
        self.directory.join("state.json")
    }

    /// The state; `None` if the attachment never came to work or its state is not to be read.
    pub(super) fn read_state(&self) -> Result<Option<State>> {
        match fs::read(self.state()) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(AttachError::io("reading", self.state(), error)),
        }
    }

    pub(super) fn write_state(&self, state: &State) -> Result<()> {
        let new = self.directory.join("state.new");
        serde_json::to_vec(state)
            .map_err(io::Error::from)
            .and_then(|bytes| fs::write(&new, bytes))
            .and_then(|()| fs::rename(&new, self.state()))
            .map_err(|error| AttachError::io("writing", self.state(), error))
    }

    /// Takes the helper's lock; fails if another helper lives.
    pub(super) fn hold(&self) -> Result<HelperLock> {
        match try_lock(&self.lock()) {
            Ok(Some(file)) => {
                let pid = std::process::id().to_string();
                let written = file.set_len(0).and_then(|()| file.write_all_at(pid.as_bytes(), 0));
                written.map_err(|error| AttachError::io("writing", self.lock(), error))?;
                Ok(HelperLock(file))
            }
            Ok(None) => Err(AttachError::AlreadyAttached { name: self.name.clone() }),
            Err(error) => Err(AttachError::io("locking", self.lock(), error)),
        }
    }

    /// True while the helper lives.
    pub(super) fn is_held(&self) -> bool {
        self.lock().exists() && matches!(try_lock(&self.lock()), Ok(None))
    }

    /// True if the device is the kernel's and the helper only watches over it.
    pub(super) fn supervises_kernel_device(&self) -> Result<bool> {
        Ok(self.read_state()?.is_some_and(|state| state.method == Method::Kernel))
    }

    /// What identifies this attachment among the kernel's NBD devices.
    pub(super) fn backend(&self) -> String {
        format!("silt:{}", self.directory.display())
    }

    /// Removes the directory. Never recursively: if `mnt` still is a mount point, that must fail, not empty the volume.
    pub(super) fn remove(&self) -> Result<()> {
        for file in [self.state(), self.directory.join("state.new"), self.log(), self.lock()] {
            absent_is_fine(fs::remove_file(&file)).map_err(|error| AttachError::io("removing", file, error))?;
        }
        for directory in [self.mount_point(), self.directory.clone()] {
            absent_is_fine(fs::remove_dir(&directory))
                .map_err(|error| AttachError::io("removing", directory, error))?;
        }
        Ok(())
    }
}

impl OperationLock {
    /// Waits until no other attach or detach is under way in `data_dir`.
    pub(super) fn take(data_dir: &Path) -> Result<Self> {
        let directory = data_dir.join("attach");
        let path = directory.join(".lock");
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(|error| AttachError::io("creating", directory, error))?;
        open_lock(&path)
            .and_then(|file| Ok(flock(&file, FlockOperation::LockExclusive).map(|()| file)?))
            .map(Self)
            .map_err(|error| AttachError::io("locking", path, error))
    }
}

fn open_lock(path: &Path) -> io::Result<File> {
    File::options().create(true).truncate(false).write(true).open(path)
}

fn try_lock(path: &Path) -> io::Result<Option<File>> {
    let file = open_lock(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// True for names of volumes and snapshots, which cannot lead out of the directory.
fn is_export_name(name: &str) -> bool {
    name.parse::<ExportName>().is_ok()
}

#[cfg(test)]
mod tests;
