//! Records that were made on this node, or were looked at when they came to it, before the protocol gave them a place.

use std::collections::VecDeque;

use bytes::Bytes;

/// Records by their place in memory, which is not used for anything else as long as they are held here.
#[derive(Default)]
pub(super) struct Made(VecDeque<Bytes>);

impl Made {
    pub(super) fn note(&mut self, record: &Bytes) {
        self.0.push_back(record.clone());
    }

    /// Forgets all: what the protocol has not placed by now is looked at again when it does.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// True if these are the bytes of a record that was noted; asked once for each.
    pub(super) fn take(&mut self, record: &Bytes) -> bool {
        let is_same = |noted: &Bytes| noted.as_ptr() == record.as_ptr() && noted.len() == record.len();
        let Some(place) = self.0.iter().position(is_same) else { return false };
        // They come in the order in which they were noted: those before it never will.
        self.0.drain(..=place);
        true
    }
}

#[cfg(test)]
mod tests;
