//! `silt export`

use std::io;
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use siltstone::control::{Error, Failure, Kind, NoTransfer, Peer, Progress, Received, Request, Response};
use siltstone::name::ExportName;

use crate::args::Global;
use crate::backend::{self, Backend};
use crate::data_dir::{Access, DataDir};
use crate::exit::{Complaint, Exit};
use crate::image::sink::{Existing, ImageSink};
use crate::output::Output;
use crate::progress;
use crate::size;

/// Write the content of a volume or snapshot to a raw image. The file is sparse, and appears when it is complete.
///
/// A volume in use can be exported; what is written meanwhile may be in the image or not. To get one moment of it, export
/// a snapshot.
#[derive(Debug, clap::Args)]
pub(crate) struct Export {
    /// The volume, or a snapshot as VOLUME@NAME.
    #[arg(value_parser = super::export_name)]
    name: ExportName,
    /// The image: a new file, a block device, or - for stdout.
    file: PathBuf,
    /// Replace the file if there is one.
    #[arg(long)]
    force: bool,
}

impl Export {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let mut backend = Backend::open(&DataDir::new(&global.data)?, Access::Read)?;
        let size_bytes = match backend.call(&Request::Info { name: self.name.to_string() }, &mut NoTransfer)? {
            Response::Volume(volume) => volume.size_bytes,
            Response::Snapshot(snapshot) => snapshot.size_bytes,
            other => return Err(backend::unexpected(&other)),
        };
        let bar = progress::bytes(global, &format!("exporting {}", self.name), Some(size_bytes));
        let mut taker = Taker { sink: open_sink(&self.file, self.force)?, bar };
        let answer = backend.call(&Request::Export { name: self.name.to_string() }, &mut taker);
        taker.bar.finish_and_clear();
        let done = match answer? {
            Response::Transferred(done) => done,
            other => return Err(backend::unexpected(&other)),
        };
        finish_sink(taker.sink, &self.file, done.size_bytes)?;
        backend.close()?;
        if self.file.as_os_str() != "-" {
            let sizes = (size::human(done.size_bytes), size::human(done.data_bytes));
            let text = || format!("exported {}, {} ({} not zeros)", done.name, sizes.0, sizes.1);
            Output::new(global).done(&done, text)?;
        }
        Ok(Exit::Ok)
    }
}

/// Opens a file to write content to, or says how to replace it.
pub(super) fn open_sink(file: &Path, force: bool) -> anyhow::Result<ImageSink> {
    let existing = if force { Existing::Replace } else { Existing::Keep };
    ImageSink::open(file, existing).map_err(|error| explained(error, "opening", file))
}

/// Gives a file its size and its name.
pub(super) fn finish_sink(sink: ImageSink, file: &Path, size_bytes: u64) -> anyhow::Result<()> {
    sink.finish(size_bytes).map_err(|error| explained(error, "writing", file))
}

fn explained(error: io::Error, doing: &str, file: &Path) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::AlreadyExists => {
            let message = format!("{} exists: --force replaces it", file.display());
            Complaint::new(Kind::Exists, message).into()
        }
        _ => anyhow::Error::from(error).context(format!("{doing} {}", file.display())),
    }
}

/// Takes the content of a volume or object.
pub(super) struct Taker {
    pub(super) sink: ImageSink,
    pub(super) bar: ProgressBar,
}

impl Peer for Taker {
    fn progress(&mut self, _progress: &Progress) -> Result<(), Error> {
        Ok(())
    }

    fn send(&mut self, offset: u64, data: &[u8]) -> Result<(), Error> {
        let written = self.sink.write(offset, data);
        self.bar.set_position(offset + data.len() as u64);
        written.map_err(|error| {
            let full = error.kind() == io::ErrorKind::StorageFull;
            let kind = if full { Kind::OutOfSpace } else { Kind::Io };
            Failure::new(kind, format!("writing the content: {error}")).into()
        })
    }

    fn receive(&mut self) -> Result<Received, Error> {
        NoTransfer.receive()
    }
}
