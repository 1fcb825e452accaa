//! `silt import`

use std::path::{Path, PathBuf};

use anyhow::Context;
use indicatif::ProgressBar;
use siltstone::control::{Error, Failure, ImportVolume, Kind, NoTransfer, Peer, Progress, Received, Request, Response};
use siltstone::name::VolumeName;

use crate::args::Global;
use crate::backend;
use crate::exit::Exit;
use crate::image::source::ImageSource;
use crate::output::Output;
use crate::progress;
use crate::size;

/// Make a volume from a raw image. Holes and zeros take no space; nobody sees the volume before it is complete.
#[derive(Debug, clap::Args)]
pub(crate) struct Import {
    /// The image: a file, a block device, or - for stdin.
    file: PathBuf,
    /// The volume. By default the file's name without its ending.
    #[arg(value_parser = super::volume_name)]
    name: Option<VolumeName>,
    /// How its blocks are compressed: lz4, zstd, zstd:1 to zstd:19, or none. The node's default is lz4.
    #[arg(long, value_parser = super::codec)]
    codec: Option<String>,
    /// How many nodes of the cluster hold it, 1 to 7. Without it the volume is of this node alone.
    #[arg(long, value_name = "N", value_parser = super::replicas)]
    replicas: Option<u8>,
    /// Keep what has come if the import fails.
    #[arg(long)]
    keep: bool,
}

impl Import {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let name = self.name.clone().map_or_else(|| name_of(&self.file), Ok)?;
        let source = ImageSource::open(&self.file).with_context(|| format!("opening {}", self.file.display()))?;
        let import = ImportVolume {
            name: name.to_string(),
            size_bytes: source.size_bytes(),
            codec: self.codec.clone(),
            keep_partial: self.keep,
            replicas: self.replicas,
        };
        let bar = progress::bytes(global, &format!("importing {name}"), source.size_bytes());
        let mut giver = Giver { source, bar };
        let access = super::access_to_make(self.replicas);
        let answer = backend::transfer(global, access, &Request::Import(import), &mut giver);
        giver.bar.finish_and_clear();
        match answer? {
            Response::Transferred(done) => {
                super::check_made_replicated(global, self.replicas, &done.name)?;
                let sizes = (size::human(done.size_bytes), size::human(done.data_bytes));
                let text = || format!("imported {}, {} ({} not zeros)", done.name, sizes.0, sizes.1);
                Output::new(global).done(&done, text)?;
                Ok(Exit::Ok)
            }
            other => Err(backend::unexpected(&other)),
        }
    }
}

fn name_of(file: &Path) -> anyhow::Result<VolumeName> {
    let stem = file.file_stem().and_then(|stem| stem.to_str()).filter(|stem| *stem != "-");
    stem.and_then(|stem| stem.parse().ok()).ok_or_else(|| {
        let message = format!("{} gives no volume name: name the volume after the file", file.display());
        Failure::new(Kind::Invalid, message).into()
    })
}

/// Gives an image's content.
pub(super) struct Giver {
    pub(super) source: ImageSource,
    pub(super) bar: ProgressBar,
}

impl Peer for Giver {
    fn progress(&mut self, _progress: &Progress) -> Result<(), Error> {
        Ok(())
    }

    fn send(&mut self, offset: u64, data: &[u8]) -> Result<(), Error> {
        NoTransfer.send(offset, data)
    }

    fn receive(&mut self) -> Result<Received, Error> {
        let next = self.source.next_chunk();
        self.bar.set_position(self.source.position());
        match next {
            Ok(Some(chunk)) => Ok(Received::Chunk(chunk)),
            Ok(None) => Ok(Received::End { size_bytes: self.source.position() }),
            Err(error) => Err(Failure::new(Kind::Io, format!("reading the content: {error}")).into()),
        }
    }
}
