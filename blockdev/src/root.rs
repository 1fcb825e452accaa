//! The root of a snapshot: one digest of all it holds, the same wherever and however it is stored. Specified in
//! `docs/roots.md`.
//!
//! A tree of BLAKE3 over the fingerprints of blocks, each node over sixteen below it. Zeros are leaves of their own kind, and
//! the nodes over nothing but zeros are known ahead, so that a root costs what is mapped and not how large the volume is.

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use lsm_store::fingerprint::{FINGERPRINT_BYTES, Fingerprint};
use lsm_store::id::{BLOCK_BYTES, BlockIndex};
use lsm_store::request::BlockIdentity;
use lsm_store::store::Volume;

/// Nodes below a node.
const FANOUT: usize = 16;
const FANOUT_SHIFT: u32 = FANOUT.trailing_zeros();

/// Nodes above the leaves of the largest volume: 2^38 blocks.
const HEIGHT_MAX: u32 = 10;

/// Entries of the fingerprint map asked for at once.
const ENTRIES_MAX: usize = 8192;

/// The domain whose fingerprints are plain BLAKE3.
pub const PLAIN_DOMAIN: u32 = 0;

type Digest = [u8; FINGERPRINT_BYTES];

/// The leaf of a block of zeros: no content has this fingerprint.
const ZEROS: Digest = [0; FINGERPRINT_BYTES];

static NODE: LazyLock<blake3::Hasher> =
    LazyLock::new(|| blake3::Hasher::new_derive_key("siltstone 2026-11-26 node of a root"));
static ROOT: LazyLock<blake3::Hasher> = LazyLock::new(|| blake3::Hasher::new_derive_key("siltstone 2026-11-26 root"));

/// By height: the node that has nothing but zeros below it.
static ZERO_NODES: LazyLock<[Digest; HEIGHT_MAX as usize + 1]> = LazyLock::new(|| {
    let mut nodes = [ZEROS; HEIGHT_MAX as usize + 1];
    for height in 1..nodes.len() {
        nodes[height] = node(height as u32, &[nodes[height - 1]; FANOUT]);
    }
    nodes
});

fn node(height: u32, below: &[Digest]) -> Digest {
    let mut hasher = NODE.clone();
    hasher.update(&[height as u8]).update(below.as_flattened());
    *hasher.finalize().as_bytes()
}

/// What a snapshot holds, as one digest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Root {
    /// The dedupe domain whose fingerprints it is made of: roots of different domains cannot be compared.
    pub domain: u32,
    /// The digest.
    pub digest: [u8; FINGERPRINT_BYTES],
}

/// What is wrong with the text of a root.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a root is 64 hexadecimal digits, after DOMAIN- if its domain is not 0")]
pub struct InvalidRoot;

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.domain != PLAIN_DOMAIN {
            write!(f, "{}-", self.domain)?;
        }
        Fingerprint(self.digest).fmt(f)
    }
}

impl FromStr for Root {
    type Err = InvalidRoot;

    fn from_str(text: &str) -> Result<Self, InvalidRoot> {
        let (domain, digits) = text.split_once('-').unwrap_or(("0", text));
        let is_plain = |text: &str, is_digit: fn(&u8) -> bool| text.as_bytes().iter().all(is_digit);
        if digits.len() != 2 * FINGERPRINT_BYTES
            || !is_plain(digits, u8::is_ascii_hexdigit)
            || !is_plain(domain, u8::is_ascii_digit)
        {
            return Err(InvalidRoot);
        }
        let domain = domain.parse().map_err(|_| InvalidRoot)?;
        let mut digest = [0; FINGERPRINT_BYTES];
        for (index, byte) in digest.iter_mut().enumerate() {
            let digits = digits.get(2 * index..2 * index + 2).ok_or(InvalidRoot)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| InvalidRoot)?;
        }
        Ok(Self { domain, digest })
    }
}

/// A root under construction: takes blocks in order.
#[derive(Clone, Debug)]
pub struct RootBuilder {
    domain: u32,
    size_bytes: u64,
    height: u32,
    /// Blocks taken.
    position: u64,
    data_blocks: u64,
    /// By height: nodes whose parent is not complete.
    open: Vec<Vec<Digest>>,
}

impl RootBuilder {
    /// Begins the root of `size_bytes` (at least 1, at most 1 PiB) by fingerprints of `domain`.
    ///
    /// # Panics
    /// For another size.
    #[must_use]
    pub fn new(domain: u32, size_bytes: u64) -> Self {
        let blocks = size_bytes.div_ceil(BLOCK_BYTES as u64);
        let height = (0..=HEIGHT_MAX).find(|height| blocks <= 1 << (FANOUT_SHIFT * height));
        let height = height.filter(|_| size_bytes > 0).expect("a volume has 1 byte to 1 PiB");
        let open = (0..height).map(|_| Vec::with_capacity(FANOUT)).collect();
        Self { domain, size_bytes, height, position: 0, data_blocks: 0, open }
    }

    /// Blocks taken so far.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Those of them that are not zeros.
    #[must_use]
    pub fn data_blocks(&self) -> u64 {
        self.data_blocks
    }

    fn blocks(&self) -> u64 {
        self.size_bytes.div_ceil(BLOCK_BYTES as u64)
    }

    /// The next block has content with this fingerprint; what a last block lacks to 4 KiB counts as zeros.
    ///
    /// # Panics
    /// If there are more blocks than the size has.
    pub fn push(&mut self, fingerprint: &Fingerprint) {
        assert!(self.position < self.blocks(), "a root has as many blocks as its size");
        self.data_blocks += 1;
        self.position += 1;
        self.add(0, fingerprint.0);
    }

    /// The next `count` blocks are zeros. Costs no more than a few nodes.
    ///
    /// # Panics
    /// If there are more blocks than the size has.
    pub fn push_zeros(&mut self, count: u64) {
        assert!(count <= self.blocks() - self.position, "a root has as many blocks as its size");
        self.add_zeros(count);
    }

    /// What adjacent blocks hold, as the fingerprint map says it.
    ///
    /// # Panics
    /// If there are more blocks than the size has.
    pub fn push_identity(&mut self, identity: &BlockIdentity) {
        match identity {
            BlockIdentity::Zeros(count) => self.push_zeros(*count),
            BlockIdentity::Data(fingerprint) => self.push(fingerprint),
        }
    }

    /// Blocks that are missing.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.blocks() - self.position
    }

    /// True if no block is missing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing() == 0
    }

    /// The next blocks are those of a volume that nobody writes to and that has the root's size: some thousands of them, if
    /// so many are missing. Reads no data.
    ///
    /// # Errors
    /// `Io` and `Corrupt` if the map or a fingerprint cannot be read.
    ///
    /// # Panics
    /// If the root is complete, or the volume larger.
    pub fn push_next_of(&mut self, volume: &Volume) -> Result<(), lsm_store::Error> {
        let (first, count) = (BlockIndex(self.position), self.blocks() - self.position);
        volume.fingerprints(first, count, ENTRIES_MAX)?.iter().for_each(|entry| self.push_identity(entry));
        Ok(())
    }

    fn add_zeros(&mut self, mut count: u64) {
        while count > 0 {
            let fits = |height: &u32| {
                let below = 1_u64 << (FANOUT_SHIFT * height);
                below <= count && self.position.is_multiple_of(below)
            };
            let height = (0..=self.height).rev().find(fits).expect("a leaf fits");
            let below = 1 << (FANOUT_SHIFT * height);
            self.position += below;
            count -= below;
            self.add(height, ZERO_NODES[height as usize]);
        }
    }

    fn add(&mut self, mut height: u32, mut digest: Digest) {
        while height < self.height {
            let siblings = &mut self.open[height as usize];
            siblings.push(digest);
            if siblings.len() < FANOUT {
                return;
            }
            height += 1;
            digest = node(height, siblings);
            siblings.clear();
        }
        self.open.push(vec![digest]);
    }

    /// The root.
    ///
    /// # Panics
    /// If blocks are missing.
    #[must_use]
    pub fn finish(mut self) -> Root {
        assert_eq!(self.position, self.blocks(), "a root has as many blocks as its size");
        self.add_zeros((1 << (FANOUT_SHIFT * self.height)) - self.position);
        let top = self.open.pop().and_then(|top| top.first().copied()).expect("a complete tree has a top");
        let mut hasher = ROOT.clone();
        hasher.update(&self.domain.to_le_bytes()).update(&self.size_bytes.to_le_bytes()).update(&top);
        Root { domain: self.domain, digest: *hasher.finalize().as_bytes() }
    }
}
