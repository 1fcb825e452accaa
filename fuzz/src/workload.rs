//! Operations on a store, and seeded sequences of them.
//!
//! An operation names volumes and places by numbers that are reduced to what exists when it is carried out: every
//! sequence, also one that a shrinker has cut pieces from, makes sense.

use lsm_store::id::BLOCK_BYTES;
use lsm_store::request::Zeroing;
use lsm_store::rng::SeededRng;

use crate::content::Content;

const BLOCK: u64 = BLOCK_BYTES as u64;

/// Blocks of the occasional thin volume, of which next to nothing is ever written.
const THIN_BLOCKS: u64 = 1 << 28;

/// A range of a volume; the offset is taken modulo the volume's size, the length cut at its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// First byte.
    pub offset: u64,
    /// Bytes, at least 1.
    pub len: u64,
}

impl Span {
    /// The range in a volume of `size` bytes, at least 1, as (offset, length).
    #[must_use]
    pub fn within(self, size: u64) -> (u64, u64) {
        let offset = self.offset % size;
        (offset, self.len.clamp(1, size - offset))
    }
}

/// How a volume's frames are compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compression {
    /// Not at all.
    None,
    /// LZ4.
    Lz4,
    /// Zstandard, level 1.
    Zstd,
}

/// Something done to a store. `volume` counts the living volumes, modulo how many there are; where it is only read, the
/// snapshots too.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Several writes in one call.
    Write {
        /// Which volume.
        volume: u8,
        /// The writes, in order.
        writes: Vec<(Span, Content)>,
    },
    /// TRIM or WRITE_ZEROES.
    Zero {
        /// Which volume.
        volume: u8,
        /// What becomes zero.
        span: Span,
        /// As a hole or as allocated zeros.
        zeroing: Zeroing,
    },
    /// FLUSH.
    Flush {
        /// Which volume.
        volume: u8,
    },
    /// A read, compared with the model.
    Read {
        /// Which volume.
        volume: u8,
        /// What is read.
        span: Span,
    },
    /// Block status, compared with the model.
    Status {
        /// Which volume.
        volume: u8,
        /// What is asked for.
        span: Span,
        /// Extents wanted at most, at least 1.
        extents_max: usize,
    },
    /// A new volume.
    Create {
        /// Its size in blocks, at least 1.
        blocks: u64,
        /// Its codec.
        compression: Compression,
    },
    /// Another size.
    Resize {
        /// Which volume.
        volume: u8,
        /// The new size in blocks, at least 1.
        blocks: u64,
    },
    /// A volume goes.
    Delete {
        /// Which volume.
        volume: u8,
    },
    /// A volume is frozen.
    Snapshot {
        /// Which volume.
        volume: u8,
    },
    /// A volume that holds what another or a snapshot holds.
    Clone {
        /// Which one, counting the snapshots behind the volumes.
        of: u8,
    },
    /// A volume goes back to one of its snapshots.
    RollBack {
        /// Which snapshot, of those whose volume lives.
        snapshot: u8,
    },
    /// A snapshot goes.
    DeleteSnapshot {
        /// Which snapshot.
        snapshot: u8,
    },
    /// Units of background work, if there are that many.
    Step {
        /// How many.
        count: u8,
    },
    /// Collection of all that is worth it, and of more.
    Collect,
    /// All that is in segments is packed as cold data is.
    CollectCold,
    /// A new memtable and journal generation.
    Freeze,
    /// A clean stop and a new start; everything is read back.
    Reopen,
    /// kill -9 and a new start; everything is read back, every answered write must be there.
    Kill,
    /// Power loss and a new start; everything is read back, every flushed write must be there.
    PowerCut {
        /// Chooses what of the unsynced writes survives.
        seed: u64,
    },
    /// The store is stopped, verified from end to end, and started again.
    Check,
}

/// What a sequence may contain.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// Living volumes at most.
    pub volumes_max: u8,
    /// Blocks of an ordinary volume at most.
    pub blocks_max: u64,
    /// Bytes of one write at most.
    pub write_bytes_max: u64,
    /// Whether power cuts are among the operations.
    pub power_cuts: bool,
    /// Whether restarts of any kind are.
    pub restarts: bool,
    /// Whether reads and block status are.
    pub reads: bool,
}

impl Profile {
    /// Everything: for long seeded runs.
    pub const FULL: Self = Self {
        volumes_max: 4,
        blocks_max: 160,
        write_bytes_max: 256 << 10,
        power_cuts: true,
        restarts: true,
        reads: true,
    };

    /// Few bytes and no restarts: for harnesses that recover the store from thousands of states of its device.
    pub const SMALL: Self = Self {
        volumes_max: 2,
        blocks_max: 24,
        write_bytes_max: 24 << 10,
        power_cuts: false,
        restarts: false,
        reads: false,
    };
}

/// `count` operations that depend on `seed` and `profile` alone, after one that makes a volume.
#[must_use]
pub fn generate(seed: u64, count: usize, profile: Profile) -> Vec<Operation> {
    let dice = Dice { rng: SeededRng::new(seed ^ 0x5157_0e5e), profile };
    let first = Operation::Create { blocks: profile.blocks_max, compression: Compression::Lz4 };
    std::iter::once(first).chain((1..count).map(|_| dice.operation())).collect()
}

struct Dice {
    rng: SeededRng,
    profile: Profile,
}

impl Dice {
    fn below(&self, bound: u64) -> u64 {
        self.rng.below(bound)
    }

    fn one_in(&self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn operation(&self) -> Operation {
        let volume = self.below(8) as u8;
        match self.below(100) {
            0..=41 => Operation::Write { volume, writes: self.writes() },
            42..=50 => self.zero(volume),
            51..=60 => Operation::Flush { volume },
            61..=68 if self.profile.reads => Operation::Read { volume, span: self.span(64 << 10) },
            69..=71 if self.profile.reads => self.status(volume),
            72..=73 => Operation::Create { blocks: self.size(), compression: self.compression() },
            74..=75 => Operation::Resize { volume, blocks: self.size() },
            76 => Operation::Delete { volume },
            77..=80 => Operation::Freeze,
            81..=83 if self.profile.restarts => self.restart(),
            84..=86 => Operation::Snapshot { volume },
            87 => Operation::Clone { of: volume },
            88 => Operation::RollBack { snapshot: volume },
            89 => Operation::DeleteSnapshot { snapshot: volume },
            90 => Operation::Collect,
            91 => Operation::CollectCold,
            _ => Operation::Step { count: 1 + self.below(3) as u8 },
        }
    }

    fn restart(&self) -> Operation {
        match self.below(6) {
            0 => Operation::Reopen,
            1 => Operation::Check,
            2 | 3 if self.profile.power_cuts => Operation::PowerCut { seed: self.rng.next_u64() },
            _ => Operation::Kill,
        }
    }

    fn writes(&self) -> Vec<(Span, Content)> {
        let count = if self.one_in(4) { 1 + self.below(4) } else { 1 };
        (0..count).map(|_| (self.span(self.profile.write_bytes_max), self.content())).collect()
    }

    fn content(&self) -> Content {
        match self.below(10) {
            0 => Content::Zeros,
            1..=3 => Content::Pooled(self.below(16) as u8),
            4 | 5 => Content::Text(self.rng.next_u64()),
            6 | 7 => Content::Mixed(self.rng.next_u64()),
            _ => Content::Unique(self.rng.next_u64()),
        }
    }

    fn zero(&self, volume: u8) -> Operation {
        let zeroing = if self.one_in(3) { Zeroing::Allocated } else { Zeroing::Hole };
        let span = match self.below(8) {
            0 => Span { offset: 0, len: u64::MAX },
            1 => Span { offset: self.below(self.profile.blocks_max) * BLOCK, len: u64::MAX },
            _ => self.span(self.profile.blocks_max * BLOCK / 3),
        };
        // Allocated zeros are kept block by block in the model: a huge volume gets a bounded range of them.
        let len = if zeroing == Zeroing::Allocated { span.len.min(1 << 20) } else { span.len };
        Operation::Zero { volume, span: Span { len, ..span }, zeroing }
    }

    fn status(&self, volume: u8) -> Operation {
        let span = if self.one_in(2) { Span { offset: 0, len: u64::MAX } } else { self.span(256 << 10) };
        Operation::Status { volume, span, extents_max: 1 + self.below(20) as usize }
    }

    /// Half of all places are a few hot blocks; most are aligned to blocks, some to sectors, some to nothing.
    fn span(&self, len_max: u64) -> Span {
        let block = if self.one_in(2) { self.below(6) * 3 } else { self.below(self.profile.blocks_max) };
        let unit = [BLOCK, BLOCK, BLOCK, 512, 1][self.below(5) as usize];
        let offset = block * BLOCK + self.below(BLOCK / unit) * unit;
        let units_max = (if self.one_in(6) { len_max } else { len_max.min(5 * BLOCK) }) / unit;
        Span { offset, len: (1 + self.below(units_max.max(1))) * unit }
    }

    fn size(&self) -> u64 {
        if self.one_in(8) { THIN_BLOCKS } else { 1 + self.below(self.profile.blocks_max) }
    }

    fn compression(&self) -> Compression {
        [Compression::None, Compression::Lz4, Compression::Zstd][self.below(3) as usize]
    }
}
