//! Block devices for volumes.

use std::path::{Path, PathBuf};

use serde::Serialize;
use siltstone::control::Kind;

use crate::exit::Complaint;

/// How a volume is attached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttachOptions {
    #[expect(dead_code, reason = "nothing attaches yet")]
    pub(crate) read_only: bool,
}

/// A volume with a block device.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Attached {
    pub(crate) name: String,
    pub(crate) device: PathBuf,
    pub(crate) method: String,
}

fn unsupported() -> Complaint {
    Complaint::new(Kind::Unsupported, "this build cannot attach volumes")
}

pub(crate) fn attach(_data: &Path, _name: &str, _options: &AttachOptions) -> Result<Attached, Complaint> {
    Err(unsupported())
}

pub(crate) fn detach(_data: &Path, _name: &str) -> Result<(), Complaint> {
    Err(unsupported())
}

pub(crate) fn list(_data: &Path) -> Result<Vec<Attached>, Complaint> {
    Err(unsupported())
}
