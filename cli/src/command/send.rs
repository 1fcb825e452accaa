//! `silt send`

use std::io::{self, IsTerminal, Write};

use indicatif::ProgressBar;
use siltstone::control::{Error, Failure, Kind, NoTransfer, Peer, Progress, Received, Request, Response};
use siltstone::name::SnapshotName;

use crate::args::Global;
use crate::backend;
use crate::data_dir::Access;
use crate::exit::{Complaint, Exit};
use crate::output::Output;
use crate::progress;
use crate::size;

/// Write a snapshot to stdout, as a stream that `silt recv` reads.
///
/// The stream carries blocks as they are stored, with their fingerprints, and the snapshot's root: who receives it takes
/// nothing on trust.
#[derive(Debug, clap::Args)]
pub(crate) struct Send {
    /// The snapshot.
    #[arg(value_parser = super::snapshot_name, value_name = "VOLUME@NAME")]
    name: SnapshotName,
    /// Send only what differs from this earlier snapshot, which the receiver must have under the same name.
    #[arg(long, value_parser = super::snapshot_name, value_name = "VOLUME@NAME")]
    from: Option<SnapshotName>,
}

impl Send {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        if io::stdout().is_terminal() {
            let message = "a stream is not for a terminal: pipe it into `silt recv`, or redirect it to a file";
            return Err(Complaint::new(Kind::Invalid, message).into());
        }
        let request = Request::Send { name: self.name.to_string(), from: self.from.as_ref().map(ToString::to_string) };
        let bar = progress::bytes(global, &format!("sending {}", self.name), Some(0));
        let mut taker = Taker { out: io::stdout(), bar };
        let answer = backend::transfer(global, Access::Read, &request, &mut taker);
        taker.bar.finish_and_clear();
        match answer? {
            Response::Sent(sent) => {
                taker.out.flush()?;
                let sizes = (size::human(sent.data_bytes), size::human(sent.stream_bytes));
                let text = || format!("sent {}, {} in a stream of {}, root {}", sent.name, sizes.0, sizes.1, sent.root);
                Output::new(global).aside(&sent, text)?;
                Ok(Exit::Ok)
            }
            other => Err(backend::unexpected(&other)),
        }
    }
}

/// Passes a stream on.
struct Taker {
    out: io::Stdout,
    bar: ProgressBar,
}

impl Peer for Taker {
    fn progress(&mut self, progress: &Progress) -> Result<(), Error> {
        progress::Watcher { bar: self.bar.clone() }.progress(progress)
    }

    fn send(&mut self, _offset: u64, data: &[u8]) -> Result<(), Error> {
        let written = self.out.write_all(data);
        written.map_err(|error| {
            let full = error.kind() == io::ErrorKind::StorageFull;
            let kind = if full { Kind::OutOfSpace } else { Kind::Io };
            Failure::new(kind, format!("writing the stream: {error}")).into()
        })
    }

    fn receive(&mut self) -> Result<Received, Error> {
        NoTransfer.receive()
    }
}
