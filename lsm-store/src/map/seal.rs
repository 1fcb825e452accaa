//! Seals: CRC-32C that also cover where bytes belong, so that those of another store, run or place are noticed.

use crc_fast::{CrcAlgorithm, Digest};

use super::page::{PAGE_BYTES, SEAL_AT};
use crate::id::StoreId;

/// What sort of structure is sealed: four letters, different for every structure of every file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Kind(pub(super) [u8; 4]);

/// Computes the checksums of one kind of structure in one file.
#[derive(Clone, Copy)]
pub(super) struct Seal {
    place: [u8; 28],
}

impl Seal {
    /// The seal of structures of `kind` in the file `file_id` of `store`.
    pub(super) fn new(store: StoreId, kind: Kind, file_id: u64) -> Self {
        let mut place = [0; 28];
        place[..16].copy_from_slice(&store.0);
        place[16..20].copy_from_slice(&kind.0);
        place[20..].copy_from_slice(&file_id.to_le_bytes());
        Self { place }
    }

    /// CRC-32C (iSCSI) of the store id, kind, file id, `offset` (both 8 bytes, little-endian) and `parts`.
    pub(super) fn checksum(&self, offset: u64, parts: &[&[u8]]) -> u32 {
        let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
        digest.update(&self.place);
        digest.update(&offset.to_le_bytes());
        parts.iter().for_each(|part| digest.update(part));
        digest.finalize() as u32
    }

    /// Writes the checksum of a page at byte `offset` into its last four bytes.
    pub(super) fn seal_page(&self, offset: u64, page: &mut [u8; PAGE_BYTES]) {
        let (body, checksum) = page.split_at_mut(SEAL_AT);
        checksum.copy_from_slice(&self.checksum(offset, &[body]).to_le_bytes());
    }

    /// True if `page` was sealed for `offset` and is what was sealed.
    pub(super) fn is_sealed(&self, offset: u64, page: &[u8; PAGE_BYTES]) -> bool {
        let (body, checksum) = page.split_at(SEAL_AT);
        checksum == self.checksum(offset, &[body]).to_le_bytes()
    }
}
