//! Where the log of a volume is, and what the checksums of its files are seeded with.

use std::io;

use lsm_store::checksum::{Kind, Seal};
use lsm_store::device::Device;
use lsm_store::id::StoreId;
use net::id::VolumeId;

use super::error::{LogError, Result};

/// The name under which a file is made that gets its own only when it is durable.
const NEW: &str = "new";

/// A file whose room is taken when there is no other.
const SPARE: &str = "spare";

/// A file that was trimmed, and that the next one is made of.
const RECYCLED: &str = "recycled";

/// Number of a file, from 1. They are consecutive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct FileNumber(pub(super) u64);

impl FileNumber {
    pub(super) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// The directory of one volume's log.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) volume: VolumeId,
    pub(super) directory: String,
}

impl Place {
    pub(super) fn new(volume: VolumeId) -> Self {
        Self { volume, directory: format!("replica-{:016x}", volume.0) }
    }

    /// Path of a file.
    pub(super) fn path(&self, number: FileNumber) -> String {
        format!("{}/{:016x}", self.directory, number.0)
    }

    /// Path of the file that is not one of the log's yet.
    pub(super) fn new_path(&self) -> String {
        format!("{}/{NEW}", self.directory)
    }

    /// Path of the file that becomes one of the log's on a full disk.
    pub(super) fn spare_path(&self) -> String {
        format!("{}/{SPARE}", self.directory)
    }

    /// Path of the file that the next one is made of.
    pub(super) fn recycled_path(&self) -> String {
        format!("{}/{RECYCLED}", self.directory)
    }

    /// The seal of one kind of structure in a file.
    pub(super) fn seal(&self, kind: [u8; 4], number: FileNumber) -> Seal {
        let mut volume = [0; 16];
        volume[..8].copy_from_slice(&self.volume.0.to_le_bytes());
        Seal::new(StoreId(volume), Kind(kind), number.0)
    }

    /// The numbers that have files, ascending; none if there is no directory.
    pub(super) fn numbers(&self, device: &dyn Device) -> Result<Vec<FileNumber>> {
        let names = match device.list(&self.directory) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(LogError::io("listing", &self.directory, error)),
        };
        let mut numbers: Vec<_> = names.iter().filter_map(|name| number(name)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Removes a file that may be missing. Its name may come back with a power cut.
    pub(super) fn remove(&self, device: &dyn Device, path: &str) -> Result<()> {
        match device.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(LogError::io("removing", path, error)),
            _ => Ok(()),
        }
    }

    /// Makes the names of files durable.
    pub(super) fn sync(&self, device: &dyn Device) -> Result<()> {
        device.sync_directory(&self.directory).map_err(|error| LogError::io("syncing", &self.directory, error))
    }
}

/// The number that is a file's name, which has 16 lower-case digits; the last number is never used.
fn number(name: &str) -> Option<FileNumber> {
    let number = u64::from_str_radix(name, 16).ok().filter(|number| (1..u64::MAX).contains(number))?;
    (format!("{number:016x}") == name).then_some(FileNumber(number))
}
