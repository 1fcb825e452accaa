//! Replies on their way out: heads and small pieces in one buffer, stored bytes by reference, all sent in one call.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;
use lsm_store::read::{Piece, ReadData};

use super::channel::{Broken, Channel};
use super::socket::Patience;
use super::wire::transmission::{ChunkHeader, ErrorPayload, HolePayload, SimpleReply};
use super::wire::{ChunkFlags, ChunkType, Cookie, Errno};

#[cfg(test)]
mod tests;

/// Slices the kernel takes in one call.
const SLICES_MAX: usize = 1024;

/// Where zeros come from that have to be sent as bytes.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Zeros shorter than this travel as data: a hole chunk would cost about as much, and the specification wants
/// chunks in multiples of it.
const HOLE_BYTES_MIN: usize = 512;

/// Pieces shorter than this are copied behind the head, which is cheaper than a slice of their own.
const COPY_BYTES_MAX: usize = 256;

#[derive(Debug)]
enum Part {
    /// The next `usize` bytes of the buffer of heads.
    Inline(usize),
    Shared(Bytes),
    Zeros(usize),
}

impl Part {
    fn len(&self) -> usize {
        match self {
            Self::Inline(len) | Self::Zeros(len) => *len,
            Self::Shared(bytes) => bytes.len(),
        }
    }
}

/// How the bytes of a READ are wrapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ReadStyle {
    Simple,
    /// Chunks, zeros as holes.
    Chunks,
    /// One chunk (the DF flag).
    OneChunk,
}

#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Heads and small pieces; those before `inline_sent` have been sent.
    inline: Vec<u8>,
    inline_sent: usize,
    parts: VecDeque<Part>,
    /// Bytes of the first part that have been sent.
    front_sent: usize,
    unsent_bytes: usize,
    /// Replies since the outbox was last empty.
    replies: usize,
}

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Bytes not yet sent.
    pub(super) fn unsent_bytes(&self) -> usize {
        self.unsent_bytes
    }

    /// Replies put in since the outbox was last empty: never less than those not yet sent.
    pub(super) fn replies(&self) -> usize {
        self.replies
    }

    /// Success of a request whose reply has no payload. A simple reply, which is allowed among structured ones.
    pub(super) fn push_done(&mut self, cookie: Cookie) {
        self.replies += 1;
        self.push_inline(&SimpleReply { error: None, cookie }.encode());
    }

    /// Failure of a request, in the style its client understands best.
    pub(super) fn push_error(&mut self, cookie: Cookie, error: Errno, offset: Option<u64>, structured: bool) {
        self.replies += 1;
        if structured {
            let before = self.inline.len();
            ErrorPayload { error, message: message(error), offset }.encode_chunk(cookie, &mut self.inline);
            self.account_inline(self.inline.len() - before);
        } else {
            self.push_inline(&SimpleReply { error: Some(error), cookie }.encode());
        }
    }

    /// The bytes of a READ that began at `offset`.
    pub(super) fn push_read(&mut self, cookie: Cookie, offset: u64, data: &ReadData, style: ReadStyle) {
        self.replies += 1;
        match style {
            ReadStyle::Simple => {
                self.push_inline(&SimpleReply { error: None, cookie }.encode());
                self.push_pieces(data.pieces());
            }
            _ if data.is_empty() => self.push_chunk(cookie, ChunkFlags::DONE, ChunkType::NONE, 0),
            ReadStyle::Chunks => self.push_chunks(cookie, offset, data.pieces(), false),
            ReadStyle::OneChunk => self.push_chunks(cookie, offset, data.pieces(), true),
        }
    }

    fn push_chunks(&mut self, cookie: Cookie, mut offset: u64, mut pieces: &[Piece], whole: bool) {
        let is_hole = |piece: &Piece| !whole && matches!(piece, Piece::Zeros(len) if *len >= HOLE_BYTES_MIN);
        while let Some(first) = pieces.first() {
            let count = if is_hole(first) { 1 } else { pieces.iter().position(is_hole).unwrap_or(pieces.len()) };
            let (run, rest) = pieces.split_at(count);
            let len: usize = run.iter().map(Piece::len).sum();
            let flags = ChunkFlags::DONE.when(rest.is_empty());
            if is_hole(first) {
                self.push_chunk(cookie, flags, ChunkType::OFFSET_HOLE, HolePayload::BYTES);
                self.push_inline(&HolePayload { offset, len: len as u32 }.encode());
            } else {
                self.push_chunk(cookie, flags, ChunkType::OFFSET_DATA, 8 + len);
                self.push_inline(&offset.to_be_bytes());
                self.push_pieces(run);
            }
            offset += len as u64;
            pieces = rest;
        }
    }

    /// The extents of one context for BLOCK_STATUS; `payload` is the encoded chunk payload.
    pub(super) fn push_status(&mut self, cookie: Cookie, payload: &[u8], last: bool) {
        self.replies += usize::from(last);
        self.push_chunk(cookie, ChunkFlags::DONE.when(last), ChunkType::BLOCK_STATUS, payload.len());
        self.push_inline(payload);
    }

    fn push_chunk(&mut self, cookie: Cookie, flags: ChunkFlags, kind: ChunkType, len: usize) {
        let len = u32::try_from(len).expect("a chunk is not larger than the largest payload");
        self.push_inline(&ChunkHeader { flags, kind, cookie, len }.encode());
    }

    fn push_pieces(&mut self, pieces: &[Piece]) {
        for piece in pieces {
            match piece {
                Piece::Bytes(bytes) if bytes.len() <= COPY_BYTES_MAX => self.push_inline(bytes),
                Piece::Bytes(bytes) => self.push_part(Part::Shared(bytes.clone())),
                Piece::Zeros(len) => self.push_part(Part::Zeros(*len)),
            }
        }
    }

    fn push_part(&mut self, part: Part) {
        self.unsent_bytes += part.len();
        self.parts.push_back(part);
    }

    fn push_inline(&mut self, bytes: &[u8]) {
        self.inline.extend_from_slice(bytes);
        self.account_inline(bytes.len());
    }

    fn account_inline(&mut self, len: usize) {
        self.unsent_bytes += len;
        match self.parts.back_mut() {
            Some(Part::Inline(before)) => *before += len,
            _ => self.parts.push_back(Part::Inline(len)),
        }
    }

    /// Sends what the kernel takes. Returns the bytes that went; 0 if it takes none now.
    pub(super) fn send(&mut self, channel: &mut Channel<'_>, patience: Patience) -> Result<usize, Broken> {
        let mut sent_in_all = 0;
        while !self.is_empty() {
            let mut slices = self.slices();
            let offered: usize = slices.iter().map(|slice| slice.len()).sum();
            let sent = channel.send(&mut slices, patience)?;
            self.advance(sent);
            sent_in_all += sent;
            if sent < offered {
                break;
            }
        }
        Ok(sent_in_all)
    }

    fn slices(&self) -> Vec<IoSlice<'_>> {
        let mut slices = Vec::with_capacity(self.parts.len().min(SLICES_MAX));
        let mut inline = &self.inline[self.inline_sent..];
        let mut skip = self.front_sent;
        for part in &self.parts {
            if slices.len() == SLICES_MAX {
                break;
            }
            match part {
                Part::Inline(len) => {
                    let (here, rest) = inline.split_at(*len - skip);
                    slices.push(IoSlice::new(here));
                    inline = rest;
                }
                Part::Shared(bytes) => slices.push(IoSlice::new(&bytes[skip..])),
                Part::Zeros(len) => push_zeros(*len - skip, &mut slices),
            }
            skip = 0;
        }
        slices
    }

    fn advance(&mut self, mut sent: usize) {
        self.unsent_bytes -= sent;
        while let Some(front) = self.parts.front() {
            let here = sent.min(front.len() - self.front_sent);
            if matches!(front, Part::Inline(_)) {
                self.inline_sent += here;
            }
            self.front_sent += here;
            sent -= here;
            if self.front_sent < front.len() {
                return;
            }
            self.front_sent = 0;
            self.parts.pop_front();
        }
        self.inline.clear();
        self.inline_sent = 0;
        self.replies = 0;
    }

    /// Gives memory back; for an empty outbox.
    pub(super) fn shrink(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }
}

fn push_zeros(mut len: usize, slices: &mut Vec<IoSlice<'_>>) {
    while len > 0 && slices.len() < SLICES_MAX {
        let here = len.min(ZEROS.len());
        slices.push(IoSlice::new(&ZEROS[..here]));
        len -= here;
    }
}

/// The failure for people. Fixed texts: what the store says names files, which is nothing for a tenant.
fn message(error: Errno) -> &'static str {
    match error {
        Errno::PERM => "the export is read-only",
        Errno::INVAL => "the request is invalid or past the end of the export",
        Errno::NOSPC => "no space left, or past the end of the export",
        Errno::OVERFLOW => "the request is larger than 32 MiB",
        _ => "the device failed",
    }
}
