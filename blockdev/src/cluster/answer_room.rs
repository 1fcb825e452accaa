//! Room for what reads of other nodes bring: so many bytes for each node, until the network has sent them. A node that does not take
//! its answers must not fill the memory of one that gives them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use net::id::NodeId;
use parking_lot::{Condvar, Mutex};

/// Bytes for one node at least and at most: several answers of the longest, and what keeps a fast network busy.
const BYTES_MIN: u64 = 4 << 20;
const BYTES_MAX: u64 = 16 << 20;

/// The part of the node's memory that one other node may take.
const PART: u64 = 64;

/// How long a read waits for room before the asker is told to ask again.
const WAIT: Duration = Duration::from_millis(100);

/// Room for answers, by who gets them.
pub(super) struct AnswerRoom {
    bytes_max: u64,
    taken: Mutex<HashMap<NodeId, u64>>,
    freed: Condvar,
}

/// Room that is taken until this is dropped.
pub(super) struct Taken {
    room: Arc<AnswerRoom>,
    node: NodeId,
    bytes: u64,
}

impl AnswerRoom {
    /// The room of a node with so much memory.
    pub(super) fn of(memory_bytes: u64) -> Self {
        let bytes_max = (memory_bytes / PART).clamp(BYTES_MIN, BYTES_MAX);
        Self { bytes_max, taken: Mutex::default(), freed: Condvar::new() }
    }

    /// Takes room, if there is some or will be in a moment.
    pub(super) fn take(self: &Arc<Self>, node: NodeId, bytes: u64) -> Option<Taken> {
        let is_full = |taken: &mut HashMap<NodeId, u64>| {
            taken.get(&node).is_some_and(|taken| taken.saturating_add(bytes) > self.bytes_max)
        };
        let mut taken = self.taken.lock();
        if self.freed.wait_while_for(&mut taken, is_full, WAIT).timed_out() {
            return None;
        }
        *taken.entry(node).or_default() += bytes;
        Some(Taken { room: Arc::clone(self), node, bytes })
    }
}

impl Taken {
    /// The same bytes, which have the room until the last of them is dropped.
    pub(super) fn holding(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Held { bytes, _taken: self })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut taken = self.room.taken.lock();
        if let Some(bytes) = taken.get_mut(&self.node) {
            *bytes -= self.bytes;
            if *bytes == 0 {
                taken.remove(&self.node);
            }
        }
        self.room.freed.notify_all();
    }
}

struct Held {
    bytes: Bytes,
    _taken: Taken,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests;
