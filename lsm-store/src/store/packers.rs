//! Packers for the threads that bring large writes.

use std::sync::Arc;

use parking_lot::Mutex;

use super::payload::PayloadPool;
use crate::codec::Stored;
use crate::fingerprint::Fingerprint;
use crate::id::BLOCK_BYTES;
use crate::packed::{Packed, Packer};

/// Idle packers kept: 90 KiB each, and as much again for what they have packed.
const IDLE_MAX: usize = 8;

/// Packers that nobody uses at the moment.
#[derive(Default)]
pub(super) struct Packers {
    idle: Mutex<Vec<Packer>>,
}

impl Packers {
    /// Packs whole blocks; the payload is in memory of the pool.
    pub(super) fn pack(&self, data: &[u8], payloads: &Arc<PayloadPool>) -> Packed {
        self.with(|packer| packer.pack(data, |payload| payloads.gather(payload.len(), std::iter::once(payload))))
    }

    /// As [`Packer::repack`]; the payload is in memory of the pool.
    pub(super) fn repack(
        &self,
        blocks: &[[u8; BLOCK_BYTES]],
        stored: &[Stored<'_>],
        fingerprints: &[Fingerprint],
        payloads: &Arc<PayloadPool>,
    ) -> Packed {
        let keep = |payload: &[u8]| payloads.gather(payload.len(), std::iter::once(payload));
        self.with(|packer| packer.repack(blocks, stored, fingerprints, keep))
    }

    fn with(&self, pack: impl FnOnce(&mut Packer) -> Packed) -> Packed {
        let idle = self.idle.lock().pop();
        let mut packer = idle.unwrap_or_default();
        let packed = pack(&mut packer);
        let mut idle = self.idle.lock();
        if idle.len() < IDLE_MAX {
            idle.push(packer);
        }
        packed
    }
}
