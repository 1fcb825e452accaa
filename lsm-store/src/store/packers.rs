//! Packers for the threads that bring large writes.

use std::sync::Arc;

use parking_lot::Mutex;

use super::payload::PayloadPool;
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
        let idle = self.idle.lock().pop();
        let mut packer = idle.unwrap_or_default();
        let packed = packer.pack(data, |payload| payloads.gather(payload.len(), std::iter::once(payload)));
        let mut idle = self.idle.lock();
        if idle.len() < IDLE_MAX {
            idle.push(packer);
        }
        packed
    }
}
