//! The journal's content in memory: what one generation wrote, by (family, block), with a version for each layer that
//! wrote the block.
//!
//! Writers insert in sequence order under the submission lock; readers look up at any time. Single blocks live in a
//! sharded hash table, long zeroed ranges in ordered maps; of all that a lineage has on a block the latest sequence counts.

mod frozen;
mod ranges;
mod shard;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::RwLock;

use crate::id::{BLOCK_BYTES, BlockIndex, FamilyId, Generation, LayerId, Sequence};
use crate::layers::Lineage;
use crate::packed::{Packed, PackedBlock};
pub(crate) use frozen::{FrozenEntry, retain_visible};
use ranges::{Range, Ranges};
use shard::{Entry, Shard};

const SHARDS: usize = 64;

/// Blocks of one shard lie together, so that a large request touches few shards.
const SHARD_BLOCKS_SHIFT: u32 = 6;

/// What an entry costs in memory besides its payload: the table's slot, with room for growth.
pub(crate) const ENTRY_BYTES: usize = 126;

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

/// What one generation of the journal wrote.
pub(crate) struct Memtable {
    generation: Generation,
    first: Sequence,
    shards: Box<[RwLock<Shard>]>,
    ranges: RwLock<Ranges>,
    range_count: AtomicUsize,
    /// Memory held by the batches inserted, overwritten blocks included: they stay as long as their neighbours.
    held_bytes: AtomicU64,
    entry_count: AtomicUsize,
}

impl Memtable {
    /// An empty memtable for a generation that begins with record `first`.
    pub(crate) fn new(generation: Generation, first: Sequence) -> Self {
        Self {
            generation,
            first,
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
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

    fn shard(&self, family: FamilyId, block: BlockIndex) -> &RwLock<Shard> {
        let key = (block.0 >> SHARD_BLOCKS_SHIFT) ^ family.0.wrapping_mul(0x9e37_79b9);
        &self.shards[key as usize % SHARDS]
    }

    /// The sequence as entries keep it, counted from the generation's first.
    fn step(&self, sequence: Sequence) -> u32 {
        u32::try_from(sequence.0 - self.first.0).expect("a generation's file has no room for 2^32 records")
    }

    /// Inserts adjacent blocks of one record; `payload` holds their bytes. Sequences never go backwards.
    pub(crate) fn insert_data(&self, of: (FamilyId, LayerId), first: BlockIndex, sequence: Sequence, payload: &Bytes) {
        let content = |index: usize| Content::Data(payload.slice(index * BLOCK_BYTES..(index + 1) * BLOCK_BYTES));
        self.insert_blocks(of, first, payload.len() / BLOCK_BYTES, sequence, content);
    }

    /// As [`Memtable::insert_data`], for a record of packed blocks.
    pub(crate) fn insert_packed(
        &self,
        of: (FamilyId, LayerId),
        first: BlockIndex,
        sequence: Sequence,
        packed: &Arc<Packed>,
    ) {
        self.insert_blocks(of, first, packed.len(), sequence, |index| match packed.is_zero(index) {
            true => Content::Zero,
            false => Content::Packed(PackedBlock::new(packed, index)),
        });
    }

    fn insert_blocks(
        &self,
        (family, layer): (FamilyId, LayerId),
        first: BlockIndex,
        count: usize,
        sequence: Sequence,
        content: impl Fn(usize) -> Content,
    ) {
        let step = self.step(sequence);
        let mut at = 0;
        while at < count {
            let block = BlockIndex(first.0 + at as u64);
            let in_shard = (1 << SHARD_BLOCKS_SHIFT) - (block.0 as usize & ((1 << SHARD_BLOCKS_SHIFT) - 1));
            let until = count.min(at + in_shard);
            let mut shard = self.shard(family, block).write();
            let before = shard.len();
            for index in at..until {
                let entry = Entry::new(layer, step, content(index));
                shard.insert((family, BlockIndex(first.0 + index as u64)), entry);
            }
            self.entry_count.fetch_add(shard.len() - before, Ordering::Relaxed);
            at = until;
        }
    }

    /// Inserts a zeroed range of one record.
    pub(crate) fn insert_zeroed(
        &self,
        (family, layer): (FamilyId, LayerId),
        first: BlockIndex,
        count: u64,
        sequence: Sequence,
        hole: bool,
    ) {
        if count == 1 {
            let content = if hole { Content::Hole } else { Content::Zero };
            let mut shard = self.shard(family, first).write();
            let before = shard.len();
            shard.insert((family, first), Entry::new(layer, self.step(sequence), content));
            self.entry_count.fetch_add(shard.len() - before, Ordering::Relaxed);
            return;
        }
        let end = BlockIndex(first.0 + count);
        let mut ranges = self.ranges.write();
        ranges.insert((family, layer), first, Range { end, sequence, hole });
        self.range_count.store(ranges.len(), Ordering::Relaxed);
    }

    /// What the memtable says of a block to those who read `lineage`; `None` if nothing.
    pub(crate) fn lookup(&self, lineage: &Lineage, block: BlockIndex) -> Option<Content> {
        self.lookup_with_sequence(lineage, block).map(|(content, _)| content)
    }

    /// What the memtable says of a block, and which record said it.
    pub(crate) fn lookup_with_sequence(&self, lineage: &Lineage, block: BlockIndex) -> Option<(Content, Sequence)> {
        let family = lineage.family();
        let entry =
            self.shard(family, block).read().lookup((family, block), lineage).map(|entry| entry.said(self.first));
        let range = self.range_at(lineage, block);
        match (entry, range) {
            (Some(entry), Some(range)) if range.sequence > entry.1 => Some((range.to_content(), range.sequence)),
            (Some(entry), _) => Some(entry),
            (None, range) => range.map(|range| (range.to_content(), range.sequence)),
        }
    }

    /// Entries and ranges held.
    pub(crate) fn len(&self) -> usize {
        self.entry_count.load(Ordering::Relaxed) + self.range_count.load(Ordering::Relaxed)
    }

    /// What the memtable says of `[from, to)` to those who read `lineage`: pieces (first block, end, content), in order,
    /// that leave out what it does not know. Costs as much as there are blocks or entries, whichever is less.
    pub(crate) fn collect(
        &self,
        lineage: &Lineage,
        from: BlockIndex,
        to: BlockIndex,
    ) -> Vec<(BlockIndex, BlockIndex, Content)> {
        let mut borders = self.ranges.read().borders(lineage, from, to);
        let mut blocks: Vec<BlockIndex> = Vec::new();
        if to.0 - from.0 < self.entry_count.load(Ordering::Relaxed) as u64 {
            blocks.extend((from.0..to.0).map(BlockIndex));
        } else {
            for shard in &self.shards {
                let shard = shard.read();
                let here = shard.entries().map(|(place, _)| place);
                blocks.extend(here.filter(|(family, _)| *family == lineage.family()).map(|(_, block)| block));
            }
            blocks.retain(|block| (from..to).contains(block));
        }
        borders.extend(blocks.into_iter().flat_map(|block| [block, block.next()]));
        borders.extend([from, to]);
        borders.sort_unstable();
        borders.dedup();
        // Between two borders all blocks are alike.
        let piece = |pair: &[BlockIndex]| self.lookup(lineage, pair[0]).map(|content| (pair[0], pair[1], content));
        borders.windows(2).filter_map(piece).collect()
    }

    fn range_at(&self, lineage: &Lineage, block: BlockIndex) -> Option<Range> {
        if self.range_count.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.ranges.read().lookup(lineage, block)
    }
}

#[cfg(test)]
mod tests;
