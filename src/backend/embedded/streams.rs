//! Streams from and into a store that this process has to itself.

use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::sync::Arc;

use blockdev::lsm_store::id::BLOCK_BYTES;
use blockdev::name::{ExportName, SnapshotName, VolumeName};
use blockdev::transfer::{self, Outlet, Receiver, TransferError};

use super::Embedded;
use crate::backend::{Other, PIECE_BYTES, Streams, read_piece};
use crate::error::{Cause, Caused};
use crate::progress::{self, Watch};
use crate::root_digest::Root;
use crate::streams::{ReceiveOptions, Received, Sent};

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
        let mut outlet = Writing { to, watch, broken: None };
        let sent = transfer::send(&self.node, name, base, &mut outlet);
        let sent = sent.map_err(|error| outlet.broken.unwrap_or(Cause::Transfer(error)))?;
        Ok(describe(&sent))
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
        let mut speaking = Speaking { other, watch, broken: None };
        let sent = transfer::offer(&self.node, name, base, &mut speaking);
        Ok(describe(&sent.map_err(|error| speaking.broken.unwrap_or(Cause::Transfer(error)))?))
    }

    fn accept(
        &self,
        name: &VolumeName,
        options: &ReceiveOptions,
        other: &mut Other<'_>,
        watch: Watch<'_>,
    ) -> Caused<Received> {
        let mut speaking = Speaking { other, watch, broken: None };
        let accepted = transfer::accept(Arc::clone(&self.node), name.clone(), wishes(options), &mut speaking);
        Ok(received(accepted.map_err(|error| speaking.broken.unwrap_or(Cause::Transfer(error)))?))
    }
}

fn wishes(options: &ReceiveOptions) -> transfer::ReceiveOptions {
    transfer::ReceiveOptions { codec: options.codec.unwrap_or_default(), force: options.force }
}

fn describe(sent: &transfer::Sent) -> Sent {
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

/// Where a stream goes, and who hears of it.
struct Writing<'a> {
    to: &'a mut dyn Write,
    watch: Watch<'a>,
    /// Why the transfer was stopped.
    broken: Option<Cause>,
}

impl Writing<'_> {
    fn note(&mut self, done: Caused<()>) -> Result<(), TransferError> {
        done.map_err(|cause| {
            self.broken = Some(cause);
            TransferError::Stopped
        })
    }
}

impl Outlet for Writing<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), TransferError> {
        let written = self.to.write_all(bytes).map_err(Cause::Output);
        self.note(written)
    }

    fn progress(&mut self, _what: &str, done: u64, total: u64) -> Result<(), TransferError> {
        let told = progress::tell(self.watch, done, Some(total));
        self.note(told)
    }
}

/// The other end of an exchange, and who hears of it.
struct Speaking<'a, 'o> {
    other: &'a mut Other<'o>,
    watch: Watch<'a>,
    /// Why the exchange was stopped.
    broken: Option<Cause>,
}

impl Speaking<'_, '_> {
    fn note<T>(&mut self, done: Caused<T>) -> Result<T, TransferError> {
        done.map_err(|cause| {
            self.broken = Some(cause);
            TransferError::Stopped
        })
    }
}

impl Outlet for Speaking<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), TransferError> {
        let said = self.other.say(bytes);
        self.note(said)
    }

    fn read(&mut self) -> Result<Vec<u8>, TransferError> {
        let heard = self.other.hear();
        self.note(heard)
    }

    fn progress(&mut self, _what: &str, done: u64, total: u64) -> Result<(), TransferError> {
        let told = progress::tell(self.watch, done, Some(total));
        self.note(told)
    }
}
