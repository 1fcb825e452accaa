//! What a memtable holds, in the order of runs: the input of a flush job.

use std::cmp::Reverse;

use super::ranges::LayerRanges;
use super::{Content, Memtable};
use crate::id::{BlockIndex, FamilyId, LayerId};
use crate::layers::Visibility;

/// Something a memtable holds. Entries of one family either lie apart or cover the same blocks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct FrozenEntry {
    pub(crate) family: FamilyId,
    pub(crate) layer: LayerId,
    pub(crate) first: BlockIndex,
    /// 1 for single blocks.
    pub(crate) count: u64,
    pub(crate) content: Content,
}

impl FrozenEntry {
    fn end(&self) -> BlockIndex {
        BlockIndex(self.first.0 + self.count)
    }

    /// Family and first block: the same for all versions of the same blocks.
    fn place(&self) -> (FamilyId, BlockIndex) {
        (self.family, self.first)
    }
}

impl Memtable {
    /// Everything the memtable holds, by family and block, the newest layer first: each block once for every layer that
    /// wrote it. A range is given in the parts that no later block of its layer covers, and that lie apart from what other
    /// layers have, or cover the same.
    pub(crate) fn sorted(&self) -> Vec<FrozenEntry> {
        let ranges = self.ranges.read().clone();
        let mut entries = Vec::with_capacity(self.entry_count.load(std::sync::atomic::Ordering::Relaxed));
        for shard in &self.shards {
            for ((family, first), entry) in shard.read().entries() {
                let (content, sequence) = entry.said(self.first);
                let of = (family, entry.layer);
                if ranges.of(of, first).is_none_or(|range| range.sequence < sequence) {
                    entries.push(FrozenEntry { family, layer: entry.layer, first, count: 1, content });
                }
            }
        }
        if ranges.len() > 0 {
            // By layer, so that each range meets its own blocks.
            entries.sort_unstable_by_key(|entry| (entry.family, entry.layer, entry.first));
            let points = entries.len();
            for (of, layer_ranges) in ranges.iter() {
                let start = entries[..points].partition_point(|entry| (entry.family, entry.layer) < *of);
                let len = entries[start..points].partition_point(|entry| (entry.family, entry.layer) == *of);
                let blocks: Vec<_> = entries[start..start + len].iter().map(|entry| entry.first).collect();
                push_uncovered(*of, layer_ranges, &blocks, &mut entries);
            }
        }
        entries.sort_unstable_by_key(|entry| (entry.place(), Reverse(entry.layer)));
        if ranges.len() > 0 { apart(entries) } else { entries }
    }
}

/// Adds the parts of a layer's ranges that none of its blocks, which are in order, covers.
fn push_uncovered(
    (family, layer): (FamilyId, LayerId),
    ranges: &LayerRanges,
    blocks: &[BlockIndex],
    entries: &mut Vec<FrozenEntry>,
) {
    for (&first, range) in ranges {
        let mut from = first;
        let within = blocks.partition_point(|block| *block < first);
        let ends = blocks[within..].iter().copied().take_while(|block| *block < range.end).chain([range.end]);
        for end in ends {
            if from < end {
                let count = end.0 - from.0;
                entries.push(FrozenEntry { family, layer, first: from, count, content: range.to_content() });
            }
            from = end.next();
        }
    }
}

/// Splits entries where those of other layers begin or end. They come by place, and those of one layer do not overlap.
fn apart(entries: Vec<FrozenEntry>) -> Vec<FrozenEntry> {
    let mut split = Vec::with_capacity(entries.len());
    // What is left of the entries that began, the newest layer first.
    let mut open: Vec<FrozenEntry> = Vec::new();
    let mut entries = entries.into_iter().peekable();
    loop {
        let Some(place) = open.first().map(FrozenEntry::place).or_else(|| entries.peek().map(FrozenEntry::place))
        else {
            return split;
        };
        while let Some(entry) = entries.next_if(|entry| entry.place() == place) {
            let at = open.partition_point(|other| other.layer > entry.layer);
            open.insert(at, entry);
        }
        let next = entries.peek().filter(|entry| entry.family == place.0).map(|entry| entry.first);
        let end = open.iter().map(FrozenEntry::end).chain(next).min().expect("something is open");
        let count = end.0 - place.1.0;
        open.retain_mut(|entry| {
            split.push(FrozenEntry { count, ..entry.clone() });
            (entry.first, entry.count) = (end, entry.count - count);
            entry.count > 0
        });
    }
}

/// Drops the versions that no root sees, from entries as [`Memtable::sorted`] gives them. `visibility` must have been
/// taken after the memtable was frozen.
pub(crate) fn retain_visible(entries: &mut Vec<FrozenEntry>, visibility: &Visibility) {
    let mut sifter = visibility.sifter();
    let (mut layers, mut verdicts, mut keep) = (Vec::new(), Vec::new(), Vec::with_capacity(entries.len()));
    for versions in entries.chunk_by(|a, b| a.place() == b.place()) {
        if let [entry] = versions {
            keep.push(sifter.canonical(entry.layer).is_some());
            continue;
        }
        layers.clear();
        layers.extend(versions.iter().map(|entry| entry.layer));
        sifter.sift(&layers, &mut verdicts);
        keep.extend(verdicts.iter().map(|verdict| verdict.visible));
    }
    let mut keep = keep.into_iter();
    entries.retain(|_| keep.next().expect("every entry was judged"));
}
