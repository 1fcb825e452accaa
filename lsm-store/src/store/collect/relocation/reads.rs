//! Reads of what is to be moved, many under way at once: a collection that waited for each would hardly do anything else.

use std::collections::VecDeque;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::device::{AlignedBuffer, BufferPool, Device, ReadQueue};
use crate::error::{Error, Result};
use crate::id::SegmentId;
use crate::segment::{Segment, path};

/// Reads under way at most.
const DEPTH: usize = 32;

/// Buffers kept for the next reads.
const BUFFERS_IDLE_BYTES: usize = 4 << 20;

/// Part of a segment's file, aligned.
struct Extract {
    segment: Arc<Segment>,
    offset: u64,
    len: usize,
}

/// A read that failed, and of which segment.
pub(super) struct Unread {
    pub(super) segment: Option<SegmentId>,
    pub(super) error: Error,
}

/// Reads of one thread, by number.
pub(super) struct Reads {
    queue: Box<dyn ReadQueue>,
    next: u64,
    /// Those the queue has no room for yet.
    waiting: VecDeque<(u64, Extract)>,
    under_way: FxHashMap<u64, Extract>,
    arrived: FxHashMap<u64, AlignedBuffer>,
    buffers: BufferPool,
}

impl Reads {
    pub(super) fn new(device: &dyn Device) -> Result<Self> {
        let queue = device.read_queue(DEPTH).map_err(|error| Error::io("making a queue for", "reads", error))?;
        Ok(Self {
            queue,
            next: 0,
            waiting: VecDeque::new(),
            under_way: FxHashMap::default(),
            arrived: FxHashMap::default(),
            buffers: BufferPool::new(BUFFERS_IDLE_BYTES),
        })
    }

    /// Begins to read a range that [`crate::segment::FramePlace::aligned_range`] allows; its number.
    pub(super) fn begin(&mut self, segment: &Arc<Segment>, offset: u64, len: usize) -> u64 {
        let number = self.next;
        self.next += 1;
        self.waiting.push_back((number, Extract { segment: Arc::clone(segment), offset, len }));
        self.submit();
        number
    }

    /// What the read with this number gave, waiting for it.
    pub(super) fn take(&mut self, number: u64) -> Result<AlignedBuffer, Unread> {
        loop {
            if let Some(buffer) = self.arrived.remove(&number) {
                return Ok(buffer);
            }
            self.settle()?;
            if !self.arrived.contains_key(&number) {
                let waited = self.queue.wait(None, None);
                waited.map_err(|error| Unread { segment: None, error: Error::io("reading", "segments", error) })?;
            }
        }
    }

    /// Takes a buffer back.
    pub(super) fn recycle(&mut self, buffer: AlignedBuffer) {
        self.buffers.put(buffer);
    }

    fn submit(&mut self) {
        while self.queue.in_flight() < DEPTH
            && let Some((number, extract)) = self.waiting.pop_front()
        {
            let buffer = self.buffers.take(extract.len);
            self.queue.submit(number, extract.segment.file(), buffer, extract.offset);
            self.under_way.insert(number, extract);
        }
    }

    /// Takes in what has been read, and has the device begin with what waits.
    pub(super) fn settle(&mut self) -> Result<(), Unread> {
        while let Some(completion) = self.queue.next_completion() {
            let Extract { segment, offset, .. } =
                self.under_way.remove(&completion.token).expect("only what was begun comes to an end");
            if completion.result.is_err() {
                let error = Error::corrupt(path(segment.id()), offset, "the device does not give these bytes");
                return Err(Unread { segment: Some(segment.id()), error });
            }
            self.arrived.insert(completion.token, completion.buffer);
        }
        self.submit();
        Ok(())
    }
}
