//! A branch of a volume, and the file system on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use siltstone::Store;

/// Attempts to unmount, ten a second.
const UNMOUNTS_MAX: u32 = 50;

/// A clone that goes when this does, and the snapshot that it is of.
pub(crate) struct Branch {
    store: Store,
    snapshot: String,
    name: String,
    is_removed: bool,
}

impl Branch {
    /// Branches off what a volume holds at this moment.
    pub(crate) fn of(store: &Store, volume: &str) -> anyhow::Result<Self> {
        let name = format!("{volume}-test-{}", std::process::id());
        let snapshot = format!("{volume}@{name}");
        drop(store.create_snapshot(&snapshot)?);
        // From here on the snapshot goes even if the clone cannot be made.
        let branch = Self { store: store.clone(), snapshot, name, is_removed: false };
        drop(store.clone_volume(&branch.snapshot, &branch.name)?);
        Ok(branch)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How much of the branch is other than where it began.
    pub(crate) fn changed_bytes(&self) -> anyhow::Result<u64> {
        let (branch, beginning) = (self.store.volume(&self.name)?, self.store.snapshot(&self.snapshot)?);
        let mut bytes = 0;
        for range in branch.changes_since(&beginning)? {
            let range = range?;
            bytes += range.end - range.start;
        }
        Ok(bytes)
    }

    pub(crate) fn remove(mut self) -> siltstone::Result<()> {
        self.is_removed = true;
        self.store.remove_volume(&self.name)?;
        self.store.remove_snapshot(&self.snapshot)
    }
}

impl Drop for Branch {
    fn drop(&mut self) {
        if !self.is_removed {
            // What is left after this is said by `silt ls`; the first error has been reported already.
            let _ = self.store.remove_volume(&self.name);
            let _ = self.store.remove_snapshot(&self.snapshot);
        }
    }
}

/// A mounted branch. It is no longer one when this goes.
pub(crate) struct Mounted {
    data: PathBuf,
    name: String,
    path: PathBuf,
    is_mounted: bool,
}

impl Mounted {
    /// Attaches a volume and mounts its file system.
    pub(crate) fn new(data: &Path, name: &str, path: &Path) -> anyhow::Result<Self> {
        fs::create_dir(path)?;
        // From here on all of it goes even if a step fails.
        let mut mounted = Self { data: data.into(), name: name.into(), path: path.into(), is_mounted: false };
        let device = run(silt("attach", name, data)).context("attaching the branch")?;
        run(Command::new("mount").arg(device.trim()).arg(path)).context("mounting the branch")?;
        mounted.is_mounted = true;
        Ok(mounted)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A server counts as stopped when it has removed its file, and may take a moment longer to leave the directory.
    #[expect(clippy::disallowed_methods, reason = "this is a program")]
    fn unmount(&self) -> anyhow::Result<()> {
        for _ in 0..UNMOUNTS_MAX {
            if run(Command::new("umount").arg(&self.path)).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        run(Command::new("umount").arg(&self.path)).context("unmounting the branch").map(drop)
    }

    fn detach(&self) -> anyhow::Result<()> {
        let detached = run(&mut silt("detach", &self.name, &self.data)).context("detaching the branch");
        fs::remove_dir(&self.path)?;
        detached.map(drop)
    }

    /// Unmounts it, so that all of it has been written, and detaches it.
    pub(crate) fn end(mut self) -> anyhow::Result<()> {
        self.unmount()?;
        self.is_mounted = false;
        self.detach()?;
        std::mem::forget(self);
        Ok(())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // What is left after this is said by `silt attached`; the first error has been reported already.
        if self.is_mounted {
            let _ = self.unmount();
        }
        let _ = self.detach();
    }
}

fn silt(command: &str, volume: &str, data: &Path) -> Command {
    let mut silt = Command::new(std::env::var_os("SILT").unwrap_or_else(|| "silt".into()));
    silt.args([command, volume, "--data"]).arg(data);
    silt
}

/// Runs a program that has to succeed; what it printed.
pub(crate) fn run(mut command: impl std::borrow::BorrowMut<Command>) -> anyhow::Result<String> {
    let command = command.borrow_mut();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("starting {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}
