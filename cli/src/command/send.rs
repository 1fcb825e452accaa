//! `silt send`

mod offer;
mod place;

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
use place::{Certificates, Place};

/// Send a snapshot: to another store, of the blocks only what it lacks, or to stdout as a stream that `silt recv` reads.
///
/// The stream carries blocks as they are stored, with their fingerprints, and the snapshot's root: who receives it takes
/// nothing on trust.
///
/// With --to or --via the receiver says what it has. A full snapshot then makes a new volume there, or goes on from the newest
/// snapshot of one that is there, and it is not necessary to say what both sides have. What was broken off
/// goes on: within 7 days the same command sends only what had not come.
///
/// For example: silt send vm@monday --to backup.example.net:vm, which goes by ssh; or, to a daemon with --receive, silt send
/// vm@monday --to silt://backup.example.net/vm --tls-ca ca.pem --tls-cert me.pem --tls-key me.key
#[derive(Debug, clap::Args)]
pub(crate) struct Send {
    /// The snapshot.
    #[arg(value_parser = super::snapshot_name, value_name = "VOLUME@NAME")]
    name: SnapshotName,
    /// Send only what differs from this earlier snapshot, which the receiver must have under the same name.
    #[arg(long, value_parser = super::snapshot_name, value_name = "VOLUME@NAME")]
    from: Option<SnapshotName>,
    /// Send to this volume on another machine: by `ssh [USER@]HOST silt recv --serve VOLUME`, or, as silt://HOST[:PORT]/VOLUME, to
    /// what `silt serve --receive` listens at there (port 10810).
    #[arg(long, value_name = "[USER@]HOST:VOLUME|URI", conflicts_with = "via")]
    to: Option<Place>,
    #[command(flatten)]
    certificates: Certificates,
    /// Send by a command of the shell that leads to `silt recv --serve VOLUME`, for example 'ssh -p 2222 host silt recv --serve
    /// vm --data /srv/silt'.
    #[arg(long, value_name = "COMMAND")]
    via: Option<String>,
}

impl Send {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let (name, from) = (self.name.to_string(), self.from.as_ref().map(ToString::to_string));
        match (&self.to, &self.via) {
            (Some(Place::Daemon(remote)), _) => {
                remote.send(global, &Request::Offer { name, from }, &self.certificates.files()?)
            }
            _ if self.certificates.are_given() => Err(Complaint::new(
                Kind::Invalid,
                "certificates are for --to silt://HOST/VOLUME alone: ssh and other commands have their own",
            )
            .into()),
            (Some(Place::Ssh(ssh)), _) => offer::run(global, &Request::Offer { name, from }, ssh.command()),
            (None, Some(command)) => offer::run(global, &Request::Offer { name, from }, offer::shell(command)),
            (None, None) => self.write(global, &Request::Send { name, from }),
        }
    }

    fn write(&self, global: &Global, request: &Request) -> anyhow::Result<Exit> {
        if io::stdout().is_terminal() {
            let message =
                "a stream is not for a terminal: pipe it into `silt recv`, redirect it to a file, or say --to or --via";
            return Err(Complaint::new(Kind::Invalid, message).into());
        }
        let bar = progress::bytes(global, &format!("sending {}", self.name), Some(0));
        let mut taker = Taker { out: io::stdout(), bar };
        let answer = backend::transfer(global, Access::Read, request, &mut taker);
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
