//! Reads: plans carried out, one after the other or with many under way.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustc_hash::FxHashMap;

use super::inner::Inner;
use super::plan::{Fetch, Plan, Source};
use super::volume::VolumeState;
use crate::codec::Decompressor;
use crate::device::{AlignedBuffer, BufferPool, ReadQueue, Wake};
use crate::error::{Error, Result};
use crate::id::{BLOCK_BYTES, BLOCK_SHIFT, BlockIndex, Location};
use crate::read::{Piece, ReadData};
use crate::segment;

/// Device reads of one [`VolumeReads`] under way at most.
const DEPTH: usize = 64;

/// Reads of at most this many blocks leave their blocks in the cache; longer ones are streams, which would only
/// displace what is read again.
pub(super) const CACHED_BLOCKS_MAX: usize = 16;

/// A part of an answer under construction.
enum Part {
    Zeros(usize),
    Memory(Bytes),
    /// Blocks from the device, the first of which is block `first` of the read.
    Buffer {
        first: usize,
        bytes: Vec<u8>,
    },
}

/// A read whose blocks are on their way.
struct Assembly {
    skip: usize,
    len: usize,
    parts: Vec<Part>,
    block_count: usize,
}

impl Assembly {
    /// Makes room for the blocks that come from the device.
    fn new(plan: &mut Plan) -> Self {
        let sources = std::mem::take(&mut plan.sources);
        let block_count = sources.len();
        let mut parts: Vec<Part> = Vec::new();
        for (index, source) in sources.into_iter().enumerate() {
            match (parts.last_mut(), source) {
                (Some(Part::Zeros(len)), Source::Zeros) => *len += BLOCK_BYTES,
                (_, Source::Zeros) => parts.push(Part::Zeros(BLOCK_BYTES)),
                (_, Source::Memory(bytes)) => parts.push(Part::Memory(bytes)),
                (Some(Part::Buffer { bytes, .. }), Source::Device) => bytes.resize(bytes.len() + BLOCK_BYTES, 0),
                (_, Source::Device) => parts.push(Part::Buffer { first: index, bytes: vec![0; BLOCK_BYTES] }),
            }
        }
        Self { skip: plan.skip, len: plan.len, parts, block_count }
    }

    /// Where block `index` of the read, which comes from the device, has to go.
    fn block_mut(&mut self, index: usize) -> &mut [u8] {
        let within = |part: &&mut Part| match part {
            Part::Buffer { first, bytes } => *first <= index && index < *first + bytes.len() / BLOCK_BYTES,
            Part::Zeros(_) | Part::Memory(_) => false,
        };
        match self.parts.iter_mut().find(within) {
            Some(Part::Buffer { first, bytes }) => {
                let start = (index - *first) * BLOCK_BYTES;
                &mut bytes[start..start + BLOCK_BYTES]
            }
            _ => panic!("block {index} of the read comes from the device"),
        }
    }

    /// The answer, cut to the bytes asked for.
    fn finish(self) -> ReadData {
        let mut data = ReadData::default();
        let (mut skip, mut left) = (self.skip, self.len);
        for part in self.parts {
            let piece = match part {
                Part::Zeros(len) => {
                    let len = (len - skip).min(left);
                    Piece::Zeros(len)
                }
                Part::Memory(bytes) => Piece::Bytes(bytes.slice(skip..bytes.len().min(skip + left))),
                Part::Buffer { bytes, .. } => {
                    let end = bytes.len().min(skip + left);
                    Piece::Bytes(Bytes::from(bytes).slice(skip..end))
                }
            };
            skip = 0;
            left -= piece.len();
            data.push(piece);
        }
        data
    }
}

/// Decodes what a fetch brought into the read it belongs to.
fn deliver(
    inner: &Inner,
    fetch: &Fetch,
    bytes: &[u8],
    assembly: &mut Assembly,
    with: &mut Decompressor,
    scratch: &mut Vec<u8>,
) -> Result<()> {
    let keep = assembly.block_count <= CACHED_BLOCKS_MAX;
    let mut group: Option<u32> = None;
    for want in &fetch.wants {
        let start = (u64::from(want.place.offset) - fetch.offset) as usize;
        let frame = &bytes[start..start + want.place.len as usize];
        let block = assembly.block_mut(want.index);
        if want.place.blocks == 1 {
            fetch.segment.decode(&want.place, frame, with, block)?;
        } else {
            // Blocks of one group follow one another: it is decoded once for all of them.
            if group != Some(want.place.offset) {
                scratch.resize(want.place.decoded_bytes(), 0);
                fetch.segment.decode(&want.place, frame, with, scratch)?;
                group = Some(want.place.offset);
            }
            let at = want.place.index_of(want.slot) * BLOCK_BYTES;
            block.copy_from_slice(&scratch[at..at + BLOCK_BYTES]);
        }
        if keep {
            let location = Location { segment: fetch.segment.id(), slot: want.slot };
            inner.blocks.insert(location, Bytes::copy_from_slice(block));
        }
    }
    Ok(())
}

fn read_failed(fetch: &Fetch, error: std::io::Error) -> Error {
    let path = segment::path(fetch.segment.id());
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => Error::corrupt(path, fetch.offset, "the file is too short"),
        _ => Error::io("reading", path, error),
    }
}

impl Inner {
    /// Reads bytes of a volume, waiting for the device.
    pub(super) fn read_bytes(&self, volume: &VolumeState, offset: u64, len: usize) -> Result<ReadData> {
        if len == 0 {
            return Ok(ReadData::default());
        }
        let mut plan = self.plan(&volume.lineage(), offset, len)?;
        let mut assembly = Assembly::new(&mut plan);
        let (mut with, mut scratch) = (Decompressor::new(), Vec::new());
        for fetch in &plan.fetches {
            let mut buffer = AlignedBuffer::zeroed(fetch.len);
            fetch.segment.file().read_at(&mut buffer, fetch.offset).map_err(|error| read_failed(fetch, error))?;
            deliver(self, fetch, &buffer, &mut assembly, &mut with, &mut scratch)?;
        }
        Ok(assembly.finish())
    }

    /// Reads whole blocks of a volume, waiting for the device.
    pub(super) fn read_blocks(&self, volume: &VolumeState, first: BlockIndex, count: usize) -> Result<ReadData> {
        self.read_bytes(volume, first.byte_offset(), count << BLOCK_SHIFT)
    }
}

/// Buffers a thread keeps for its next reads.
const BUFFERS_IDLE_BYTES: usize = 2 << 20;

/// A read under way.
struct Request {
    token: u64,
    assembly: Assembly,
    /// Fetches not yet delivered.
    missing: usize,
}

/// Reads of one volume under way on behalf of one thread. What is in memory is answered at once; what is not never
/// blocks the thread, which sleeps in [`VolumeReads::wait`] for its socket and its reads together.
pub struct VolumeReads {
    inner: Arc<Inner>,
    state: Arc<VolumeState>,
    queue: Box<dyn ReadQueue>,
    requests: FxHashMap<u64, Request>,
    next_request: u64,
    /// Fetches under way, by the queue's token.
    fetches: FxHashMap<u64, (u64, Fetch)>,
    next_fetch: u64,
    /// Fetches for which the queue had no room yet.
    backlog: VecDeque<(u64, Fetch)>,
    finished: VecDeque<(u64, Result<ReadData>)>,
    buffers: BufferPool,
    with: Decompressor,
    scratch: Vec<u8>,
}

impl VolumeReads {
    pub(super) fn new(inner: Arc<Inner>, state: Arc<VolumeState>) -> Result<Self> {
        let queue = inner.device.read_queue(DEPTH).map_err(|error| Error::io("making a queue for", "reads", error))?;
        Ok(Self {
            inner,
            state,
            queue,
            requests: FxHashMap::default(),
            next_request: 0,
            fetches: FxHashMap::default(),
            next_fetch: 0,
            backlog: VecDeque::new(),
            finished: VecDeque::new(),
            buffers: BufferPool::new(BUFFERS_IDLE_BYTES),
            with: Decompressor::new(),
            scratch: Vec::new(),
        })
    }

    /// Starts to read `len` bytes at `offset`; the answer, also a failure, comes out of
    /// [`VolumeReads::next_finished`] under `token`.
    pub fn start(&mut self, token: u64, offset: u64, len: usize) {
        let size = self.state.size_bytes();
        let in_range = offset.checked_add(len as u64).is_some_and(|end| end <= size);
        if !in_range {
            let error = Error::BeyondEnd { offset, len: len as u64, size };
            self.finished.push_back((token, Err(error)));
            return;
        }
        if len == 0 {
            self.finished.push_back((token, Ok(ReadData::default())));
            return;
        }
        match self.inner.plan(&self.state.lineage(), offset, len) {
            Ok(plan) => self.begin(token, plan),
            Err(error) => self.finished.push_back((token, Err(error))),
        }
    }

    fn begin(&mut self, token: u64, mut plan: Plan) {
        let assembly = Assembly::new(&mut plan);
        if plan.fetches.is_empty() {
            self.finished.push_back((token, Ok(assembly.finish())));
            return;
        }
        let id = self.next_request;
        self.next_request += 1;
        self.requests.insert(id, Request { token, assembly, missing: plan.fetches.len() });
        for fetch in plan.fetches {
            self.backlog.push_back((id, fetch));
        }
        self.submit_backlog();
    }

    fn submit_backlog(&mut self) {
        while self.fetches.len() < DEPTH
            && let Some((request, fetch)) = self.backlog.pop_front()
        {
            let token = self.next_fetch;
            self.next_fetch += 1;
            let buffer = self.buffers.take(fetch.len);
            self.queue.submit(token, fetch.segment.file(), buffer, fetch.offset);
            self.fetches.insert(token, (request, fetch));
        }
    }

    /// The next finished read, if any, as (token, answer), in any order; never blocks.
    pub fn next_finished(&mut self) -> Option<(u64, Result<ReadData>)> {
        while self.finished.is_empty() {
            let Some(completion) = self.queue.next_completion() else { break };
            let (request, fetch) = self.fetches.remove(&completion.token).expect("a completion belongs to a fetch");
            let result = completion.result.map_err(|error| read_failed(&fetch, error));
            self.complete(request, &fetch, result.map(|()| &completion.buffer[..]));
            self.buffers.put(completion.buffer);
            self.submit_backlog();
        }
        self.finished.pop_front()
    }

    fn complete(&mut self, id: u64, fetch: &Fetch, bytes: Result<&[u8]>) {
        // A request that has failed is gone before its other fetches arrive.
        let Some(request) = self.requests.get_mut(&id) else { return };
        let delivered = bytes.and_then(|bytes| {
            deliver(&self.inner, fetch, bytes, &mut request.assembly, &mut self.with, &mut self.scratch)
        });
        request.missing -= 1;
        if delivered.is_ok() && request.missing > 0 {
            return;
        }
        let request = self.requests.remove(&id).expect("the request is there");
        self.finished.push_back((request.token, delivered.map(|()| request.assembly.finish())));
    }

    /// Reads started and not yet handed out by [`VolumeReads::next_finished`].
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.requests.len() + self.finished.len()
    }

    /// Blocks until a read may have finished, `socket` is readable (or hung up), or `timeout` has passed.
    ///
    /// # Errors
    /// `Io` if the machine cannot wait.
    pub fn wait(&mut self, socket: Option<BorrowedFd<'_>>, timeout: Option<Duration>) -> Result<Wake> {
        let timeout = if self.finished.is_empty() { timeout } else { Some(Duration::ZERO) };
        let wake = self.queue.wait(socket, timeout).map_err(|error| Error::io("waiting for", "reads", error))?;
        Ok(Wake { completions: wake.completions || !self.finished.is_empty(), ..wake })
    }
}
