//! Streams from and into a store that this process has to itself.

use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::sync::Arc;

use blockdev::catalog::ReceptionEntry;
use blockdev::lsm_store::id::BLOCK_BYTES;
use blockdev::name::{ExportName, SnapshotName, VolumeName};
use blockdev::transfer::{self, Outlet, Receiver, TransferError};

use super::Embedded;
use crate::backend::{Other, PIECE_BYTES, Streams, read_piece};
use crate::error::{Cause, Caused};
use crate::progress::{self, Watch};
use crate::root_digest::Root;
use crate::streams::{ReceiveOptions, Received, ReceptionInfo, Sent};

impl Streams for Embedded {
    fn root(&self, name: &ExportName, watch: Watch<'_>) -> Caused<Root> {
        let rooted = watched(watch, |watch| self.node.root(name, watch))?;
        Ok(Root(rooted.root))
    }

    fn send(
        &self,
        name: &SnapshotName,
        base: Option<&SnapshotName>,
        to: &mut dyn Write,
        watch: Watch<'_>,
    ) -> Caused<Sent> {
        let mut outlet = Writing { to, teller: Teller::new(watch) };
        let sent = transfer::send(&self.node, name, base, &mut outlet);
        outlet.teller.settle(sent).map(describe)
    }

    fn receive(
        &self,
        name: &VolumeName,
        options: &ReceiveOptions,
        from: &mut dyn Read,
        watch: Watch<'_>,
    ) -> Caused<Received> {
        let mut receiver = Receiver::new(Arc::clone(&self.node), name.clone(), wishes(options));
        loop {
            progress::tell(watch, receiver.position_bytes(), receiver.size_bytes())?;
            let piece = read_piece(from, PIECE_BYTES)?;
            if piece.is_empty() {
                break;
            }
            watched(watch, |watch| receiver.push(&piece, watch))?;
        }
        Ok(received(watched(watch, |watch| receiver.finish(watch))?))
    }

    fn offer(
        &self,
        name: &SnapshotName,
        base: Option<&SnapshotName>,
        other: &mut Other<'_>,
        watch: Watch<'_>,
    ) -> Caused<Sent> {
        let mut speaking = Speaking { other, teller: Teller::new(watch) };
        let sent = transfer::offer(&self.node, name, base, &mut speaking);
        speaking.teller.settle(sent).map(describe)
    }

    fn accept(
        &self,
        name: &VolumeName,
        options: &ReceiveOptions,
        other: &mut Other<'_>,
        watch: Watch<'_>,
    ) -> Caused<Received> {
        let mut speaking = Speaking { other, teller: Teller::new(watch) };
        let accepted = transfer::accept(Arc::clone(&self.node), name.clone(), wishes(options), &mut speaking);
        speaking.teller.settle(accepted).map(received)
    }

    fn receptions(&self) -> Caused<Vec<ReceptionInfo>> {
        let info = |(name, entry): (VolumeName, ReceptionEntry)| ReceptionInfo {
            name: name.to_string(),
            size_bytes: entry.size_bytes,
            began_ms: entry.began_ms,
            expires_ms: entry.expires_ms,
        };
        Ok(self.node.receptions().into_iter().map(info).collect())
    }

    fn remove_reception(&self, name: &VolumeName) -> Caused<()> {
        Ok(self.node.remove_reception(name)?)
    }
}

fn wishes(options: &ReceiveOptions) -> transfer::ReceiveOptions {
    transfer::ReceiveOptions { codec: options.codec.unwrap_or_default(), force: options.force }
}

fn describe(sent: transfer::Sent) -> Sent {
    Sent {
        size_bytes: sent.snapshot.info.size_bytes,
        data_bytes: bytes(sent.data_blocks),
        had_bytes: bytes(sent.had_blocks),
        stream_bytes: sent.stream_bytes,
        root: Root(sent.root),
    }
}

fn received(received: transfer::Received) -> Received {
    let snapshot = received.snapshot;
    let base = received.base.map(|base| SnapshotName { volume: snapshot.name.volume.clone(), snapshot: base });
    Received {
        name: snapshot.name.to_string(),
        id: snapshot.info.id.0,
        base: base.map(|base| base.to_string()),
        size_bytes: snapshot.info.size_bytes,
        data_bytes: bytes(received.data_blocks),
        had_bytes: bytes(received.had_blocks),
        root: Root(received.root),
    }
}

fn bytes(blocks: u64) -> u64 {
    blocks * BLOCK_BYTES as u64
}

/// Does a part of a transfer that tells how far it has come.
fn watched<T>(watch: Watch<'_>, work: impl FnOnce(&mut transfer::Watch<'_>) -> Result<T, TransferError>) -> Caused<T> {
    let mut cancelled = false;
    let done = work(&mut |done, total| match progress::tell(watch, done, Some(total)) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => {
            cancelled = true;
            ControlFlow::Break(())
        }
    });
    if cancelled { Err(Cause::Cancelled) } else { Ok(done?) }
}

/// Who hears of a transfer, and why it was stopped.
struct Teller<'a> {
    watch: Watch<'a>,
    /// What broke first.
    broken: Option<Cause>,
}

impl<'a> Teller<'a> {
    fn new(watch: Watch<'a>) -> Self {
        Self { watch, broken: None }
    }

    fn note<T>(&mut self, done: Caused<T>) -> Result<T, TransferError> {
        done.map_err(|cause| {
            self.broken.get_or_insert(cause);
            TransferError::Stopped
        })
    }

    fn tell(&mut self, done: u64, total: u64) -> Result<(), TransferError> {
        let told = progress::tell(self.watch, done, Some(total));
        self.note(told)
    }

    /// What a transfer came to. What is done is done, and what failed by itself failed, even if the other end cannot be told.
    fn settle<T>(self, done: Result<T, TransferError>) -> Caused<T> {
        done.map_err(|error| match (error, self.broken) {
            (TransferError::Stopped, Some(cause)) => cause,
            (error, _) => Cause::Transfer(error),
        })
    }
}

/// Where a stream goes.
struct Writing<'a> {
    to: &'a mut dyn Write,
    teller: Teller<'a>,
}

impl Outlet for Writing<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), TransferError> {
        let written = self.to.write_all(bytes).map_err(Cause::Output);
        self.teller.note(written)
    }

    fn progress(&mut self, _what: &str, done: u64, total: u64) -> Result<(), TransferError> {
        self.teller.tell(done, total)
    }
}

/// The other end of an exchange.
struct Speaking<'a, 'o> {
    other: &'a mut Other<'o>,
    teller: Teller<'a>,
}

impl Outlet for Speaking<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), TransferError> {
        let said = self.other.say(bytes);
        self.teller.note(said)
    }

    fn read(&mut self) -> Result<Vec<u8>, TransferError> {
        let heard = self.other.hear();
        self.teller.note(heard)
    }

    fn progress(&mut self, _what: &str, done: u64, total: u64) -> Result<(), TransferError> {
        self.teller.tell(done, total)
    }
}
