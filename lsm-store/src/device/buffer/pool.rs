//! Buffers waiting for their next use, by size class (powers of two), never more bytes than it was given.

use parking_lot::Mutex;

use super::AlignedBuffer;
use crate::device::DIRECT_ALIGNMENT;

const CLASSES: usize = usize::BITS as usize;

/// A bounded store of used buffers.
#[derive(Debug)]
pub struct BufferPool {
    limit_bytes: usize,
    idle: Mutex<Idle>,
}

#[derive(Debug)]
struct Idle {
    bytes: usize,
    classes: [Vec<AlignedBuffer>; CLASSES],
}

impl BufferPool {
    /// A pool that keeps at most `limit_bytes` of idle buffers.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        Self { limit_bytes, idle: Mutex::new(Idle { bytes: 0, classes: [const { Vec::new() }; CLASSES] }) }
    }

    /// A buffer of `len` bytes with unspecified content. Its capacity is the next power of two, at least
    /// [`DIRECT_ALIGNMENT`].
    #[must_use]
    pub fn take(&self, len: usize) -> AlignedBuffer {
        let capacity = len.next_power_of_two().max(DIRECT_ALIGNMENT);
        let reused = {
            let mut idle = self.idle.lock();
            let reused = idle.classes[class(capacity)].pop();
            idle.bytes -= reused.as_ref().map_or(0, AlignedBuffer::capacity);
            reused
        };
        let mut buffer = reused.unwrap_or_else(|| AlignedBuffer::zeroed(capacity));
        buffer.set_len(len);
        buffer
    }

    /// Keeps `buffer` for a later [`BufferPool::take`], or frees it if the pool is full or the buffer is of no size class.
    pub fn put(&self, buffer: AlignedBuffer) {
        let capacity = buffer.capacity();
        if capacity < DIRECT_ALIGNMENT || !capacity.is_power_of_two() {
            return;
        }
        let mut idle = self.idle.lock();
        if idle.bytes + capacity <= self.limit_bytes {
            idle.bytes += capacity;
            idle.classes[class(capacity)].push(buffer);
        }
    }

    /// Bytes of idle buffers held now.
    #[must_use]
    pub fn idle_bytes(&self) -> usize {
        self.idle.lock().bytes
    }
}

fn class(capacity: usize) -> usize {
    capacity.trailing_zeros() as usize
}
