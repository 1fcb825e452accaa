//! Pages of fingerprints in slot order: 127 on each, so that a page holds its own checksum.

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::checksum::{Kind, PAGE_BYTES, Seal};
use crate::fingerprint::Fingerprint;
use crate::id::{SegmentId, Slot, StoreId};

pub(super) const FINGERPRINTS_KIND: Kind = Kind(*b"FPRT");

/// Fingerprints on a page.
pub(super) const FINGERPRINTS_PER_PAGE: usize = 127;

/// A page of fingerprints; those of unused slots, and behind the last slot, are zero.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct FingerprintPageV1 {
    pub(super) fingerprints: [Fingerprint; FINGERPRINTS_PER_PAGE],
    pub(super) reserved: [u8; 28],
    pub(super) checksum: U32,
}

/// The page that holds the fingerprint of `slot`, and its position on it.
pub(super) fn position(slot: Slot) -> (u32, usize) {
    (u32::from(slot.0) / FINGERPRINTS_PER_PAGE as u32, usize::from(slot.0) % FINGERPRINTS_PER_PAGE)
}

/// The fingerprints on a verified page.
pub(super) fn decode(page: &[u8; PAGE_BYTES]) -> &[Fingerprint; FINGERPRINTS_PER_PAGE] {
    let page: &FingerprintPageV1 = zerocopy::transmute_ref!(page);
    &page.fingerprints
}

/// The pages of `fingerprints`, without their checksums.
pub(super) fn pages(fingerprints: &[Fingerprint]) -> impl Iterator<Item = [u8; PAGE_BYTES]> {
    fingerprints.chunks(FINGERPRINTS_PER_PAGE).map(|fingerprints| {
        let mut page = FingerprintPageV1::new_zeroed();
        page.fingerprints[..fingerprints.len()].copy_from_slice(fingerprints);
        zerocopy::transmute!(page)
    })
}

/// The seal of a segment's fingerprints.
pub(super) fn seal(store: StoreId, id: SegmentId) -> Seal {
    Seal::new(store, FINGERPRINTS_KIND, id.0.into())
}
