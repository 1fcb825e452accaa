//! Memory for the payloads of accepted writes and of reads: kept for reuse, since the first touch of a fresh page costs
//! more than copying into it.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::id::BLOCK_BYTES;

/// Buffers up to this many blocks come in every length, longer ones in multiples of it.
const STEP_BLOCKS: usize = 16;

/// Lengths kept apart: buffers up to 1 MiB.
const CLASSES: usize = 2 * STEP_BLOCKS;

/// A bounded store of used payload buffers, by length.
#[derive(Debug)]
pub(super) struct PayloadPool {
    limit_bytes: usize,
    idle: Mutex<Idle>,
}

#[derive(Debug, Default)]
struct Idle {
    bytes: usize,
    /// Buffers in use that will come back.
    lent_bytes: usize,
    classes: [Vec<Vec<u8>>; CLASSES],
}

impl PayloadPool {
    /// A pool that keeps idle buffers as long as all of its buffers together, those in use included, take at most
    /// `limit_bytes`.
    pub(super) fn new(limit_bytes: usize) -> Arc<Self> {
        Arc::new(Self { limit_bytes, idle: Mutex::default() })
    }

    /// `parts` one after the other, in memory that goes back to the pool when nobody refers to any of it.
    pub(super) fn gather<'a>(self: &Arc<Self>, len: usize, parts: impl Iterator<Item = &'a [u8]>) -> Bytes {
        if len == 0 {
            return Bytes::new();
        }
        let mut buffer = self.take(len);
        buffer.clear();
        parts.for_each(|part| buffer.extend_from_slice(part));
        Bytes::from_owner(Payload { buffer, pool: Arc::clone(self) })
    }

    /// `len` bytes that `fill` writes, all of them: what they are before is left over from another use.
    pub(super) fn filled<E>(
        self: &Arc<Self>,
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<Bytes, E> {
        let mut payload = Payload { buffer: self.take(len), pool: Arc::clone(self) };
        payload.buffer.resize(len, 0);
        fill(&mut payload.buffer)?;
        Ok(Bytes::from_owner(payload))
    }

    /// A buffer with room for `len` bytes, and with whatever is in it.
    fn take(&self, len: usize) -> Vec<u8> {
        let class = class(len);
        if class >= CLASSES {
            return Vec::with_capacity(capacity(len));
        }
        let mut idle = self.idle.lock();
        idle.lent_bytes += capacity(len);
        if let Some(buffer) = idle.classes[class].pop() {
            idle.bytes -= capacity(len);
            return buffer;
        }
        drop(idle);
        Vec::with_capacity(capacity(len))
    }

    fn put(&self, buffer: Vec<u8>) {
        let (class, capacity) = (class(buffer.capacity()), capacity(buffer.capacity()));
        if class >= CLASSES {
            return;
        }
        let mut idle = self.idle.lock();
        idle.lent_bytes -= capacity;
        if idle.lent_bytes + idle.bytes + capacity <= self.limit_bytes {
            idle.bytes += capacity;
            idle.classes[class].push(buffer);
        }
    }
}

/// Memory that a payload of `len` bytes takes.
pub(super) fn capacity(len: usize) -> usize {
    match len.div_ceil(BLOCK_BYTES) {
        blocks @ ..=STEP_BLOCKS => blocks * BLOCK_BYTES,
        blocks => blocks.next_multiple_of(STEP_BLOCKS) * BLOCK_BYTES,
    }
}

/// Buffers of one class have one length.
fn class(len: usize) -> usize {
    match len.div_ceil(BLOCK_BYTES) {
        blocks @ ..=STEP_BLOCKS => blocks - 1,
        blocks => STEP_BLOCKS + blocks.div_ceil(STEP_BLOCKS) - 2,
    }
}

struct Payload {
    buffer: Vec<u8>,
    pool: Arc<PayloadPool>,
}

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        self.pool.put(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_its_last_part_goes_and_serves_the_same_length_again() {
        let pool = PayloadPool::new(1 << 20);
        let bytes = pool.gather(8192, [&[1; 4096][..], &[2; 4096][..]].into_iter());
        let part = bytes.slice(4096..);
        drop(bytes);
        assert_eq!((pool.idle.lock().bytes, part[0]), (0, 2));
        drop(part);
        assert_eq!(pool.idle.lock().bytes, 8192);
        let again = pool.gather(8192, std::iter::once(&[3; 8192][..]));
        assert_eq!((pool.idle.lock().bytes, &again[..]), (0, &[3; 8192][..]));
    }

    #[test]
    fn every_length_fits_its_class() {
        for blocks in 1..=256 {
            let len = blocks * BLOCK_BYTES;
            assert!(capacity(len) >= len && class(capacity(len)) == class(len) && class(len) < CLASSES, "{blocks}");
        }
    }

    #[test]
    fn a_full_pool_frees_what_comes_back() {
        let pool = PayloadPool::new(8192);
        let [first, second, third] = [(); 3].map(|()| pool.gather(4096, std::iter::once(&[0; 4096][..])));
        drop(first);
        assert_eq!(pool.idle.lock().bytes, 0, "what is in use takes all the room");
        drop(second);
        drop(third);
        let idle = pool.idle.lock();
        assert_eq!((idle.bytes, idle.lent_bytes), (8192, 0));
    }
}
