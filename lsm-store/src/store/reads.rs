//! Reads: plans carried out, one after the other or with many under way.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError};
use std::time::Duration;

use rustc_hash::FxHashMap;

use super::assembly::{Arrived, Assembly};
use super::decode::{self, Decoded, Decoder, Job, Keep, Order};
use super::inner::Inner;
use super::plan::{Fetch, Plan};
use super::volume::VolumeState;
use crate::device::{AlignedBuffer, BufferPool, Completion, ReadQueue, Wake};
use crate::error::{Error, Result};
use crate::id::{BLOCK_SHIFT, BlockIndex};
use crate::read::ReadData;
use crate::segment;

/// Device reads of one [`VolumeReads`] under way at most.
const DEPTH: usize = 64;

/// Reads of at most this many blocks leave their blocks in the cache; longer ones are streams, which would only
/// displace what is read again.
pub(super) const CACHED_BLOCKS_MAX: usize = 16;

fn read_failed(fetch: &Fetch, error: std::io::Error) -> Error {
    let path = segment::path(fetch.segment.id());
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => Error::corrupt(path, fetch.offset, "the file is too short"),
        _ => Error::io("reading", path, error),
    }
}

/// What a fetch brings, waiting for the device.
pub(super) fn fetched(fetch: &Fetch) -> Result<AlignedBuffer> {
    let mut buffer = AlignedBuffer::zeroed(fetch.len);
    fetch.segment.file().read_at(&mut buffer, fetch.offset).map_err(|error| read_failed(fetch, error))?;
    Ok(buffer)
}

impl Inner {
    /// Reads bytes of a volume, waiting for the device.
    pub(super) fn read_bytes(&self, volume: &VolumeState, offset: u64, len: usize, keep: Keep) -> Result<ReadData> {
        if len == 0 {
            return Ok(ReadData::default());
        }
        self.read_planned(volume, offset, len, keep).inspect_err(|error| self.suspect(error))
    }

    fn read_planned(&self, volume: &VolumeState, offset: u64, len: usize, keep: Keep) -> Result<ReadData> {
        let mut plan = self.plan(volume, offset, len)?;
        let mut assembly = Assembly::new(&mut plan);
        let mut decoder = Decoder::default();
        for fetch in &plan.fetches {
            let buffer = fetched(fetch)?;
            let arrived = decoder.decode(fetch, &buffer, &self.read_payloads)?;
            decode::keep(&self.blocks, keep, fetch, &arrived);
            decode::keep_group(&self.blocks, keep, fetch, &decoder);
            arrived.into_iter().for_each(|blocks| assembly.accept(blocks));
        }
        Ok(assembly.finish())
    }

    /// Reads whole blocks of a volume, waiting for the device.
    pub(super) fn read_blocks(&self, volume: &VolumeState, first: BlockIndex, count: usize) -> Result<ReadData> {
        self.read_bytes(volume, first.byte_offset(), count << BLOCK_SHIFT, Keep::Again)
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
    decoder: Decoder,
    pub(super) aside: Aside,
}

/// Fetches that workers decode.
pub(super) struct Aside {
    pub(super) orders: Option<SyncSender<Order>>,
    /// By request, oldest first.
    pub(super) under_way: VecDeque<(u64, Receiver<Decoded>)>,
}

impl Aside {
    /// Hands a fetch to the workers, or gives it back if they have enough to do.
    fn offer(&mut self, request: u64, fetch: Fetch, buffer: AlignedBuffer) -> Result<(), (Fetch, AlignedBuffer)> {
        let Some(orders) = self.orders.as_ref().filter(|_| decode::is_long(&fetch)) else {
            return Err((fetch, buffer));
        };
        let (job, answer) = Job::new(fetch, buffer);
        match orders.try_send(Order::Decode(job)) {
            Ok(()) => {
                self.under_way.push_back((request, answer));
                Ok(())
            }
            Err(TrySendError::Full(order) | TrySendError::Disconnected(order)) => match order {
                Order::Decode(mut job) => Err(job.take()),
                Order::Stop => unreachable!("a job was offered"),
            },
        }
    }

    /// What came of a fetch, if any is decoded; waits for the oldest if `patient`. `None` in place of the blocks: the
    /// worker is gone.
    fn take(&mut self, patient: bool) -> Option<(u64, Option<Decoded>)> {
        if patient {
            let (request, answer) = self.under_way.pop_front()?;
            return Some((request, answer.recv().ok()));
        }
        let answers = self.under_way.iter().enumerate();
        let (at, decoded) =
            answers.map(|(at, (_, answer))| (at, answer.try_recv())).find_map(|(at, tried)| match tried {
                Ok(decoded) => Some((at, Some(decoded))),
                Err(TryRecvError::Disconnected) => Some((at, None)),
                Err(TryRecvError::Empty) => None,
            })?;
        let (request, _) = self.under_way.remove(at).expect("it was found there");
        Some((request, decoded))
    }
}

impl VolumeReads {
    pub(super) fn new(inner: Arc<Inner>, state: Arc<VolumeState>) -> Result<Self> {
        let queue = inner.device.read_queue(DEPTH).map_err(|error| Error::io("making a queue for", "reads", error))?;
        let aside = Aside { orders: inner.decode_workers.orders(), under_way: VecDeque::new() };
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
            decoder: Decoder::default(),
            aside,
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
        match self.inner.plan(&self.state, offset, len) {
            Ok(plan) => self.begin(token, plan),
            Err(error) => {
                self.inner.suspect(&error);
                self.finished.push_back((token, Err(error)));
            }
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
            if let Some((request, decoded)) = self.aside.take(false) {
                self.finish_fetch(request, decoded);
            } else if let Some(completion) = self.queue.next_completion() {
                self.finish_read(completion);
            } else {
                break;
            }
        }
        self.finished.pop_front()
    }

    /// Has what was read decoded, here or by a worker.
    fn finish_read(&mut self, completion: Completion) {
        let (request, fetch) = self.fetches.remove(&completion.token).expect("a completion belongs to a fetch");
        self.submit_backlog();
        if let Err(error) = completion.result {
            self.buffers.put(completion.buffer);
            return self.answer(request, Err(read_failed(&fetch, error)));
        }
        if let Err((fetch, buffer)) = self.aside.offer(request, fetch, completion.buffer) {
            self.finish_fetch(request, Some(Decoded { fetch, buffer, blocks: None }));
        }
    }

    fn finish_fetch(&mut self, request: u64, decoded: Option<Decoded>) {
        let Some(Decoded { fetch, buffer, blocks }) = decoded else {
            return self.answer(request, Err(Error::Panicked));
        };
        let blocks = blocks.unwrap_or_else(|| self.decoder.decode(&fetch, &buffer, &self.inner.read_payloads));
        self.buffers.put(buffer);
        self.answer(request, blocks.map(|arrived| (fetch, arrived)));
    }

    /// Puts what came of one fetch into the read it belongs to.
    fn answer(&mut self, id: u64, result: Result<(Fetch, Vec<Arrived>)>) {
        // A request that has failed is gone before its other fetches arrive.
        let Some(request) = self.requests.get_mut(&id) else { return };
        request.missing -= 1;
        let delivered = result.map(|(fetch, arrived)| {
            let stream = request.assembly.block_count() > CACHED_BLOCKS_MAX;
            let keep = if stream { Keep::None } else { Keep::Again };
            decode::keep(&self.inner.blocks, keep, &fetch, &arrived);
            decode::keep_group(&self.inner.blocks, keep, &fetch, &self.decoder);
            arrived.into_iter().for_each(|blocks| request.assembly.accept(blocks));
        });
        if delivered.is_ok() && request.missing > 0 {
            return;
        }
        if let Err(error) = &delivered {
            self.inner.suspect(error);
        }
        let request = self.requests.remove(&id).expect("the request is there");
        self.finished.push_back((request.token, delivered.map(|()| request.assembly.finish())));
    }

    /// Reads started and not yet handed out by [`VolumeReads::next_finished`].
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.requests.len() + self.finished.len()
    }

    /// Blocks until a read may have finished, `socket` is readable (or hung up), or `timeout` has passed. While a worker decodes
    /// something it may last until the worker is done, about a millisecond, whatever comes meanwhile; not if `timeout` is zero.
    ///
    /// # Errors
    /// `Io` if the machine cannot wait.
    pub fn wait(&mut self, socket: Option<BorrowedFd<'_>>, timeout: Option<Duration>) -> Result<Wake> {
        let is_busy = !self.aside.under_way.is_empty() || !self.finished.is_empty();
        let device_timeout = if is_busy { Some(Duration::ZERO) } else { timeout };
        let wake = self.queue.wait(socket, device_timeout).map_err(|error| Error::io("waiting for", "reads", error))?;
        let may_block = timeout != Some(Duration::ZERO) && !wake.is_something() && self.finished.is_empty();
        if let Some((request, decoded)) = self.aside.take(may_block) {
            self.finish_fetch(request, decoded);
        }
        Ok(Wake { completions: wake.completions || !self.finished.is_empty(), ..wake })
    }
}
