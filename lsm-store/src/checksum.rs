//! Checksums that know where they belong.
//!
//! A [`Seal`] gives the CRC-32C (CRC-32/ISCSI) of a structure's bytes *and* of the store, kind of structure, file and
//! offset they belong to, so that an intact structure read from the wrong place, a stale one after a lost write, and one
//! of another store all fail like a damaged one. A checksum detects damage; it is never identity: that is
//! [`crate::fingerprint`]. See "Checksums" in `docs/disk-format.md`.

#[cfg(test)]
mod tests;

use crc_fast::{CrcAlgorithm, Digest};

use crate::id::StoreId;

/// Bytes in a page: the unit in which structures that are not frames are stored, sealed and cached.
pub const PAGE_BYTES: usize = 4096;

/// Bytes of a page before its checksum.
pub const PAGE_BODY_BYTES: usize = PAGE_BYTES - 4;

/// What sort of structure a checksum belongs to: four ASCII letters, different for every structure of every file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Kind(pub [u8; 4]);

/// Computes the checksums of one kind of structure in one file.
#[derive(Clone, Copy, Debug)]
pub struct Seal {
    /// Register of the CRC after store, kind and file.
    register: u64,
}

impl Seal {
    /// The seal of structures of `kind` in the file `file_id` (a segment id, run id, generation, ...) of `store`.
    #[must_use]
    pub fn new(store: StoreId, kind: Kind, file_id: u64) -> Self {
        let mut place = [0; 28];
        place[..16].copy_from_slice(&store.0);
        place[16..20].copy_from_slice(&kind.0);
        place[20..].copy_from_slice(&file_id.to_le_bytes());
        let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
        digest.update(&place);
        Self { register: digest.get_state() }
    }

    /// CRC-32C of the store id, kind, file id, `offset` (both 8 bytes little-endian) and `parts`, one after the other.
    ///
    /// Two offsets less than 4 GiB apart never give the same checksum for the same bytes: they differ in a burst of at
    /// most 32 bits.
    #[must_use]
    pub fn checksum(&self, offset: u64, parts: &[&[u8]]) -> u32 {
        // A fuzzer never guesses a checksum: in its builds, which nothing else uses, all of them are the same.
        if cfg!(fuzzing) {
            return 0;
        }
        let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, self.register);
        digest.update(&offset.to_le_bytes());
        for part in parts {
            digest.update(part);
        }
        digest.finalize() as u32
    }

    /// Writes the checksum of a page at `offset` into its last four bytes.
    pub fn seal_page(&self, offset: u64, page: &mut [u8; PAGE_BYTES]) {
        let (body, checksum) = page.split_at_mut(PAGE_BODY_BYTES);
        checksum.copy_from_slice(&self.checksum(offset, &[body]).to_le_bytes());
    }

    /// True if `page` was sealed for `offset` and is what was sealed.
    #[must_use]
    pub fn is_sealed(&self, offset: u64, page: &[u8; PAGE_BYTES]) -> bool {
        let (body, checksum) = page.split_at(PAGE_BODY_BYTES);
        checksum == self.checksum(offset, &[body]).to_le_bytes()
    }
}

/// The plain CRC-32C of `bytes`, for payloads whose place is covered by the checksum of what refers to them.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    // As in `Seal::checksum`.
    if cfg!(fuzzing) {
        return 0;
    }
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(bytes);
    digest.finalize() as u32
}
