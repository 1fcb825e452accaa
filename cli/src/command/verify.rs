//! `silt verify`

use std::path::{Path, PathBuf};

use anyhow::Context;
use siltstone::control::{Kind, Request, Response, RootDescription};
use siltstone::name::ExportName;
use siltstone::root::Root;
use siltstone::store::id::BLOCK_BYTES;
use siltstone::store::store::VOLUME_BYTES_MAX;
use siltstone::transfer::BytesRoot;

use crate::args::Global;
use crate::backend;
use crate::data_dir::Access;
use crate::exit::{Complaint, Exit};
use crate::image::source::ImageSource;
use crate::output::Output;
use crate::progress;

/// Print the root of a snapshot, a volume or a raw image: one digest of all it holds, however it is stored; or prove it.
///
/// Of a snapshot or volume no data is read: its root is made of the fingerprints of its blocks, which `silt scrub` verifies. Of
/// an image all is read. Exit code 3 if the root is another than --root says.
#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    /// The volume, as it is at this moment, or the snapshot as VOLUME@NAME.
    #[arg(value_parser = super::export_name, required_unless_present = "file", conflicts_with = "file")]
    name: Option<ExportName>,
    /// A raw image instead: a file or block device. No store is needed.
    #[arg(long, value_name = "IMAGE")]
    file: Option<PathBuf>,
    /// The root it must have.
    #[arg(long, value_name = "ROOT")]
    root: Option<Root>,
}

impl Verify {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let found = match (&self.name, &self.file) {
            (Some(name), _) => root_of(global, name)?,
            (None, Some(file)) => root_of_image(global, file)?,
            (None, None) => return Err(Complaint::new(Kind::Invalid, "name a volume, a snapshot or a file").into()),
        };
        let mut document = serde_json::to_value(&found)?;
        let matches = self.root.map(|expected| expected.to_string() == found.root);
        if let (Some(expected), Some(fields)) = (self.root, document.as_object_mut()) {
            fields.insert("expected".into(), expected.to_string().into());
            fields.insert("matches".into(), matches.into());
        }
        let text = || match (self.root, matches) {
            (Some(expected), Some(false)) => {
                format!("{} differs: its root is {}, not {expected}", found.name, found.root)
            }
            (Some(_), _) => format!("{} has the root {}", found.name, found.root),
            (None, _) => format!("{}  {}", found.root, found.name),
        };
        Output::new(global).answer(&document, text)?;
        Ok(if matches == Some(false) { Exit::Damage } else { Exit::Ok })
    }
}

fn root_of(global: &Global, name: &ExportName) -> anyhow::Result<RootDescription> {
    let mut watcher = progress::Watcher { bar: progress::bytes(global, &format!("verifying {name}"), Some(0)) };
    let request = Request::Root { name: name.to_string() };
    let answer = backend::transfer(global, Access::Read, &request, &mut watcher);
    watcher.bar.finish_and_clear();
    match answer? {
        Response::Root(found) => Ok(found),
        other => Err(backend::unexpected(&other)),
    }
}

fn root_of_image(global: &Global, file: &Path) -> anyhow::Result<RootDescription> {
    let mut source = ImageSource::open(file).with_context(|| format!("opening {}", file.display()))?;
    let size_bytes = source.size_bytes().filter(|size| (1..=VOLUME_BYTES_MAX).contains(size)).ok_or_else(|| {
        let message = format!("{} is no image: a root needs a file or block device of 1 byte to 1 PiB", file.display());
        Complaint::new(Kind::Invalid, message)
    })?;
    let bar = progress::bytes(global, &format!("verifying {}", file.display()), Some(size_bytes));
    let mut root = BytesRoot::new(size_bytes);
    while let Some(chunk) = source.next_chunk().with_context(|| format!("reading {}", file.display()))? {
        root.push(chunk.offset, &chunk.data);
        bar.set_position(source.position());
    }
    bar.finish_and_clear();
    let (root, data_blocks) = root.finish();
    let data_bytes = data_blocks * BLOCK_BYTES as u64;
    let name = file.display().to_string();
    Ok(RootDescription { name, id: None, size_bytes, data_bytes, domain: root.domain, root: root.to_string() })
}
