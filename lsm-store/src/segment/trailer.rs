//! The first and the last page of a segment: header and footer.
//!
//! Both start with the same identity; the footer adds where everything is, and its presence is what "sealed" means.
//! Every version keeps magic, version and incompatible features where they are, and the checksum in the page's last
//! four bytes.

use std::time::Duration;

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::geometry::Geometry;
use super::{Class, Identity, path};
use crate::checksum::{Kind, PAGE_BODY_BYTES, PAGE_BYTES, Seal};
use crate::error::{Error, Result};
use crate::id::{Epoch, SegmentId, StoreId};

pub(super) const HEADER_MAGIC: [u8; 8] = *b"SILTSEGH";
pub(super) const FOOTER_MAGIC: [u8; 8] = *b"SILTSEGF";
pub(super) const HEADER_KIND: Kind = Kind(*b"SEGH");
pub(super) const FOOTER_KIND: Kind = Kind(*b"SEGF");

/// The version this code writes, and the newest it reads.
pub(super) const VERSION: u32 = 1;

/// Features without which a segment cannot be read that this version has: none yet.
const INCOMPAT_KNOWN: u64 = 0;

/// The first 80 bytes of header and footer.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct IdentityV1 {
    pub(super) magic: [u8; 8],
    pub(super) version: U32,
    pub(super) class: u8,
    pub(super) reserved: [u8; 3],
    pub(super) store: [u8; 16],
    pub(super) segment: U32,
    pub(super) domain: U32,
    pub(super) epoch: U64,
    pub(super) created_ms: U64,
    pub(super) features_compat: U64,
    pub(super) features_ro_compat: U64,
    pub(super) features_incompat: U64,
}

/// The header page.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct HeaderV1 {
    pub(super) identity: IdentityV1,
    pub(super) reserved: [u8; PAGE_BODY_BYTES - 80],
    pub(super) checksum: U32,
}

/// The footer page.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct FooterV1 {
    pub(super) identity: IdentityV1,
    pub(super) slots: U32,
    pub(super) frames: U32,
    pub(super) blocks: U32,
    pub(super) frames_end: U32,
    pub(super) slot_table_offset: U32,
    pub(super) slot_table_pages: U32,
    pub(super) fingerprints_offset: U32,
    pub(super) fingerprint_pages: U32,
    pub(super) file_bytes: U32,
    pub(super) reserved: U32,
    pub(super) directory_digest: [u8; 32],
    pub(super) reserved_rest: [u8; PAGE_BODY_BYTES - 152],
    pub(super) checksum: U32,
}

/// What a footer says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Footer {
    pub(super) identity: Identity,
    pub(super) geometry: Geometry,
    pub(super) frames: u32,
    pub(super) blocks: u32,
    /// BLAKE3 of the slot table's and the fingerprints' pages.
    pub(super) directory_digest: [u8; 32],
}

impl IdentityV1 {
    fn new(magic: [u8; 8], store: StoreId, identity: &Identity) -> Self {
        Self {
            magic,
            version: VERSION.into(),
            class: identity.class as u8,
            reserved: [0; 3],
            store: store.0,
            segment: identity.id.0.into(),
            domain: identity.domain.into(),
            epoch: identity.epoch.0.into(),
            created_ms: (identity.created.as_millis() as u64).into(),
            features_compat: 0.into(),
            features_ro_compat: 0.into(),
            features_incompat: 0.into(),
        }
    }

    /// What the identity says, once the page's checksum held. Read-only-compatible features do not matter: a sealed
    /// segment is only ever read.
    fn check(&self, magic: [u8; 8], id: SegmentId, offset: u64) -> Result<Identity> {
        let corrupt = |why| Error::corrupt(path(id), offset, why);
        if self.magic != magic {
            return Err(corrupt("this is not where a segment's header or footer is"));
        }
        if self.version.get() > VERSION {
            return Err(Error::Unsupported { what: "segment version", found: self.version.into() });
        }
        let unknown = self.features_incompat.get() & !INCOMPAT_KNOWN;
        if unknown != 0 {
            return Err(Error::Unsupported { what: "segment feature", found: unknown });
        }
        if self.segment.get() != id.0 {
            return Err(corrupt("it is another segment's"));
        }
        let class = Class::from_byte(self.class);
        Ok(Identity {
            id,
            epoch: Epoch(self.epoch.into()),
            class: class.ok_or(Error::Unsupported { what: "segment class", found: self.class.into() })?,
            domain: self.domain.into(),
            created: Duration::from_millis(self.created_ms.into()),
        })
    }
}

/// The header page of a segment.
pub(super) fn encode_header(store: StoreId, identity: &Identity) -> [u8; PAGE_BYTES] {
    let identity_v1 = IdentityV1::new(HEADER_MAGIC, store, identity);
    let header = HeaderV1 { identity: identity_v1, reserved: [0; PAGE_BODY_BYTES - 80], checksum: 0.into() };
    let mut page = zerocopy::transmute!(header);
    Seal::new(store, HEADER_KIND, identity.id.0.into()).seal_page(0, &mut page);
    page
}

/// Reads the header page of segment `id`.
pub(super) fn decode_header(store: StoreId, id: SegmentId, page: &[u8; PAGE_BYTES]) -> Result<Identity> {
    if !Seal::new(store, HEADER_KIND, id.0.into()).is_sealed(0, page) {
        return Err(Error::corrupt(path(id), 0, "the header's checksum does not match"));
    }
    let header: &HeaderV1 = zerocopy::transmute_ref!(page);
    header.identity.check(HEADER_MAGIC, id, 0)
}

/// The footer page of a segment.
pub(super) fn encode_footer(store: StoreId, footer: &Footer) -> [u8; PAGE_BYTES] {
    let geometry = footer.geometry;
    let footer_v1 = FooterV1 {
        identity: IdentityV1::new(FOOTER_MAGIC, store, &footer.identity),
        slots: geometry.slots().into(),
        frames: footer.frames.into(),
        blocks: footer.blocks.into(),
        frames_end: geometry.frames_end().into(),
        slot_table_offset: geometry.slot_table_offset().into(),
        slot_table_pages: geometry.slot_table_pages().into(),
        fingerprints_offset: geometry.fingerprints_offset().into(),
        fingerprint_pages: geometry.fingerprint_pages().into(),
        file_bytes: geometry.file_bytes().into(),
        reserved: 0.into(),
        directory_digest: footer.directory_digest,
        reserved_rest: [0; PAGE_BODY_BYTES - 152],
        checksum: 0.into(),
    };
    let mut page = zerocopy::transmute!(footer_v1);
    let seal = Seal::new(store, FOOTER_KIND, footer.identity.id.0.into());
    seal.seal_page(geometry.footer_offset().into(), &mut page);
    page
}

/// Reads the last page, at `offset`, of the file of segment `id`.
pub(super) fn decode_footer(store: StoreId, id: SegmentId, offset: u64, page: &[u8; PAGE_BYTES]) -> Result<Footer> {
    let corrupt = |why| Error::corrupt(path(id), offset, why);
    if !Seal::new(store, FOOTER_KIND, id.0.into()).is_sealed(offset, page) {
        return Err(corrupt("the footer's checksum does not match: never sealed, or damaged"));
    }
    let footer: &FooterV1 = zerocopy::transmute_ref!(page);
    let identity = footer.identity.check(FOOTER_MAGIC, id, offset)?;
    let geometry = Geometry::new(footer.slots.into(), footer.frames_end.into());
    let geometry = geometry.ok_or(corrupt("the footer describes no possible segment"))?;
    let offsets = [footer.slot_table_offset, footer.fingerprints_offset, footer.file_bytes].map(U32::get);
    let pages = [footer.slot_table_pages, footer.fingerprint_pages].map(U32::get);
    let consistent = offsets == [geometry.slot_table_offset(), geometry.fingerprints_offset(), geometry.file_bytes()]
        && pages == [geometry.slot_table_pages(), geometry.fingerprint_pages()]
        && offset == u64::from(geometry.footer_offset());
    if !consistent {
        return Err(corrupt("the footer contradicts itself"));
    }
    let (frames, blocks) = (footer.frames.into(), footer.blocks.into());
    Ok(Footer { identity, geometry, frames, blocks, directory_digest: footer.directory_digest })
}
