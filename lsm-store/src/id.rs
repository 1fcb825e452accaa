//! Ids and units of the store, one type each, so that a block number is never taken for a byte offset.
//!
//! Every id only grows and none is ever used twice (promise 8 of `docs/ARCHITECTURE.md`).

use std::fmt;

/// Bytes in a block, the unit of a volume's address space and of deduplication.
pub const BLOCK_BYTES: usize = 4096;

/// log2 of [`BLOCK_BYTES`].
pub const BLOCK_SHIFT: u32 = BLOCK_BYTES.trailing_zeros();

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl $name {
            /// The id that follows this one.
            ///
            /// # Panics
            /// If the ids are used up: they are never reused, so going on would break the store.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.checked_add(1).expect(concat!(stringify!($name), "s are used up")))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A volume of this store. Names live in the catalog above the store.
    VolumeId(u64)
}
id! {
    /// What one volume wrote between two snapshots. A layer's id is larger than that of the layer it was opened on.
    LayerId(u64)
}
id! {
    /// A tree of layers: a volume, its snapshots, clones of them. Named by the id of its first layer.
    FamilyId(u64)
}
id! {
    /// A segment of the log. 32 bits of 32 MiB each: 128 PiB of writes.
    SegmentId(u32)
}
id! {
    /// An immutable sorted piece of the map.
    RunId(u64)
}
id! {
    /// One journal file's worth of accepted writes; a memtable holds what one generation holds.
    Generation(u64)
}
id! {
    /// Position in the store's own journal order, counted in records from 1.
    Sequence(u64)
}
id! {
    /// Position in one volume's write order, from 1; the same on every replica.
    Lsn(u64)
}
id! {
    /// Fencing number of a volume's configuration.
    Epoch(u64)
}
id! {
    /// Number of a 4 KiB block within a volume, from 0.
    BlockIndex(u64)
}
id! {
    /// Position of a block within a segment, from 0 in the order in which blocks were appended.
    Slot(u16)
}

impl FamilyId {
    /// The family that begins with `layer`.
    #[must_use]
    pub fn of_first(layer: LayerId) -> Self {
        Self(layer.0)
    }
}

impl BlockIndex {
    /// Blocks of the largest volume, 1 PiB.
    pub const COUNT_MAX: u64 = 1 << (50 - BLOCK_SHIFT);

    /// Byte offset of the block's first byte in its volume.
    #[must_use]
    pub fn byte_offset(self) -> u64 {
        self.0 << BLOCK_SHIFT
    }
}

/// Identity of a store, drawn at random when it is created; every checksum on disk is seeded with it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoreId(pub [u8; 16]);

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreId({self})")
    }
}

/// Where the content of a block is: a block's slot in a segment (48 bits in all).
///
/// It names a block, not a frame, so that a frame can hold several blocks and a block can be found
/// again after its segment was rewritten (`docs/decisions/2026-11-23-location-by-slot.md`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Location {
    /// The segment that holds the block.
    pub segment: SegmentId,
    /// The block's position in it.
    pub slot: Slot,
}

impl Location {
    /// The location as one number, segment first; the order of locations is the order of these.
    #[must_use]
    pub fn to_bits(self) -> u64 {
        u64::from(self.segment.0) << 16 | u64::from(self.slot.0)
    }

    /// The inverse of [`Location::to_bits`]; `None` if `bits` needs more than 48 bits.
    #[must_use]
    pub fn from_bits(bits: u64) -> Option<Self> {
        let segment = SegmentId(u32::try_from(bits >> 16).ok()?);
        let slot = Slot((bits & 0xffff) as u16);
        Some(Self { segment, slot })
    }
}
