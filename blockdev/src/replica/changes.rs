//! Where what a replica holds differs from a snapshot of it: what the store says, and what it has not got yet.

use lsm_store::request::ChangedExtent;

use super::local::LocalReplica;
use crate::export::Changes;
use crate::node::VolumeChanges;

const BLOCK_BYTES: u64 = lsm_store::id::BLOCK_BYTES as u64;

impl LocalReplica {
    /// Where what it holds now differs from a snapshot of it, in a range, as far as this node may answer for it now; `None`
    /// if it may not, or not yet. `changes` is of the store's content. What is written counts as different.
    ///
    /// # Errors
    /// Those of the store.
    pub fn changes(
        &self,
        changes: &VolumeChanges,
        (offset, len): (u64, u64),
        extents_max: usize,
    ) -> lsm_store::Result<Option<Vec<ChangedExtent>>> {
        if !self.serves() {
            return Ok(None);
        }
        let pending = &self.shared().pending;
        let overlay = pending.overlay(offset, len);
        if let Some(barrier) = overlay.barrier {
            self.await_barrier(barrier);
            return Ok(None);
        }
        let extents = changes.extents(offset, len, extents_max)?;
        let holds = !pending.is_outdated(&overlay) && self.serves();
        Ok(holds.then(|| mark(&extents, offset, overlay.ranges().collect(), extents_max)))
    }
}

/// The extents from `offset` on, with whole blocks that `touched` reaches into as changed ones; as many as fit.
fn mark(
    extents: &[ChangedExtent],
    offset: u64,
    mut touched: Vec<(u64, u64)>,
    extents_max: usize,
) -> Vec<ChangedExtent> {
    touched.sort_unstable();
    let mut marked: Vec<ChangedExtent> = Vec::with_capacity(extents.len());
    let mut push = |len: u64, changed: bool| match marked.last_mut() {
        Some(last) if last.changed == changed => last.len += len,
        _ if len > 0 => marked.push(ChangedExtent { len, changed }),
        _ => {}
    };
    let mut at = offset;
    for extent in extents {
        let end = at + extent.len;
        if !extent.changed {
            for (first, beyond) in &touched {
                let (first, beyond) = (first / BLOCK_BYTES * BLOCK_BYTES, beyond.next_multiple_of(BLOCK_BYTES));
                let (first, beyond) = (first.clamp(at, end), beyond.clamp(at, end));
                push(first - at, false);
                push(beyond - first, true);
                at = at.max(beyond);
            }
        }
        push(end - at, extent.changed);
        at = end;
    }
    marked.truncate(extents_max);
    marked
}

#[cfg(test)]
mod tests;
