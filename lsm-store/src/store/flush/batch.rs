//! Blocks that a flush job looks up and compresses together.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::codec::{Codec, Compressor, DECODED_BYTES_MAX, Encoding, Stored};
use crate::dedupe::Verdict;
use crate::fingerprint::{Fingerprint, fingerprint_blocks, is_zero};
use crate::id::BLOCK_BYTES;
use crate::memtable::{Content, FrozenEntry};
use crate::packed::PackedBlock;

pub(super) type Block = [u8; BLOCK_BYTES];

/// A block that has to be stored, as the memtable has it.
#[derive(Clone, Copy)]
pub(super) enum Form<'e> {
    Raw(&'e Block),
    Packed(&'e PackedBlock),
}

impl<'e> Form<'e> {
    fn raw(&self) -> Option<&'e Block> {
        match self {
            Self::Raw(block) => Some(block),
            Self::Packed(_) => None,
        }
    }

    /// The block as it is.
    pub(super) fn uncompressed(&self) -> Stored<'e> {
        match self {
            Self::Raw(block) => Stored { encoding: Encoding::Raw, bytes: &block[..] },
            Self::Packed(block) => block.stored(),
        }
    }
}

/// The entry's block if it has to be stored: zeros are not.
pub(super) fn stored_block(entry: &FrozenEntry) -> Option<(&FrozenEntry, Form<'_>)> {
    let form = match &entry.content {
        Content::Data(bytes) => {
            let block: &Block = bytes[..].try_into().expect("a memtable holds whole blocks");
            Form::Raw(Some(block).filter(|block| !is_zero(&block[..]))?)
        }
        Content::Packed(block) => Form::Packed(block),
        Content::Zero | Content::Hole => return None,
    };
    Some((entry, form))
}

/// Adjacent new blocks, for one frame if that saves anything.
pub(super) struct Group {
    /// Which of the batch's blocks.
    pub(super) blocks: Range<usize>,
    pub(super) codec: Codec,
    pub(super) is_taken: AtomicBool,
}

impl Group {
    fn new(blocks: Range<usize>, codec: Codec) -> Self {
        Self { blocks, codec, is_taken: AtomicBool::new(false) }
    }

    /// True for the one that is to compress it.
    pub(super) fn take(&self) -> bool {
        !self.is_taken.swap(true, Ordering::Relaxed)
    }

    /// True if it takes long to compress.
    pub(super) fn is_slow(&self) -> bool {
        matches!(self.codec, Codec::Zstd { .. })
    }
}

/// The blocks of a batch that have to be stored, in order, and which of them are new.
pub(super) struct Batch<'e> {
    pub(super) blocks: Vec<(&'e FrozenEntry, Form<'e>)>,
    pub(super) groups: Vec<Group>,
}

impl<'e> Batch<'e> {
    pub(super) fn new(entries: &'e [FrozenEntry]) -> Self {
        Self { blocks: entries.iter().filter_map(stored_block).collect(), groups: Vec::new() }
    }

    pub(super) fn fingerprints(&self) -> Vec<Fingerprint> {
        let raw: Vec<&Block> = self.blocks.iter().filter_map(|(_, form)| form.raw()).collect();
        let mut hashed = vec![Fingerprint([0; 32]); raw.len()];
        fingerprint_blocks(&raw, &mut hashed);
        let mut hashed = hashed.into_iter();
        let fingerprint = |(_, form): &(&FrozenEntry, Form<'_>)| match form {
            Form::Raw(_) => hashed.next().expect("every raw block was hashed"),
            Form::Packed(block) => block.fingerprint(),
        };
        self.blocks.iter().map(fingerprint).collect()
    }

    /// Groups from `index` on that take long to compress.
    pub(super) fn slow_groups(&self, index: usize) -> usize {
        self.groups[index..].iter().filter(|group| group.is_slow()).count()
    }

    /// Divides the new blocks into groups, of at most `count_max` blocks where their codec gains by it.
    pub(super) fn divide(
        &mut self,
        verdicts: &[Verdict],
        count_max: usize,
        mut codec_of: impl FnMut(&FrozenEntry) -> Codec,
    ) {
        let mut index = 0;
        while index < self.blocks.len() {
            if verdicts[index] != Verdict::New {
                index += 1;
                continue;
            }
            let (entry, form) = &self.blocks[index];
            let codec = codec_of(entry);
            let count = match (form, codec) {
                (Form::Raw(_), Codec::Zstd { .. }) => adjacent(&self.blocks[index..], &verdicts[index..], count_max),
                _ => 1,
            };
            self.groups.push(Group::new(index..index + count, codec));
            index += count;
        }
    }

    /// The group's blocks in one frame; `None` if each goes into one as it is.
    pub(super) fn compress<'c>(&self, group: &Group, compressor: &'c mut Compressor) -> Option<Stored<'c>> {
        match self.blocks[group.blocks.clone()] {
            [(_, Form::Packed(_))] => None,
            [(_, Form::Raw(block))] => compressor.compressed(group.codec, &block[..]),
            ref blocks => {
                let mut content = [0; DECODED_BYTES_MAX];
                for (part, (_, form)) in content.as_chunks_mut().0.iter_mut().zip(blocks) {
                    *part = *form.raw().expect("packed blocks are not compressed again");
                }
                compressor.compressed(group.codec, &content[..blocks.len() * BLOCK_BYTES])
            }
        }
    }
}

/// How many of the blocks, the first of which is new and raw, are adjacent, new and raw, at most `count_max`.
fn adjacent(blocks: &[(&FrozenEntry, Form<'_>)], verdicts: &[Verdict], count_max: usize) -> usize {
    let FrozenEntry { family, layer, first, .. } = *blocks[0].0;
    let adjacent = blocks.iter().zip(verdicts).enumerate().take(count_max).take_while(|(step, (block, verdict))| {
        (block.0.family, block.0.layer) == (family, layer)
            && block.0.first.0 == first.0 + *step as u64
            && **verdict == Verdict::New
            && block.1.raw().is_some()
    });
    adjacent.count()
}
