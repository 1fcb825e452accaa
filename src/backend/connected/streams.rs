//! Streams from and to a daemon. See `docs/protocol.md`.

use std::io::{Read, Write};

use blockdev::name::{ExportName, SnapshotName, VolumeName};
use blockdev::net::control::{Chunk, Progress, ReceiveSnapshot, Received as Given, Request, Response};

use super::calls::Listener;
use super::{Connected, describe};
use crate::backend::{Other, PIECE_BYTES, Streams, read_piece};
use crate::error::{Cause, Caused};
use crate::progress::{self, Watch};
use crate::root_digest::Root;
use crate::streams::{ReceiveOptions, Received, ReceptionInfo, Sent};

impl Streams for Connected {
    fn root(&self, name: &ExportName, watch: Watch<'_>) -> Caused<Root> {
        let mut teller = Teller::new(watch);
        teller.tell()?;
        let request = Request::Root { name: name.to_string() };
        match self.calls.ask(&request, &mut |step: &Progress| teller.hear(step))? {
            Response::Root(rooted) => describe::root(&rooted.root),
            _ => Err(Cause::Answer),
        }
    }

    fn send(
        &self,
        name: &SnapshotName,
        base: Option<&SnapshotName>,
        to: &mut dyn Write,
        watch: Watch<'_>,
    ) -> Caused<Sent> {
        let mut taking = Taking { to, position: 0, teller: Teller::new(watch) };
        taking.teller.tell()?;
        let request = Request::Send { name: name.to_string(), from: base.map(ToString::to_string) };
        match self.calls.ask(&request, &mut taking)? {
            Response::Sent(sent) if sent.stream_bytes == taking.position => describe::sent(&sent),
            _ => Err(Cause::Answer),
        }
    }

    fn receive(
        &self,
        name: &VolumeName,
        options: &ReceiveOptions,
        from: &mut dyn Read,
        watch: Watch<'_>,
    ) -> Caused<Received> {
        let request = Request::Receive(wishes(name, options));
        let mut giving = Giving { from, position: 0, ended: false, teller: Teller::new(watch) };
        received(self.calls.ask(&request, &mut giving)?)
    }

    fn offer(
        &self,
        name: &SnapshotName,
        base: Option<&SnapshotName>,
        other: &mut Other<'_>,
        watch: Watch<'_>,
    ) -> Caused<Sent> {
        let request = Request::Offer { name: name.to_string(), from: base.map(ToString::to_string) };
        match self.converse(&request, other, watch)? {
            Response::Sent(sent) => describe::sent(&sent),
            _ => Err(Cause::Answer),
        }
    }

    fn accept(
        &self,
        name: &VolumeName,
        options: &ReceiveOptions,
        other: &mut Other<'_>,
        watch: Watch<'_>,
    ) -> Caused<Received> {
        received(self.converse(&Request::Accept(wishes(name, options)), other, watch)?)
    }

    fn receptions(&self) -> Caused<Vec<ReceptionInfo>> {
        match self.ask(&Request::Status)? {
            Response::Status(status) => status.receptions.into_iter().map(describe::reception).collect(),
            _ => Err(Cause::Answer),
        }
    }

    fn remove_reception(&self, name: &VolumeName) -> Caused<()> {
        self.order(&Request::RemoveReception { name: name.to_string() })
    }
}

impl Connected {
    fn converse(&self, request: &Request, other: &mut Other<'_>, watch: Watch<'_>) -> Caused<Response> {
        let mut speaking = Speaking { other, heard: 0, teller: Teller::new(watch) };
        speaking.teller.tell()?;
        self.calls.ask(request, &mut speaking)
    }
}

fn received(answer: Response) -> Caused<Received> {
    match answer {
        Response::Received(received) => describe::received(received),
        _ => Err(Cause::Answer),
    }
}

fn wishes(name: &VolumeName, options: &ReceiveOptions) -> ReceiveSnapshot {
    let codec = options.codec.map(|codec| codec.to_string());
    ReceiveSnapshot { name: name.to_string(), force: options.force, codec, replicas: None }
}

/// Tells what the daemon has told last, so that a watch is heard also while the daemon says nothing.
struct Teller<'a> {
    watch: Watch<'a>,
    done: u64,
    total: Option<u64>,
}

impl<'a> Teller<'a> {
    fn new(watch: Watch<'a>) -> Self {
        Self { watch, done: 0, total: None }
    }

    fn tell(&mut self) -> Caused<()> {
        progress::tell(self.watch, self.done, self.total)
    }

    fn hear(&mut self, step: &Progress) -> Caused<()> {
        (self.done, self.total) = (step.done, step.total);
        self.tell()
    }
}

/// A stream on its way from the daemon.
struct Taking<'a> {
    to: &'a mut dyn Write,
    /// Bytes that have come.
    position: u64,
    teller: Teller<'a>,
}

impl Listener for Taking<'_> {
    fn progress(&mut self, progress: &Progress) -> Caused<()> {
        self.teller.hear(progress)
    }

    fn content(&mut self, offset: u64, data: &[u8]) -> Caused<()> {
        if offset != self.position {
            return Err(Cause::Answer);
        }
        self.teller.tell()?;
        self.to.write_all(data).map_err(Cause::Output)?;
        self.position += data.len() as u64;
        Ok(())
    }
}

/// A stream on its way to the daemon.
struct Giving<'a> {
    from: &'a mut dyn Read,
    /// Bytes that were given.
    position: u64,
    /// All of it was given: the daemon may name the snapshot at any moment, and only its answer says whether it has.
    ended: bool,
    teller: Teller<'a>,
}

impl Listener for Giving<'_> {
    fn progress(&mut self, progress: &Progress) -> Caused<()> {
        let told = self.teller.hear(progress);
        if self.ended { Ok(()) } else { told }
    }

    fn give(&mut self) -> Caused<Given> {
        self.teller.tell()?;
        let (offset, data) = (self.position, read_piece(self.from, PIECE_BYTES)?);
        self.position += data.len() as u64;
        self.ended = data.is_empty();
        Ok(if self.ended { Given::End { size_bytes: offset } } else { Given::Chunk(Chunk { offset, data }) })
    }
}

/// The other end of an exchange with the daemon.
struct Speaking<'a, 'o> {
    other: &'a mut Other<'o>,
    /// Bytes that the other end has said.
    heard: u64,
    teller: Teller<'a>,
}

impl Listener for Speaking<'_, '_> {
    fn progress(&mut self, progress: &Progress) -> Caused<()> {
        self.teller.hear(progress)
    }

    fn content(&mut self, _offset: u64, data: &[u8]) -> Caused<()> {
        self.other.say(data)
    }

    fn give(&mut self) -> Caused<Given> {
        self.teller.tell()?;
        let (offset, data) = (self.heard, self.other.hear()?);
        self.heard += data.len() as u64;
        Ok(if data.is_empty() { Given::End { size_bytes: offset } } else { Given::Chunk(Chunk { offset, data }) })
    }
}
