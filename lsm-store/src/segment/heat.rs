//! How much is read of a segment lately: what nobody reads may be stored in a form that is smaller and costs more to read.
//!
//! Short reads from the device count. What the cache answers costs the same whatever the form, and long reads want whole
//! groups anyway.

use std::sync::atomic::{AtomicU32, Ordering};

/// The part of a segment's blocks that may be read lately if it is to count as unread.
const READ_PARTS: u32 = 128;

/// What is known of the reads of one segment since it was sealed or the store was opened. In memory only.
#[derive(Debug, Default)]
pub struct Heat {
    /// Blocks read; each period halves what was read before it.
    blocks_read: AtomicU32,
    periods: AtomicU32,
}

impl Heat {
    /// A short read has taken `blocks` blocks from the device.
    pub(crate) fn note_read(&self, blocks: usize) {
        self.blocks_read.fetch_add(blocks as u32, Ordering::Relaxed);
    }

    pub(super) fn pass_period(&self) {
        let half = |blocks: u32| Some(blocks / 2);
        let _ = self.blocks_read.fetch_update(Ordering::Relaxed, Ordering::Relaxed, half);
        self.periods.fetch_add(1, Ordering::Relaxed);
    }

    /// True if next to nothing was read lately of a segment with so many blocks.
    pub(crate) fn is_unread(&self, blocks: u32) -> bool {
        self.blocks_read.load(Ordering::Relaxed) <= blocks / READ_PARTS
    }

    /// For how many periods the segment has been watched.
    pub(crate) fn periods(&self) -> u32 {
        self.periods.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_forgotten_by_halves() {
        let heat = Heat::default();
        assert!(heat.is_unread(1280) && heat.periods() == 0);
        heat.note_read(25);
        assert!(!heat.is_unread(1280) && heat.is_unread(12_800));
        heat.pass_period();
        assert!(!heat.is_unread(1280));
        heat.pass_period();
        assert!(heat.is_unread(1280) && heat.periods() == 2);
    }
}
