//! `silt recv`

use std::io::{self, IsTerminal, Read};

use indicatif::ProgressBar;
use siltstone::control::{
    Chunk, DATA_BYTES_MAX, Error, Failure, Kind, NoTransfer, Peer, Progress, ReceiveSnapshot, Received, Request,
    Response,
};
use siltstone::name::VolumeName;

use crate::args::Global;
use crate::backend;
use crate::conversation::Conversation;
use crate::data_dir::Access;
use crate::exit::{Complaint, Exit};
use crate::output::Output;
use crate::progress;
use crate::size;

/// Make a snapshot from a stream of `silt send`, read from stdin. It keeps its name, and is there as a whole or not at all.
///
/// A stream that brings everything makes a new volume. One that was sent with --from goes on from the volume's snapshot of
/// that name, which must hold the same, and the volume then holds what the new snapshot holds. Nothing is seen of it before
/// all of it was proved: every block by its fingerprint, the whole by its root. A broken stream leaves nothing, and is sent
/// again from its beginning. Exit code 3 if it is damaged.
///
/// With --serve it answers a sender, `silt send --to` or `--via`, on stdin and stdout. A full snapshot may then also go on from the
/// newest snapshot of a volume that is here. What was broken off is kept for 7 days, unseen, and the next attempt goes on with it;
/// `silt status` shows it.
#[derive(Debug, clap::Args)]
pub(crate) struct Recv {
    /// The volume.
    #[arg(value_parser = super::volume_name)]
    name: VolumeName,
    /// Lose what was written to the volume since the snapshot that the stream goes on from.
    #[arg(long)]
    force: bool,
    /// How blocks of a new volume are compressed: lz4, zstd, zstd:1 to zstd:19, or none. The node's default is lz4.
    #[arg(long, value_parser = super::codec)]
    codec: Option<String>,
    /// Make a new volume that so many nodes of the cluster hold, 1 to 7, of a full stream. Without it a new volume is of this node alone.
    #[arg(long, value_name = "N", value_parser = super::replicas, conflicts_with_all = ["serve", "force"])]
    replicas: Option<u8>,
    /// Say on stdout what is lacking: for a sender that hears it.
    #[arg(long)]
    serve: bool,
    /// Receive nothing, but remove what is kept of an exchange with --serve that broke off.
    #[arg(long, conflicts_with_all = ["serve", "force", "codec", "replicas"])]
    forget: bool,
}

impl Recv {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        if self.forget {
            return self.forget(global);
        }
        if io::stdin().is_terminal() {
            let message = "a stream does not come from a terminal: pipe in what `silt send` writes";
            return Err(Complaint::new(Kind::Invalid, message).into());
        }
        let (name, force, codec) = (self.name.to_string(), self.force, self.codec.clone());
        let shown = progress::bytes(global, &format!("receiving {name}"), Some(0));
        // The sender shows how far it has come, and both may have one terminal.
        let bar = if self.serve { ProgressBar::hidden() } else { shown };
        let wishes = ReceiveSnapshot { name, force, codec, replicas: self.replicas };
        let (request, mut peer): (_, Box<dyn Peer>) = match self.serve {
            true => (Request::Accept(wishes), Box::new(Conversation::new(io::stdin(), io::stdout(), bar.clone()))),
            false => (Request::Receive(wishes), Box::new(Giver { stdin: io::stdin(), offset: 0, bar: bar.clone() })),
        };
        let answer = backend::transfer(global, super::access_to_make(self.replicas), &request, &mut *peer);
        bar.finish_and_clear();
        match answer? {
            Response::Received(received) => {
                super::check_made_replicated(global, self.replicas, self.name.as_str())?;
                let sizes = (size::human(received.size_bytes), size::human(received.data_bytes));
                let text =
                    || format!("received {}, {} ({} came), root {}", received.name, sizes.0, sizes.1, received.root);
                // The sender tells what was received, and stdout is taken.
                if !self.serve {
                    Output::new(global).done(&received, text)?;
                }
                Ok(Exit::Ok)
            }
            other => Err(backend::unexpected(&other)),
        }
    }

    fn forget(&self, global: &Global) -> anyhow::Result<Exit> {
        let name = self.name.to_string();
        match backend::ask(global, Access::Write, &Request::RemoveReception { name: name.clone() })? {
            Response::Done => {
                let document = serde_json::json!({ "removed": name });
                Output::new(global)
                    .done(&document, || format!("removed what was broken off on its way into {name}"))?;
                Ok(Exit::Ok)
            }
            other => Err(backend::unexpected(&other)),
        }
    }
}

/// Gives the stream on stdin.
struct Giver {
    stdin: io::Stdin,
    offset: u64,
    bar: ProgressBar,
}

impl Peer for Giver {
    fn progress(&mut self, progress: &Progress) -> Result<(), Error> {
        progress::Watcher { bar: self.bar.clone() }.progress(progress)
    }

    fn send(&mut self, offset: u64, data: &[u8]) -> Result<(), Error> {
        NoTransfer.send(offset, data)
    }

    fn receive(&mut self) -> Result<Received, Error> {
        let mut data = Vec::with_capacity(DATA_BYTES_MAX);
        let read = self.stdin.lock().take(DATA_BYTES_MAX as u64).read_to_end(&mut data);
        read.map_err(|error| Failure::new(Kind::Io, format!("reading the stream: {error}")))?;
        if data.is_empty() {
            return Ok(Received::End { size_bytes: self.offset });
        }
        let offset = self.offset;
        self.offset += data.len() as u64;
        Ok(Received::Chunk(Chunk { offset, data }))
    }
}
