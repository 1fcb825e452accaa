//! Replies as they come off the stream, checked against the requests they answer.

use std::collections::BTreeMap;

use lsm_store::request::{BlockState, StatusExtent};

use super::Loss;
use crate::frontend::nbd::inbox::Inbox;
use crate::frontend::nbd::socket::{Patience, Received, Socket};
use crate::frontend::nbd::wire::transmission::{
    ChunkHeader, ErrorPayload, HolePayload, Reply as Head, SimpleReply, StatusDescriptor, decode_status,
};
use crate::frontend::nbd::wire::{AllocationFlags, ChunkFlags, ChunkType, Errno, STRING_BYTES_MAX};

const BUFFER_BYTES: usize = 64 << 10;

/// Extents that a server may send at once, by the specification.
const EXTENTS_MAX: u32 = 1 << 20;

/// What was agreed on in the handshake.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) structured: bool,
    /// The id of `base:allocation`.
    pub(super) context: Option<u32>,
}

/// What a successful reply brings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Expected {
    Nothing,
    Bytes,
    Extents,
}

/// What a request came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Reply {
    Nothing,
    Bytes(Vec<u8>),
    Extents(Vec<StatusExtent>),
}

/// What one reply or chunk did to its request.
#[derive(Debug)]
pub(super) enum Event {
    More,
    Finished(Result<Reply, Errno>),
}

impl Head {
    /// The request that is answered.
    pub(super) fn cookie(&self) -> crate::frontend::nbd::wire::Cookie {
        match self {
            Self::Simple(reply) => reply.cookie,
            Self::Chunk(header) => header.cookie,
        }
    }
}

/// Bytes from a server, buffered.
#[derive(Debug)]
pub(super) struct Source {
    inbox: Inbox,
}

impl Default for Source {
    fn default() -> Self {
        Self { inbox: Inbox::new(BUFFER_BYTES) }
    }
}

impl Source {
    pub(super) fn pending(&self) -> &[u8] {
        self.inbox.pending()
    }

    pub(super) fn consume(&mut self, len: usize) {
        self.inbox.consume(len);
    }

    /// Receives until `len` bytes are pending.
    pub(super) fn fill(&mut self, socket: &Socket, len: usize) -> Result<(), Loss> {
        while self.pending().len() < len {
            check(self.inbox.receive(len, |buffer| socket.receive(buffer, Patience::Wait))?)?;
        }
        Ok(())
    }

    /// The next head, off the stream.
    pub(super) fn head(&mut self, socket: &Socket) -> Result<Head, Loss> {
        loop {
            if let Some((head, len)) = Head::decode(self.pending())? {
                self.consume(len);
                return Ok(head);
            }
            self.fill(socket, self.pending().len() + 1)?;
        }
    }

    /// Fills `out`: from the buffer first, then straight from the socket.
    fn read_exact(&mut self, socket: &Socket, out: &mut [u8]) -> Result<(), Loss> {
        let buffered = self.pending().len().min(out.len());
        let (front, mut rest) = out.split_at_mut(buffered);
        front.copy_from_slice(&self.pending()[..buffered]);
        self.consume(buffered);
        while !rest.is_empty() {
            // A short rest comes together with the replies behind it.
            if rest.len() < BUFFER_BYTES / 2 {
                self.fill(socket, rest.len())?;
                rest.copy_from_slice(&self.inbox.pending()[..rest.len()]);
                self.consume(rest.len());
                return Ok(());
            }
            let count = check(socket.receive(rest, Patience::Wait)?)?;
            rest = &mut rest[count..];
        }
        Ok(())
    }
}

fn check(received: Received) -> Result<usize, Loss> {
    match received {
        Received::Bytes(count) => Ok(count),
        Received::End => Err(Loss::HungUp),
        Received::Nothing => Err(Loss::Silent),
    }
}

/// A request and what has come for it so far.
#[derive(Debug)]
pub(super) struct Unanswered {
    expected: Expected,
    offset: u64,
    len: u32,
    data: Vec<u8>,
    covered: Coverage,
    extents: Option<Vec<StatusExtent>>,
    error: Option<Errno>,
}

impl Unanswered {
    pub(super) fn new(expected: Expected, offset: u64, len: u32) -> Self {
        let (data, covered, extents, error) = Default::default();
        Self { expected, offset, len, data, covered, extents, error }
    }

    /// Takes the payload that belongs to `head` off the stream.
    pub(super) fn receive(
        &mut self,
        head: Head,
        terms: &Terms,
        source: &mut Source,
        socket: &Socket,
    ) -> Result<Event, Loss> {
        match head {
            Head::Simple(SimpleReply { error: Some(error), .. }) => Ok(Event::Finished(Err(error))),
            Head::Simple(_) => self.receive_simple(terms, source, socket).map(|()| self.finish_with_all()),
            Head::Chunk(_) if !terms.structured => Err(Loss::Protocol("a structured reply that nobody agreed on")),
            Head::Chunk(header) => {
                self.receive_chunk(&header, terms, source, socket)?;
                if header.flags.contains(ChunkFlags::DONE) { self.finish() } else { Ok(Event::More) }
            }
        }
    }

    fn receive_simple(&mut self, terms: &Terms, source: &mut Source, socket: &Socket) -> Result<(), Loss> {
        match self.expected {
            Expected::Nothing => Ok(()),
            Expected::Bytes if !terms.structured => {
                self.allocate();
                source.read_exact(socket, &mut self.data)
            }
            _ => Err(Loss::Protocol("a simple reply where a structured one is due")),
        }
    }

    fn finish_with_all(&mut self) -> Event {
        let reply = match self.expected {
            Expected::Bytes => Reply::Bytes(std::mem::take(&mut self.data)),
            _ => Reply::Nothing,
        };
        Event::Finished(Ok(reply))
    }

    fn allocate(&mut self) {
        if self.data.is_empty() {
            self.data = vec![0; self.len as usize];
        }
    }

    fn receive_chunk(
        &mut self,
        header: &ChunkHeader,
        terms: &Terms,
        source: &mut Source,
        socket: &Socket,
    ) -> Result<(), Loss> {
        match (header.kind, self.expected) {
            (ChunkType::NONE, _) if header.len == 0 && header.flags.contains(ChunkFlags::DONE) => Ok(()),
            (ChunkType::OFFSET_DATA, Expected::Bytes) => self.receive_data(header.len, source, socket),
            (ChunkType::OFFSET_HOLE, Expected::Bytes) => {
                let payload = payload(header.len, HolePayload::BYTES as u32, source, socket)?;
                let hole = HolePayload::decode(payload).ok_or(Loss::Protocol("a malformed hole"))?;
                source.consume(HolePayload::BYTES);
                self.cover(hole.offset, hole.len).map(drop)
            }
            (ChunkType::BLOCK_STATUS, Expected::Extents) => self.receive_extents(header.len, terms, source, socket),
            (kind, _) if kind.is_error() => self.receive_error(header, source, socket),
            _ => Err(Loss::Protocol("a chunk that does not answer the request")),
        }
    }

    fn receive_data(&mut self, len: u32, source: &mut Source, socket: &Socket) -> Result<(), Loss> {
        let data_len = len.checked_sub(8).ok_or(Loss::Protocol("a malformed chunk of data"))?;
        source.fill(socket, 8)?;
        let offset = source.pending().first_chunk().map(|bytes| u64::from_be_bytes(*bytes)).unwrap_or_default();
        source.consume(8);
        let start = self.cover(offset, data_len)?;
        let range = start..start + data_len as usize;
        source.read_exact(socket, &mut self.data[range])
    }

    /// Notes that the bytes at `offset` are known now; where they go in the answer.
    fn cover(&mut self, offset: u64, len: u32) -> Result<usize, Loss> {
        self.allocate();
        let start = offset.checked_sub(self.offset).and_then(|start| u32::try_from(start).ok());
        let end = start.and_then(|start| start.checked_add(len)).filter(|&end| end <= self.len && len > 0);
        let (Some(start), Some(end)) = (start, end) else {
            return Err(Loss::Protocol("a chunk outside of the request"));
        };
        self.covered.add(start, end).ok_or(Loss::Protocol("chunks that overlap"))?;
        Ok(start as usize)
    }

    fn receive_extents(&mut self, len: u32, terms: &Terms, source: &mut Source, socket: &Socket) -> Result<(), Loss> {
        let payload = payload(len, 4 + 8 * EXTENTS_MAX, source, socket)?;
        let (context, descriptors) = decode_status(payload).ok_or(Loss::Protocol("a malformed block status"))?;
        source.consume(len as usize);
        if Some(context) != terms.context || self.extents.is_some() {
            return Err(Loss::Protocol("a block status that was not asked for"));
        }
        self.extents = Some(self.clip(&descriptors));
        Ok(())
    }

    /// The extents within the request; the last one may reach beyond it.
    fn clip(&self, descriptors: &[StatusDescriptor]) -> Vec<StatusExtent> {
        let mut left = u64::from(self.len);
        let mut extents = Vec::with_capacity(descriptors.len());
        for descriptor in descriptors {
            let len = u64::from(descriptor.len).min(left);
            if len == 0 {
                break;
            }
            left -= len;
            extents.push(StatusExtent { len, state: state(AllocationFlags(descriptor.flags)) });
        }
        extents
    }

    fn receive_error(&mut self, header: &ChunkHeader, source: &mut Source, socket: &Socket) -> Result<(), Loss> {
        let payload = payload(header.len, STRING_BYTES_MAX as u32 + 64, source, socket)?;
        let error = ErrorPayload::decode(header.kind, payload).ok_or(Loss::Protocol("a malformed error"))?.error;
        source.consume(header.len as usize);
        self.error.get_or_insert(error);
        Ok(())
    }

    /// The outcome after the last chunk. An error anywhere outweighs all data.
    fn finish(&mut self) -> Result<Event, Loss> {
        if let Some(error) = self.error {
            return Ok(Event::Finished(Err(error)));
        }
        let reply = match self.expected {
            Expected::Nothing => Reply::Nothing,
            Expected::Bytes if self.covered.is_all_of(self.len) => Reply::Bytes(std::mem::take(&mut self.data)),
            Expected::Bytes => return Err(Loss::Protocol("a read that was not answered in full")),
            Expected::Extents => {
                Reply::Extents(self.extents.take().ok_or(Loss::Protocol("a block status without extents"))?)
            }
        };
        Ok(Event::Finished(Ok(reply)))
    }
}

/// The payload of a chunk, left pending.
fn payload<'a>(len: u32, max: u32, source: &'a mut Source, socket: &Socket) -> Result<&'a [u8], Loss> {
    if len > max {
        return Err(Loss::Protocol("a chunk that is too long"));
    }
    source.fill(socket, len as usize)?;
    Ok(&source.pending()[..len as usize])
}

/// A hole whose content is undefined counts as data.
fn state(flags: AllocationFlags) -> BlockState {
    match (flags.contains(AllocationFlags::ZERO), flags.contains(AllocationFlags::HOLE)) {
        (true, true) => BlockState::Hole,
        (true, false) => BlockState::Zero,
        (false, _) => BlockState::Data,
    }
}

/// Ranges that do not overlap, adjacent ones as one: start to end.
#[derive(Debug, Default)]
struct Coverage(BTreeMap<u32, u32>);

impl Coverage {
    /// Adds a range; `None` if a part of it is there already.
    fn add(&mut self, start: u32, end: u32) -> Option<()> {
        let before = self.0.range(..=start).next_back().map(|(&start, &end)| (start, end));
        let after = self.0.range(start..).next().map(|(&start, &end)| (start, end));
        if before.is_some_and(|(_, before_end)| before_end > start)
            || after.is_some_and(|(after_start, _)| after_start < end)
        {
            return None;
        }
        let start =
            before.filter(|&(_, before_end)| before_end == start).map_or(start, |(before_start, _)| before_start);
        let end = match after {
            Some((after_start, after_end)) if after_start == end => {
                self.0.remove(&after_start);
                after_end
            }
            _ => end,
        };
        self.0.insert(start, end);
        Some(())
    }

    fn is_all_of(&self, len: u32) -> bool {
        len == 0 || (self.0.len() == 1 && self.0.get(&0) == Some(&len))
    }
}
