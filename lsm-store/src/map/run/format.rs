//! The fixed records of a run file: its header page and the footer in its last bytes.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::RunMeta;
use crate::checksum::Kind;
use crate::id::{BlockIndex, FamilyId, LayerId, RunId, StoreId};
use crate::map::Key;

pub(in crate::map) const HEADER_MAGIC: [u8; 8] = *b"siltrunH";
pub(in crate::map) const FOOTER_MAGIC: [u8; 8] = *b"siltrunF";

/// Kinds of what is sealed in a run file. Pages of entries and of ranges are of one kind: their offsets differ.
pub(in crate::map) const HEADER_KIND: Kind = Kind(*b"RUNH");
pub(in crate::map) const PAGE_KIND: Kind = Kind(*b"RUNP");
pub(in crate::map) const INDEX_KIND: Kind = Kind(*b"RUNX");
pub(in crate::map) const SUMMARY_KIND: Kind = Kind(*b"RUNS");
pub(in crate::map) const FOOTER_KIND: Kind = Kind(*b"RUNF");

/// Version of the format.
pub(in crate::map) const VERSION: u32 = 1;

/// Features a reader must know to read the file: none yet.
pub(in crate::map) const INCOMPAT_KNOWN: u64 = 0;

/// The first bytes of the header page; the rest is zero, the last 4 bytes are its seal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(in crate::map) struct HeaderV1 {
    pub(in crate::map) magic: [u8; 8],
    pub(in crate::map) version: U32,
    /// The level it was written for. For people to read: the manifest says where it stands.
    pub(in crate::map) level: U32,
    pub(in crate::map) compat: U64,
    pub(in crate::map) ro_compat: U64,
    pub(in crate::map) incompat: U64,
    pub(in crate::map) store: [u8; 16],
    pub(in crate::map) run: U64,
    /// Seconds since the Unix epoch. For people to read.
    pub(in crate::map) created_s: U64,
}

/// The last 256 bytes of the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(in crate::map) struct FooterV1 {
    pub(in crate::map) magic: [u8; 8],
    pub(in crate::map) version: U32,
    pub(in crate::map) level: U32,
    pub(in crate::map) compat: U64,
    pub(in crate::map) ro_compat: U64,
    pub(in crate::map) incompat: U64,
    pub(in crate::map) store: [u8; 16],
    pub(in crate::map) run: U64,
    pub(in crate::map) entry_pages: U32,
    pub(in crate::map) range_pages: U32,
    pub(in crate::map) entries: U64,
    pub(in crate::map) ranges: U64,
    pub(in crate::map) blocks: U64,
    pub(in crate::map) first_family: U64,
    pub(in crate::map) first_block: U64,
    pub(in crate::map) last_family: U64,
    pub(in crate::map) last_block: U64,
    pub(in crate::map) layer_min: U64,
    pub(in crate::map) layer_max: U64,
    pub(in crate::map) index_bytes: U32,
    pub(in crate::map) index_seal: U32,
    pub(in crate::map) summary_bytes: U32,
    pub(in crate::map) summary_seal: U32,
    /// BLAKE3 of everything before the footer.
    pub(in crate::map) digest: [u8; 32],
    pub(in crate::map) reserved: [u8; 60],
    /// Seal of the 252 bytes before it, as of the file's last page.
    pub(in crate::map) seal: U32,
}

pub(in crate::map) const FOOTER_BYTES: usize = size_of::<FooterV1>();

const _: () = assert!(FOOTER_BYTES == 256 && size_of::<HeaderV1>() == 72);

impl FooterV1 {
    /// The footer of a run, its seal still missing.
    pub(super) fn new(store: StoreId, meta: &RunMeta) -> Self {
        Self {
            magic: FOOTER_MAGIC,
            version: VERSION.into(),
            level: u32::from(meta.level).into(),
            compat: 0.into(),
            ro_compat: 0.into(),
            incompat: 0.into(),
            store: store.0,
            run: meta.id.0.into(),
            entry_pages: meta.entry_pages.into(),
            range_pages: meta.range_pages.into(),
            entries: meta.entries.into(),
            ranges: meta.ranges.into(),
            blocks: meta.blocks.into(),
            first_family: meta.first.family.0.into(),
            first_block: meta.first.block.0.into(),
            last_family: meta.last.family.0.into(),
            last_block: meta.last.block.0.into(),
            layer_min: meta.layer_min.0.into(),
            layer_max: meta.layer_max.0.into(),
            index_bytes: 0.into(),
            index_seal: 0.into(),
            summary_bytes: 0.into(),
            summary_seal: 0.into(),
            digest: [0; 32],
            reserved: [0; 60],
            seal: 0.into(),
        }
    }

    /// What the footer says of the run, in a file of `bytes` bytes.
    pub(super) fn meta(&self, bytes: u64) -> RunMeta {
        let key = |family: U64, block: U64| Key { family: FamilyId(family.get()), block: BlockIndex(block.get()) };
        RunMeta {
            id: RunId(self.run.get()),
            level: self.level.get() as u8,
            bytes,
            entry_pages: self.entry_pages.get(),
            range_pages: self.range_pages.get(),
            entries: self.entries.get(),
            ranges: self.ranges.get(),
            blocks: self.blocks.get(),
            first: key(self.first_family, self.first_block),
            last: key(self.last_family, self.last_block),
            layer_min: LayerId(self.layer_min.get()),
            layer_max: LayerId(self.layer_max.get()),
        }
    }
}

/// Bytes of an index entry: family, first block and layer of a page's first stretch, 8 each.
pub(in crate::map) const INDEX_ENTRY_BYTES: usize = 24;
