//! The data directory: where a node's store and sockets are.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use siltstone::control::Kind;
use siltstone::store::ErrorKind;
use siltstone::store::clock::SystemClock;
use siltstone::store::device::AccessMode;
use siltstone::store::device::directory::DirectoryDevice;
use siltstone::store::rng::SystemRng;
use siltstone::store::store::{BackgroundMode, Budget, Environment, Options, Settings, Store};

use crate::exit::Complaint;

/// What a command means to do with a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    /// Look; the store must exist and is left as it is.
    Read,
    /// Change; the store must exist.
    Write,
    /// Change; a store is made if there is none.
    Create,
}

/// A data directory, by its absolute path.
#[derive(Clone, Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
}

impl DataDir {
    /// Names a directory, which need not exist.
    pub(crate) fn new(path: &Path) -> anyhow::Result<Self> {
        let path = std::path::absolute(path).with_context(|| format!("--data {}", path.display()))?;
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where NBD clients of this machine connect.
    pub(crate) fn nbd_socket(&self) -> PathBuf {
        self.path.join("nbd.sock")
    }

    /// Where commands connect.
    pub(crate) fn control_socket(&self) -> PathBuf {
        self.path.join("control.sock")
    }

    /// True if the node is in a cluster: then it has a key for it, which no other machine may have.
    pub(crate) fn is_in_cluster(&self) -> bool {
        self.path.join("cluster/node").exists()
    }

    /// Opens the store with a memory budget of `memory_bytes`.
    pub(crate) fn open_store(
        &self,
        access: Access,
        memory_bytes: u64,
        capacity_bytes: Option<u64>,
    ) -> anyhow::Result<Arc<Store>> {
        let budget = Budget::new(memory_bytes)?;
        if access == Access::Create {
            self.make_directory()?;
            self.make_store(capacity_bytes)?;
        }
        let read_only = access == Access::Read;
        let options = Options { budget, background: BackgroundMode::Threads, read_only };
        let opened = Store::open(self.environment(read_only)?, options);
        let opened = opened.map_err(|error| match error.kind() {
            ErrorKind::NotFound => self.no_store().into(),
            _ => anyhow::Error::from(error).context(format!("opening the store in {}", self.path.display())),
        })?;
        Ok(opened)
    }

    fn make_directory(&self) -> anyhow::Result<()> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o750);
        builder.create(&self.path).with_context(|| format!("making the data directory {}", self.path.display()))
    }

    fn make_store(&self, capacity_bytes: Option<u64>) -> anyhow::Result<()> {
        let environment = self.environment(false)?;
        let made = match Store::exists(&environment)? {
            true => Ok(()),
            false => Store::create(&environment, Settings { capacity_bytes }),
        };
        match made {
            // Another command was quicker, or is at it and has the lock: opening will tell.
            Err(error) if matches!(error.kind(), ErrorKind::Exists | ErrorKind::Busy) => Ok(()),
            other => other.with_context(|| format!("making a store in {}", self.path.display())),
        }
    }

    /// The machine as the store of this directory sees it.
    pub(crate) fn environment(&self, read_only: bool) -> anyhow::Result<Environment> {
        let access_mode = if read_only { AccessMode::ReadOnly } else { AccessMode::ReadWrite };
        let device = DirectoryDevice::open(&self.path, access_mode).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => self.no_store().into(),
            _ => anyhow::Error::from(error).context(format!("opening the data directory {}", self.path.display())),
        })?;
        Ok(Environment { device: Arc::new(device), clock: Arc::new(SystemClock::new()), rng: Arc::new(SystemRng) })
    }

    fn no_store(&self) -> Complaint {
        let message = format!(
            "there is no store in {}: `silt serve` or `silt create` makes one; --data or SILT_DATA names another place",
            self.path.display()
        );
        Complaint::new(Kind::NotFound, message)
    }
}
