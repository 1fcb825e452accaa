//! The journal's content in memory: what one generation wrote, by (layer, block).
//!
//! Writers insert in sequence order under the submission lock; readers look up at any time. Single blocks live in a
//! sharded hash table, long zeroed ranges in an ordered map; of two that cover a block the later sequence counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::RwLock;
use rustc_hash::FxHashMap;

use crate::id::{BLOCK_BYTES, BlockIndex, Generation, LayerId, Sequence};
use crate::packed::{Packed, PackedBlock};

const SHARDS: usize = 64;

/// Blocks of one shard lie together, so that a large request touches few shards.
const SHARD_BLOCKS_SHIFT: u32 = 6;

/// What an entry costs in memory besides its payload: the table's slot, with room for growth.
pub(crate) const ENTRY_BYTES: usize = 112;

/// What a memtable knows of a block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Content {
    /// The block's bytes.
    Data(Bytes),
    /// The block's bytes as a segment stores them.
    Packed(PackedBlock),
    /// Allocated zeros.
    Zero,
    /// A hole.
    Hole,
}

#[derive(Clone, Debug)]
struct Entry {
    sequence: Sequence,
    content: Content,
}

/// A zeroed range: blocks up to `end`, all by one record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Range {
    end: BlockIndex,
    sequence: Sequence,
    hole: bool,
}

type Shard = RwLock<FxHashMap<(LayerId, BlockIndex), Entry>>;

/// What one generation of the journal wrote.
pub(crate) struct Memtable {
    generation: Generation,
    first: Sequence,
    shards: Box<[Shard]>,
    ranges: RwLock<BTreeMap<(LayerId, BlockIndex), Range>>,
    range_count: AtomicUsize,
    /// Memory held by the batches inserted, overwritten blocks included: they stay as long as their neighbours.
    held_bytes: AtomicU64,
    entry_count: AtomicUsize,
}

/// Something a memtable holds, in key order: the input of a flush job.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct FrozenEntry {
    pub(crate) layer: LayerId,
    pub(crate) first: BlockIndex,
    /// 1 for single blocks.
    pub(crate) count: u64,
    pub(crate) content: Content,
}

impl Memtable {
    /// An empty memtable for a generation that begins with record `first`.
    pub(crate) fn new(generation: Generation, first: Sequence) -> Self {
        Self {
            generation,
            first,
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            ranges: RwLock::default(),
            range_count: AtomicUsize::new(0),
            held_bytes: AtomicU64::new(0),
            entry_count: AtomicUsize::new(0),
        }
    }

    /// The journal generation whose content this is.
    pub(crate) fn generation(&self) -> Generation {
        self.generation
    }

    /// Sequence of the generation's first record.
    pub(crate) fn first(&self) -> Sequence {
        self.first
    }

    /// Memory held, in bytes, as its writers reported it.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// Reports memory that a batch inserted here holds.
    pub(crate) fn hold(&self, bytes: u64) {
        self.held_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// True if nothing was inserted.
    pub(crate) fn is_empty(&self) -> bool {
        self.entry_count.load(Ordering::Relaxed) + self.range_count.load(Ordering::Relaxed) == 0
    }

    fn shard(&self, layer: LayerId, block: BlockIndex) -> &Shard {
        let key = (block.0 >> SHARD_BLOCKS_SHIFT) ^ layer.0.wrapping_mul(0x9e37_79b9);
        &self.shards[key as usize % SHARDS]
    }

    /// Inserts adjacent blocks of one record; `payload` holds their bytes. Sequences never go backwards.
    pub(crate) fn insert_data(&self, layer: LayerId, first: BlockIndex, sequence: Sequence, payload: &Bytes) {
        let content = |index: usize| Content::Data(payload.slice(index * BLOCK_BYTES..(index + 1) * BLOCK_BYTES));
        self.insert_blocks(layer, first, payload.len() / BLOCK_BYTES, sequence, content);
    }

    /// As [`Memtable::insert_data`], for a record of packed blocks.
    pub(crate) fn insert_packed(&self, layer: LayerId, first: BlockIndex, sequence: Sequence, packed: &Arc<Packed>) {
        self.insert_blocks(layer, first, packed.len(), sequence, |index| match packed.is_zero(index) {
            true => Content::Zero,
            false => Content::Packed(PackedBlock::new(packed, index)),
        });
    }

    fn insert_blocks(
        &self,
        layer: LayerId,
        first: BlockIndex,
        count: usize,
        sequence: Sequence,
        content: impl Fn(usize) -> Content,
    ) {
        let mut at = 0;
        while at < count {
            let block = BlockIndex(first.0 + at as u64);
            let in_shard = (1 << SHARD_BLOCKS_SHIFT) - (block.0 as usize & ((1 << SHARD_BLOCKS_SHIFT) - 1));
            let until = count.min(at + in_shard);
            let mut shard = self.shard(layer, block).write();
            let before = shard.len();
            for index in at..until {
                let entry = Entry { sequence, content: content(index) };
                shard.insert((layer, BlockIndex(first.0 + index as u64)), entry);
            }
            self.entry_count.fetch_add(shard.len() - before, Ordering::Relaxed);
            at = until;
        }
    }

    /// Inserts a zeroed range of one record.
    pub(crate) fn insert_zeroed(&self, layer: LayerId, first: BlockIndex, count: u64, sequence: Sequence, hole: bool) {
        if count == 1 {
            let content = if hole { Content::Hole } else { Content::Zero };
            let replaced = self.shard(layer, first).write().insert((layer, first), Entry { sequence, content });
            self.entry_count.fetch_add(usize::from(replaced.is_none()), Ordering::Relaxed);
            return;
        }
        let end = BlockIndex(first.0 + count);
        let mut ranges = self.ranges.write();
        cut_out(&mut ranges, layer, first, end);
        ranges.insert((layer, first), Range { end, sequence, hole });
        self.range_count.store(ranges.len(), Ordering::Relaxed);
    }

    /// What the memtable says of a block; `None` if nothing.
    pub(crate) fn lookup(&self, layer: LayerId, block: BlockIndex) -> Option<Content> {
        self.lookup_with_sequence(layer, block).map(|(content, _)| content)
    }

    /// What the memtable says of a block, and which record said it.
    pub(crate) fn lookup_with_sequence(&self, layer: LayerId, block: BlockIndex) -> Option<(Content, Sequence)> {
        let entry = self.shard(layer, block).read().get(&(layer, block)).cloned();
        let range = self.range_at(layer, block);
        match (entry, range) {
            (Some(entry), Some(range)) if range.sequence > entry.sequence => Some(range.to_content()),
            (Some(entry), _) => Some((entry.content, entry.sequence)),
            (None, range) => range.map(|range| range.to_content()),
        }
    }

    fn range_at(&self, layer: LayerId, block: BlockIndex) -> Option<Range> {
        if self.range_count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let ranges = self.ranges.read();
        let (&(of, _), range) = ranges.range(..=(layer, block)).next_back()?;
        (of == layer && block < range.end).then_some(*range)
    }

    /// Everything the memtable holds, by key, each block once: a range is given in the parts that no later block covers.
    pub(crate) fn sorted(&self) -> Vec<FrozenEntry> {
        let ranges = self.ranges.read().clone();
        let mut points = Vec::with_capacity(self.entry_count.load(Ordering::Relaxed));
        for shard in &self.shards {
            points.extend(shard.read().iter().map(|(&(layer, block), entry)| (layer, block, entry.clone())));
        }
        points.sort_unstable_by_key(|(layer, block, _)| (*layer, *block));
        points.retain(|(layer, block, entry)| {
            let covering = ranges.range(..=(*layer, *block)).next_back();
            !covering
                .is_some_and(|((of, _), range)| of == layer && *block < range.end && range.sequence > entry.sequence)
        });
        merge(points, &ranges)
    }
}

impl Range {
    fn to_content(self) -> (Content, Sequence) {
        (if self.hole { Content::Hole } else { Content::Zero }, self.sequence)
    }
}

/// Removes `[first, end)` of a layer from the ranges, splitting those that reach beyond it.
fn cut_out(ranges: &mut BTreeMap<(LayerId, BlockIndex), Range>, layer: LayerId, first: BlockIndex, end: BlockIndex) {
    if let Some((&(of, start), range)) = ranges.range_mut(..(layer, first)).next_back()
        && of == layer
        && range.end > first
        && start < first
    {
        let whole = *range;
        range.end = first;
        if whole.end > end {
            ranges.insert((layer, end), whole);
        }
    }
    let covered: Vec<_> = ranges.range((layer, first)..(layer, end)).map(|(key, range)| (*key, *range)).collect();
    for (key, range) in covered {
        ranges.remove(&key);
        if range.end > end {
            ranges.insert((layer, end), range);
        }
    }
}

/// Points and ranges by key; the points lie over the ranges.
fn merge(
    points: Vec<(LayerId, BlockIndex, Entry)>,
    ranges: &BTreeMap<(LayerId, BlockIndex), Range>,
) -> Vec<FrozenEntry> {
    let mut sorted = Vec::with_capacity(points.len() + ranges.len());
    let mut points = points.into_iter().peekable();
    for (&(layer, first), range) in ranges {
        while let Some((of, block, entry)) = points.next_if(|(of, block, _)| (*of, *block) < (layer, first)) {
            sorted.push(FrozenEntry { layer: of, first: block, count: 1, content: entry.content });
        }
        let (content, _) = range.to_content();
        let mut from = first;
        let push = |from: BlockIndex, to: BlockIndex, sorted: &mut Vec<FrozenEntry>| {
            if from < to {
                let count = to.0 - from.0;
                sorted.push(FrozenEntry { layer, first: from, count, content: content.clone() });
            }
        };
        while let Some((_, block, entry)) = points.next_if(|(of, block, _)| *of == layer && *block < range.end) {
            push(from, block, &mut sorted);
            sorted.push(FrozenEntry { layer, first: block, count: 1, content: entry.content });
            from = block.next();
        }
        push(from, range.end, &mut sorted);
    }
    sorted.extend(points.map(|(layer, block, entry)| FrozenEntry {
        layer,
        first: block,
        count: 1,
        content: entry.content,
    }));
    sorted
}

#[cfg(test)]
mod tests;
