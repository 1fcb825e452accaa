//! Block status: which parts of a volume hold data, which are zeros, which are holes.

use super::inner::Inner;
use super::view::View;
use super::volume::{VolumeState, block_of};
use crate::error::Result;
use crate::id::{BLOCK_BYTES, BlockIndex};
use crate::layers::Lineage;
use crate::map::Target;
use crate::memtable::Content;
use crate::request::{BlockState, StatusExtent};

/// Blocks looked at together at first; more and more as the answer stays short.
const WINDOW_BLOCKS_MIN: u64 = 1024;
/// And at most, when nothing is in memory.
const WINDOW_BLOCKS_MAX: u64 = 1 << 20;
/// With memtables to ask block by block.
const WINDOW_BLOCKS_ASKED: u64 = 1 << 14;
/// Blocks asked for in one call at most: the answer then ends early, and the client asks on from there.
const ASKED_BLOCKS_MAX: u64 = 1 << 18;

impl Inner {
    /// The states of a range that is not empty and within the volume, at most `extents_max` (at least 1).
    pub(super) fn block_status(
        &self,
        volume: &VolumeState,
        offset: u64,
        len: u64,
        extents_max: usize,
    ) -> Result<Vec<StatusExtent>> {
        let (view, lineage) = (self.view(), volume.lineage());
        let asked = view.memtables().any(|memtable| !memtable.is_empty());
        let len = if asked { len.min(ASKED_BLOCKS_MAX * BLOCK_BYTES as u64) } else { len };
        let end = BlockIndex(block_of(offset + len - 1).0 + 1);
        let window_max = if asked { WINDOW_BLOCKS_ASKED } else { WINDOW_BLOCKS_MAX };
        let (mut at, mut window) = (block_of(offset), WINDOW_BLOCKS_MIN);
        let mut extents: Vec<StatusExtent> = Vec::new();
        while at < end && extents.len() <= extents_max {
            let to = BlockIndex(end.0.min(at.0 + window));
            states(&view, &lineage, at, to, asked, |state, blocks| match extents.last_mut() {
                Some(last) if last.state == state => last.len += blocks * BLOCK_BYTES as u64,
                _ => extents.push(StatusExtent { len: blocks * BLOCK_BYTES as u64, state }),
            })?;
            (at, window) = (to, (window * 4).min(window_max));
        }
        extents.truncate(extents_max);
        cut(&mut extents, offset % BLOCK_BYTES as u64, len);
        Ok(extents)
    }
}

/// Cuts extents of whole blocks to the bytes asked for.
fn cut(extents: &mut Vec<StatusExtent>, skip: u64, len: u64) {
    extents[0].len -= skip;
    let mut left = len;
    for extent in &mut *extents {
        extent.len = extent.len.min(left);
        left -= extent.len;
    }
    extents.retain(|extent| extent.len > 0);
}

/// Hands the states of `[from, to)` to `sink`, in order, as (state, blocks).
fn states(
    view: &View,
    lineage: &Lineage,
    from: BlockIndex,
    to: BlockIndex,
    asked: bool,
    mut sink: impl FnMut(BlockState, u64),
) -> Result<()> {
    for resolved in view.version.lookup(lineage, from..to)? {
        let below = match resolved.target {
            Some(Target::Data(_)) => BlockState::Data,
            Some(Target::Zero) => BlockState::Zero,
            Some(Target::Hole) | None => BlockState::Hole,
        };
        if !asked {
            sink(below, resolved.count);
            continue;
        }
        for step in 0..resolved.count {
            let block = BlockIndex(resolved.first.0 + step);
            let content = view.memtables().find_map(|memtable| memtable.lookup(lineage, block));
            let state = match content {
                Some(Content::Data(_) | Content::Packed(_)) => BlockState::Data,
                Some(Content::Zero) => BlockState::Zero,
                Some(Content::Hole) => BlockState::Hole,
                None => below,
            };
            sink(state, 1);
        }
    }
    Ok(())
}
