//! From what the device gave to blocks: on the thread that reads, and for long reads on workers beside it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle, available_parallelism};

use bytes::Bytes;
use parking_lot::Mutex;

use super::assembly::Arrived;
use super::cache::BlockCache;
use super::payload::PayloadPool;
use super::plan::{Fetch, Want};
use crate::codec::Decompressor;
use crate::device::AlignedBuffer;
use crate::error::Result;
use crate::id::{BLOCK_BYTES, Location, SegmentId, Slot};
use crate::segment::FramePlace;

/// Workers at most.
const WORKERS_MAX: usize = 4;

/// Fetches of fewer blocks are decoded sooner than handed over.
const SHARED_BLOCKS_MIN: usize = 16;

/// Fetches that wait for each worker: enough for it to be busy while a thread that reads sends what it has, and few enough
/// for one whose fetch is the last not to wait long.
const ORDERS_PER_WORKER: usize = 3;

/// Decodes fetches. One for each thread that does.
#[derive(Default)]
pub(super) struct Decoder {
    with: Decompressor,
    /// The group that was decoded last, and whose it is.
    group: Vec<u8>,
    held: Option<(SegmentId, FramePlace)>,
}

impl Decoder {
    /// The blocks that `fetch` wants of `bytes`.
    pub(super) fn decode(&mut self, fetch: &Fetch, bytes: &[u8], pool: &Arc<PayloadPool>) -> Result<Vec<Arrived>> {
        // What an earlier fetch has left is not what was read now.
        self.held = None;
        let mut arrived = Vec::with_capacity(1);
        let mut wants = &fetch.wants[..];
        while let Some(first) = wants.first() {
            let adjacent = wants.iter().enumerate().take_while(|(step, want)| want.index == first.index + step);
            let (here, rest) = wants.split_at(adjacent.count());
            let blocks = pool.filled(here.len() * BLOCK_BYTES, |out| self.decode_wants(fetch, here, bytes, out))?;
            arrived.push(Arrived { first: first.index, bytes: blocks });
            wants = rest;
        }
        Ok(arrived)
    }

    /// The blocks of the group that was decoded last, if `fetch` wants some of it.
    fn group_of(&self, fetch: &Fetch) -> Option<(FramePlace, &[u8])> {
        let (id, place) = self.held?;
        let is_wanted = id == fetch.segment.id() && fetch.wants.iter().any(|want| want.place == place);
        is_wanted.then_some((place, &self.group[..]))
    }

    fn decode_wants(&mut self, fetch: &Fetch, wants: &[Want], bytes: &[u8], out: &mut [u8]) -> Result<()> {
        for (want, block) in wants.iter().zip(out.as_chunks_mut::<BLOCK_BYTES>().0) {
            let start = (u64::from(want.place.offset) - fetch.offset) as usize;
            let frame = &bytes[start..start + want.place.len as usize];
            if want.place.blocks == 1 {
                fetch.segment.decode(&want.place, frame, &mut self.with, block)?;
                continue;
            }
            // Blocks of one group follow one another: it is decoded once for all of them.
            let group = Some((fetch.segment.id(), want.place));
            if self.held != group {
                self.held = None;
                self.group.resize(want.place.decoded_bytes(), 0);
                fetch.segment.decode(&want.place, frame, &mut self.with, &mut self.group)?;
                self.held = group;
            }
            let at = want.place.index_of(want.slot) * BLOCK_BYTES;
            block.copy_from_slice(&self.group[at..at + BLOCK_BYTES]);
        }
        Ok(())
    }
}

/// Which blocks of a read are kept in the cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Keep {
    /// All: somebody asked for it.
    All,
    /// Those that were missed before.
    Again,
    /// None: it is a stream, which would only displace what is read again.
    None,
}

/// Puts blocks that arrived into the cache.
pub(super) fn keep(cache: &BlockCache, keep: Keep, fetch: &Fetch, arrived: &[Arrived]) {
    if keep == Keep::None {
        return;
    }
    fetch.segment.heat().note_read(fetch.wants.len());
    let mut wants = fetch.wants.iter();
    for blocks in arrived {
        for (block, want) in blocks.bytes.chunks(BLOCK_BYTES).zip(&mut wants) {
            let location = Location { segment: fetch.segment.id(), slot: want.slot };
            if keep == Keep::All || cache.was_missed(location) {
                cache.insert(location, Bytes::copy_from_slice(block));
            }
        }
    }
}

/// Puts a whole group into the cache if short reads want some of it for the second time: it had to be decoded for one block,
/// and its neighbours are likely next.
pub(super) fn keep_group(cache: &BlockCache, keep: Keep, fetch: &Fetch, decoder: &Decoder) {
    let Some((place, blocks)) = decoder.group_of(fetch).filter(|_| keep == Keep::Again) else { return };
    let location = |step: usize| Location { segment: fetch.segment.id(), slot: Slot(place.first.0 + step as u16) };
    if cache.was_group_missed(location(0)) {
        for (step, block) in blocks.chunks(BLOCK_BYTES).enumerate() {
            cache.insert(location(step), Bytes::copy_from_slice(block));
        }
    }
}

/// A fetch to decode. Dropped before somebody took it, as when the workers end, it goes back as it is; if it is lost after, the
/// one who asked hears of it, as the answer's other end goes with it.
pub(super) struct Job {
    fetch: Option<(Fetch, AlignedBuffer)>,
    answer_to: SyncSender<Decoded>,
}

impl Job {
    /// With where its answer arrives.
    pub(super) fn new(fetch: Fetch, buffer: AlignedBuffer) -> (Self, Receiver<Decoded>) {
        let (answer_to, answer) = sync_channel(1);
        (Self { fetch: Some((fetch, buffer)), answer_to }, answer)
    }

    /// What to decode; once.
    pub(super) fn take(&mut self) -> (Fetch, AlignedBuffer) {
        self.fetch.take().expect("a job is taken once")
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Some((fetch, buffer)) = self.fetch.take() {
            // Whoever asked may be gone.
            let _ = self.answer_to.try_send(Decoded { fetch, buffer, blocks: None });
        }
    }
}

/// What came of a [`Job`]; its buffer comes back.
pub(super) struct Decoded {
    pub(super) fetch: Fetch,
    pub(super) buffer: AlignedBuffer,
    /// `None` if nobody has decoded it.
    pub(super) blocks: Option<Result<Vec<Arrived>>>,
}

/// What a worker is told.
pub(super) enum Order {
    Decode(Job),
    /// End: those who offer jobs may outlive the workers.
    Stop,
}

/// Threads that wait for fetches to decode.
#[derive(Default)]
pub(super) struct Workers {
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    /// Takes an order only if workers have few before it.
    orders: Option<SyncSender<Order>>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts a worker for each processor but one. A thread that cannot be started is done without.
    pub(super) fn start(&self, pool: &Arc<PayloadPool>) {
        let count = available_parallelism().map_or(1, |count| count.get() - 1).min(WORKERS_MAX);
        let (orders, waiting) = sync_channel(count * ORDERS_PER_WORKER);
        let waiting = Arc::new(Mutex::new(waiting));
        let start = |_| {
            let (waiting, pool) = (Arc::clone(&waiting), Arc::clone(pool));
            Builder::new().name("silt-decode".to_owned()).spawn(move || work(&waiting, &pool)).ok()
        };
        let threads: Vec<_> = (0..count).filter_map(start).collect();
        *self.running.lock() = Running { orders: (!threads.is_empty()).then_some(orders), threads };
    }

    /// Ends the workers.
    ///
    /// # Panics
    /// If one of them has panicked.
    pub(super) fn stop(&self) {
        let Running { orders, threads } = std::mem::take(&mut *self.running.lock());
        for _ in &threads {
            // Fails only when no worker is left.
            let _ = orders.as_ref().map(|orders| orders.send(Order::Stop));
        }
        threads.into_iter().for_each(|thread| thread.join().expect("decoding does not panic"));
    }

    /// Where to offer long fetches, if there are workers.
    pub(super) fn orders(&self) -> Option<SyncSender<Order>> {
        self.running.lock().orders.clone()
    }
}

/// True if a worker is worth asking.
pub(super) fn is_long(fetch: &Fetch) -> bool {
    fetch.wants.len() >= SHARED_BLOCKS_MIN
}

/// Decodes what is asked for until told to stop.
pub(super) fn work(waiting: &Mutex<Receiver<Order>>, pool: &Arc<PayloadPool>) {
    let mut decoder = Decoder::default();
    loop {
        let order = waiting.lock().recv();
        let Ok(Order::Decode(mut job)) = order else { return };
        let (fetch, buffer) = job.take();
        let blocks = Some(decoder.decode(&fetch, &buffer, pool));
        // Whoever asked may be gone.
        let _ = job.answer_to.send(Decoded { fetch, buffer, blocks });
    }
}
