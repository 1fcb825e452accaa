//! `silt attach`

use std::time::Duration;

use siltstone::attach::{AttachOptions, Method, attach};
use siltstone::name::ExportName;

use crate::args::Global;
use crate::data_dir::DataDir;
use crate::exit::Exit;
use crate::output::Output;

/// Give a volume or snapshot a block device of this machine, and print it. The daemon must run.
///
/// The device of a snapshot is read-only.
#[derive(Debug, clap::Args)]
pub(crate) struct Attach {
    /// The volume, or a snapshot as VOLUME@NAME.
    #[arg(value_parser = super::export_name)]
    name: ExportName,
    /// Refuse writes to the device.
    #[arg(long)]
    read_only: bool,
    /// How: the kernel's NBD driver, or a file in user space behind a loop device. The first that works, by default.
    #[arg(long, value_parser = method, default_value = "auto", value_name = "auto|kernel|fuse")]
    method: Method,
    /// Seconds for which the device waits for a daemon that is gone, before it answers with errors.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout: u64,
}

fn method(text: &str) -> Result<Method, &'static str> {
    match text {
        "auto" => Ok(Method::Auto),
        "kernel" => Ok(Method::Kernel),
        "fuse" => Ok(Method::Fuse),
        _ => Err("a method is auto, kernel or fuse"),
    }
}

impl Attach {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let dir = DataDir::new(&global.data)?;
        let timeout = Duration::from_secs(self.timeout);
        let options =
            AttachOptions { read_only: self.read_only, method: self.method, timeout, ..AttachOptions::default() };
        let attached = attach(dir.path(), &self.name.to_string(), &options)?;
        Output::new(global).answer(&attached, || attached.device.display().to_string())?;
        Ok(Exit::Ok)
    }
}
