//! What was read back from a store.

use std::collections::BTreeMap;

use lsm_store::id::{BLOCK_BYTES, VolumeId};
use lsm_store::request::BlockState;

const BLOCK: u64 = BLOCK_BYTES as u64;

/// A volume as it was read back.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Image {
    /// The volume's size in bytes.
    pub size_bytes: u64,
    /// The blocks that were read; the last one of a volume may be short.
    pub blocks: BTreeMap<u64, Vec<u8>>,
    /// Block status of the whole volume: (first byte, length, state), in order and without gaps.
    pub status: Vec<(u64, u64, BlockState)>,
}

impl Image {
    /// The state of a block, `None` if block status reported none or more than one.
    #[must_use]
    pub fn state(&self, block: u64) -> Option<BlockState> {
        let from = block * BLOCK;
        let to = (from + BLOCK).min(self.size_bytes);
        let index = self.status.partition_point(|(first, len, _)| first + len <= from);
        let (first, len, state) = *self.status.get(index)?;
        (first <= from && first + len >= to).then_some(state)
    }
}

/// A store as it was read back.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StoreImage {
    /// The volumes found.
    pub volumes: BTreeMap<VolumeId, Image>,
}

impl StoreImage {
    /// Digest of all that was found, for logs.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for (id, image) in &self.volumes {
            hasher.update(format!("{id} {} {:?}", image.size_bytes, image.status).as_bytes());
            for (block, bytes) in &image.blocks {
                hasher.update(&block.to_le_bytes()).update(bytes);
            }
        }
        hasher.finalize().to_hex()[..16].to_owned()
    }
}
