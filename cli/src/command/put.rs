//! `silt put`

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::Context;
use siltstone::control::{Error, Failure, Kind, NoTransfer, Peer, Progress, PutObject, Received, Request, Response};
use siltstone::name::ObjectName;
use siltstone::span::Span;

use super::import::Giver;
use crate::args::Global;
use crate::backend::{self, Backend};
use crate::data_dir::{Access, DataDir};
use crate::exit::{Complaint, Exit};
use crate::image::source::ImageSource;
use crate::output::Output;
use crate::progress;
use crate::size;

/// Store a stream, such as a backup or a dump, as an object. What it has in common with other objects is stored once, wherever
/// it is in them; nobody sees the object before it is complete.
///
/// For example: tar -c /etc | silt put etc/monday --keep 30d
#[derive(Debug, clap::Args)]
pub(crate) struct Put {
    /// The object: up to 255 bytes of text, for example pg/2026-11-26.dump.
    #[arg(value_parser = super::object_name)]
    name: ObjectName,
    /// A file, a block device, or - for stdin.
    #[arg(default_value = "-")]
    file: PathBuf,
    /// Store it in blocks of 4 KiB that it shares with volumes: for images of disks. Others are cut where their content says,
    /// and share with others that are.
    #[arg(long)]
    fixed: bool,
    /// How it is compressed: lz4, zstd, zstd:1 to zstd:19, or none. The default is zstd.
    #[arg(long, value_parser = super::codec)]
    codec: Option<String>,
    /// Say something of it; may be given several times.
    #[arg(long = "meta", value_name = "KEY=VALUE", value_parser = pair)]
    metadata: Vec<(String, String)>,
    /// How long it stays, for example 30d. Then a running daemon removes it.
    #[arg(long, value_parser = super::span, value_name = "TIME")]
    keep: Option<Span>,
    /// Put it in the place of an object of this name, when it is complete.
    #[arg(long)]
    replace: bool,
    /// Go on with what was broken off, and if it is broken off keep what has come for 7 days.
    #[arg(long)]
    resume: bool,
}

/// What is said of an object, on the command line.
fn pair(text: &str) -> Result<(String, String), &'static str> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    pair.map(|(key, value)| (key.to_owned(), value.to_owned())).ok_or("write KEY=VALUE")
}

impl Put {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        if self.file == Path::new("-") && io::stdin().is_terminal() {
            let message = "an object is not read from a terminal: name a file, or pipe something in";
            return Err(Complaint::new(Kind::Invalid, message).into());
        }
        let mut put = self.request()?;
        let source = ImageSource::open(&self.file).with_context(|| format!("opening {}", self.file.display()))?;
        let bar = progress::bytes(global, &format!("putting {}", self.name), source.size_bytes());
        let mut giver = Giver { source, bar };
        let mut backend = Backend::open(&DataDir::new(&global.data)?, Access::Create)?;
        if self.resume {
            put.offset = self.go_on(&mut backend, &put, &mut giver.source)?;
        }
        let answer = backend.call(&Request::PutObject(put), &mut giver);
        giver.bar.finish_and_clear();
        let closed = backend.close();
        let object = match answer? {
            Response::Object(object) => object,
            other => return Err(backend::unexpected(&other)),
        };
        closed?;
        Output::new(global).done(&object, || format!("put {}, {}", object.name, size::human(object.size_bytes)))?;
        Ok(Exit::Ok)
    }

    fn request(&self) -> anyhow::Result<PutObject> {
        let mut metadata = BTreeMap::new();
        for (key, value) in &self.metadata {
            if metadata.insert(key.clone(), value.clone()).is_some() {
                return Err(Complaint::new(Kind::Invalid, format!("--meta gives {key} twice")).into());
            }
        }
        Ok(PutObject {
            name: self.name.to_string(),
            fixed: self.fixed,
            codec: self.codec.clone(),
            metadata,
            keep_s: self.keep.map(Span::seconds),
            replace: self.replace,
            resume: self.resume,
            offset: 0,
        })
    }

    /// Moves the source to where an upload goes on, if it was of the same content as far as can be seen.
    fn go_on(&self, backend: &mut Backend, put: &PutObject, source: &mut ImageSource) -> anyhow::Result<u64> {
        let mut tail = Tail::default();
        let offset = match backend.call(&Request::FindUpload(put.clone()), &mut tail)? {
            Response::Upload(upload) => upload.offset,
            other => return Err(backend::unexpected(&other)),
        };
        let is_same = source.go_on(offset, &tail.bytes).with_context(|| format!("reading {}", self.file.display()))?;
        if is_same {
            return Ok(offset);
        }
        let message = format!(
            "{} is not what was broken off at byte {offset}: `silt objects rm --upload {}` forgets that",
            self.file.display(),
            self.name
        );
        Err(Complaint::new(Kind::Invalid, message).into())
    }
}

/// Takes the last of what an upload has.
#[derive(Default)]
struct Tail {
    bytes: Vec<u8>,
}

impl Peer for Tail {
    fn progress(&mut self, _progress: &Progress) -> Result<(), Error> {
        Ok(())
    }

    fn send(&mut self, _offset: u64, data: &[u8]) -> Result<(), Error> {
        if !self.bytes.is_empty() {
            return Err(Failure::new(Kind::Protocol, "more of the upload than was asked for").into());
        }
        self.bytes = data.to_vec();
        Ok(())
    }

    fn receive(&mut self) -> Result<Received, Error> {
        NoTransfer.receive()
    }
}
