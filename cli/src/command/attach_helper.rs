//! `silt attach-helper`: the process behind an attached volume, started by `silt attach` and by nobody else.

use std::ffi::OsString;

use crate::exit::Exit;

/// Serve an attached volume.
#[derive(Debug, clap::Args)]
pub(crate) struct AttachHelper {
    /// What `silt attach` tells it.
    #[arg(required = true)]
    arguments: Vec<OsString>,
}

impl AttachHelper {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        siltstone::attach::run_helper(self.arguments.iter().cloned())?;
        Ok(Exit::Ok)
    }
}
