//! The records of a stream as bytes: `docs/stream-format.md` has the rules, and tests compare its tables with the structs
//! here. No I/O.

#[cfg(test)]
pub(super) mod tests;

use lsm_store::checksum::crc32c;
use lsm_store::codec::Encoding;
use lsm_store::fingerprint::Fingerprint;
use lsm_store::id::{BLOCK_BYTES, BlockIndex, StoreId, VolumeId};
use lsm_store::store::{STORED_BLOCKS_MAX, StoredBlock, VOLUME_BYTES_MAX};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::chain::{ChainWriter, Records};
use crate::name::{NAME_BYTES_MAX, VolumeName};
use crate::root::Root;

/// What a stream begins with.
const MAGIC: [u8; 8] = *b"SiltStrm";

/// The version that this program writes, and the newest it reads.
pub(super) const VERSION: u32 = 1;

/// The feature of a stream that asks what its receiver lacks: whoever only listens cannot make sense of it.
pub(super) const ASKS: u32 = 1;

/// Blocks in one offer at most.
pub const OFFER_BLOCKS_MAX: usize = 1024;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
pub(super) struct PreambleV1 {
    magic: [u8; 8],
    version: U32,
    incompat: U32,
}

/// `checksum` covers all that follows in the record; `previous` is that of the record before; `check` covers the header in an
/// exchange.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
pub(super) struct RecordHeaderV1 {
    pub(super) checksum: U32,
    pub(super) previous: U32,
    pub(super) kind: u8,
    pub(super) check: [u8; 3],
    pub(super) body_bytes: U32,
}

impl RecordHeaderV1 {
    /// Of a record whose checksum and check are not known yet.
    pub(super) fn new(kind: u8, previous: u32, body_bytes: u32) -> Self {
        Self { checksum: 0.into(), previous: previous.into(), kind, check: [0; 3], body_bytes: body_bytes.into() }
    }
}

/// The names follow, in the order of their lengths.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct BeginV1 {
    store: [u8; 16],
    snapshot: U64,
    created_ms: U64,
    size_bytes: U64,
    domain: U32,
    volume_name_bytes: u8,
    snapshot_name_bytes: u8,
    base_name_bytes: u8,
    reserved: u8,
    base: U64,
    base_size_bytes: U64,
    base_root: [u8; 32],
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct ZerosV1 {
    first: U64,
    count: U64,
}

/// `count` times [`BlockV1`] follow, then as many payloads.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct BlocksV1 {
    first: U64,
    count: U32,
    reserved: U32,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct BlockV1 {
    fingerprint: [u8; 32],
    encoding: u8,
    reserved: u8,
    payload_bytes: U16,
}

/// `count` fingerprints of 32 bytes follow.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct OfferV1 {
    first: U64,
    count: U32,
    reserved: U32,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct EndV1 {
    root: [u8; 32],
    data_blocks: U64,
    zero_blocks: U64,
    records: U64,
}

pub(super) const PREAMBLE_BYTES: usize = size_of::<PreambleV1>();
pub(super) const HEADER_BYTES: usize = size_of::<RecordHeaderV1>();

const BEGIN_BYTES_MAX: usize = size_of::<BeginV1>() + 3 * NAME_BYTES_MAX;
const OFFER_BYTES_MAX: usize = size_of::<OfferV1>() + OFFER_BLOCKS_MAX * size_of::<[u8; 32]>();
const BLOCKS_BYTES_MAX: usize = size_of::<BlocksV1>() + STORED_BLOCKS_MAX * (size_of::<BlockV1>() + BLOCK_BYTES);

const BEGIN: u8 = 1;
const ZEROS: u8 = 2;
const BLOCKS: u8 = 3;
const END: u8 = 4;
const OFFER: u8 = 5;

/// What a stream brings, and where it comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Begin {
    /// The store it was sent from.
    pub store: StoreId,
    /// The snapshot's id there.
    pub id: VolumeId,
    /// The name of the volume there.
    pub volume: VolumeName,
    /// The snapshot's name, which it keeps.
    pub snapshot: VolumeName,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// The dedupe domain of the fingerprints.
    pub domain: u32,
    /// What the stream goes on from; `None` if it brings everything.
    pub base: Option<Base>,
}

/// The snapshot that a stream goes on from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Base {
    /// Its id in the store the stream comes from.
    pub id: VolumeId,
    /// Its name, without the volume.
    pub snapshot: VolumeName,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its root.
    pub root: Root,
}

/// What all of a stream comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct End {
    /// The root of the snapshot, in the domain of the stream; not only of what the stream brings.
    pub root: [u8; 32],
    /// Blocks with data that the stream has brought.
    pub data_blocks: u64,
    /// Blocks that it has said to be zeros.
    pub zero_blocks: u64,
    /// Records before this one.
    pub records: u64,
}

/// A record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// The first.
    Begin(Begin),
    /// Blocks that are zeros.
    Zeros {
        /// The first.
        first: BlockIndex,
        /// How many, at least 1.
        count: u64,
    },
    /// Adjacent blocks with data, 1 to [`STORED_BLOCKS_MAX`].
    Blocks {
        /// The first.
        first: BlockIndex,
        /// What they hold.
        blocks: Vec<StoredBlock>,
    },
    /// What adjacent blocks with data hold, 1 to [`OFFER_BLOCKS_MAX`]; only in a stream that asks.
    Offer {
        /// The first.
        first: BlockIndex,
        /// Their fingerprints.
        fingerprints: Vec<Fingerprint>,
    },
    /// The last.
    End(End),
}

impl Record {
    fn kind(&self) -> u8 {
        match self {
            Self::Begin(_) => BEGIN,
            Self::Zeros { .. } => ZEROS,
            Self::Blocks { .. } => BLOCKS,
            Self::Offer { .. } => OFFER,
            Self::End(_) => END,
        }
    }

    fn encode_body(&self, out: &mut Vec<u8>) {
        match self {
            Self::Begin(begin) => encode_begin(begin, out),
            Self::Zeros { first, count } => {
                let zeros = ZerosV1 { first: first.0.into(), count: (*count).into() };
                out.extend_from_slice(zeros.as_bytes());
            }
            Self::Blocks { first, blocks } => encode_blocks(*first, blocks, out),
            Self::Offer { first, fingerprints } => encode_offer(*first, fingerprints, out),
            Self::End(end) => {
                let (data_blocks, zero_blocks) = (end.data_blocks.into(), end.zero_blocks.into());
                let end = EndV1 { root: end.root, data_blocks, zero_blocks, records: end.records.into() };
                out.extend_from_slice(end.as_bytes());
            }
        }
    }
}

fn encode_begin(begin: &Begin, out: &mut Vec<u8>) {
    let base = begin.base.as_ref();
    let base_name = base.map_or("", |base| base.snapshot.as_str());
    let names = [begin.volume.as_str(), begin.snapshot.as_str(), base_name];
    let [volume_name_bytes, snapshot_name_bytes, base_name_bytes] = names.map(|name| name.len() as u8);
    let fixed = BeginV1 {
        store: begin.store.0,
        snapshot: begin.id.0.into(),
        created_ms: begin.created_ms.into(),
        size_bytes: begin.size_bytes.into(),
        domain: begin.domain.into(),
        volume_name_bytes,
        snapshot_name_bytes,
        base_name_bytes,
        reserved: 0,
        base: base.map_or(0, |base| base.id.0).into(),
        base_size_bytes: base.map_or(0, |base| base.size_bytes).into(),
        base_root: base.map_or([0; 32], |base| base.root.digest),
    };
    out.extend_from_slice(fixed.as_bytes());
    names.iter().for_each(|name| out.extend_from_slice(name.as_bytes()));
}

fn encode_blocks(first: BlockIndex, blocks: &[StoredBlock], out: &mut Vec<u8>) {
    assert!((1..=STORED_BLOCKS_MAX).contains(&blocks.len()), "a record has 1 to {STORED_BLOCKS_MAX} blocks");
    let head = BlocksV1 { first: first.0.into(), count: (blocks.len() as u32).into(), reserved: 0.into() };
    out.extend_from_slice(head.as_bytes());
    for block in blocks {
        let (encoding, payload_bytes) = (block.encoding as u8, (block.bytes.len() as u16).into());
        let entry = BlockV1 { fingerprint: block.fingerprint.0, encoding, reserved: 0, payload_bytes };
        out.extend_from_slice(entry.as_bytes());
    }
    blocks.iter().for_each(|block| out.extend_from_slice(&block.bytes));
}

fn encode_offer(first: BlockIndex, fingerprints: &[Fingerprint], out: &mut Vec<u8>) {
    assert!((1..=OFFER_BLOCKS_MAX).contains(&fingerprints.len()), "an offer has 1 to {OFFER_BLOCKS_MAX} blocks");
    let head = OfferV1 { first: first.0.into(), count: (fingerprints.len() as u32).into(), reserved: 0.into() };
    out.extend_from_slice(head.as_bytes());
    fingerprints.iter().for_each(|fingerprint| out.extend_from_slice(&fingerprint.0));
}

/// Writes records, each with its place in the chain of checksums.
#[derive(Clone, Debug, Default)]
pub struct StreamEncoder {
    chain: ChainWriter,
    records: u64,
    features: u32,
}

impl StreamEncoder {
    /// Writes a stream that asks what its receiver lacks.
    #[must_use]
    pub fn asking() -> Self {
        Self { features: ASKS, ..Self::default() }
    }

    /// Records written.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Appends a record to `out`; before the first, what a stream begins with.
    ///
    /// # Panics
    /// If the record breaks the bounds that its type names.
    pub fn encode(&mut self, record: &Record, out: &mut Vec<u8>) {
        if self.records == 0 {
            let preamble = PreambleV1 { magic: MAGIC, version: VERSION.into(), incompat: self.features.into() };
            out.extend_from_slice(preamble.as_bytes());
            self.chain.begin(crc32c(preamble.as_bytes()), self.features == ASKS);
        }
        self.chain.append(record.kind(), out, |out| record.encode_body(out));
        self.records += 1;
    }
}

/// What a stream begins with, read.
pub(super) struct Preamble {
    /// What the first record names as the one before it.
    pub(super) checksum: u32,
    pub(super) asks: bool,
}

/// What is wrong with a preamble.
pub(super) enum BadPreamble {
    Magic,
    Version(u32),
    Features(u32),
}

/// Checks what a stream begins with.
pub(super) fn decode_preamble(bytes: &[u8; PREAMBLE_BYTES]) -> Result<Preamble, BadPreamble> {
    let preamble: &PreambleV1 = zerocopy::transmute_ref!(bytes);
    if preamble.magic != MAGIC {
        return Err(BadPreamble::Magic);
    }
    match (preamble.version.get(), preamble.incompat.get()) {
        (VERSION, features @ (0 | ASKS)) => Ok(Preamble { checksum: crc32c(bytes), asks: features == ASKS }),
        (VERSION, features) => Err(BadPreamble::Features(features)),
        (0, _) => Err(BadPreamble::Magic),
        (version, _) => Err(BadPreamble::Version(version)),
    }
}

/// The records of a stream.
pub(super) enum StreamRecords {}

impl Records for StreamRecords {
    type Record = Record;

    fn body_bytes_max(header: &RecordHeaderV1) -> Option<usize> {
        match header.kind {
            BEGIN => Some(BEGIN_BYTES_MAX),
            ZEROS => Some(size_of::<ZerosV1>()),
            BLOCKS => Some(BLOCKS_BYTES_MAX),
            OFFER => Some(OFFER_BYTES_MAX),
            END => Some(size_of::<EndV1>()),
            _ => None,
        }
    }

    fn decode(header: &RecordHeaderV1, body: &[u8]) -> Option<Record> {
        match header.kind {
            BEGIN => decode_begin(body).map(Record::Begin),
            ZEROS => {
                let zeros = ZerosV1::read_from_bytes(body).ok()?;
                let (first, count) = (zeros.first.get(), zeros.count.get());
                Some(Record::Zeros { first: BlockIndex(first), count })
            }
            BLOCKS => decode_blocks(body),
            OFFER => decode_offer(body),
            END => {
                let end = EndV1::read_from_bytes(body).ok()?;
                let (data_blocks, zero_blocks) = (end.data_blocks.get(), end.zero_blocks.get());
                Some(Record::End(End { root: end.root, data_blocks, zero_blocks, records: end.records.get() }))
            }
            _ => None,
        }
    }
}

fn decode_begin(body: &[u8]) -> Option<Begin> {
    let (fixed, names) = BeginV1::read_from_prefix(body).ok()?;
    let mut names = std::str::from_utf8(names).ok()?;
    let mut name = |bytes: u8| {
        let (name, rest) = names.split_at_checked(bytes.into())?;
        names = rest;
        Some(name)
    };
    let (volume, snapshot) = (name(fixed.volume_name_bytes)?, name(fixed.snapshot_name_bytes)?);
    let base = name(fixed.base_name_bytes)?;
    let is_size = |bytes: u64| (1..=VOLUME_BYTES_MAX).contains(&bytes);
    let domain = fixed.domain.get();
    let base_size = fixed.base_size_bytes.get();
    let base = match base {
        "" if (fixed.base.get(), base_size, fixed.base_root) == (0, 0, [0; 32]) => None,
        name if is_size(base_size) => {
            let root = Root { domain, digest: fixed.base_root };
            Some(Base { id: VolumeId(fixed.base.get()), snapshot: name.parse().ok()?, size_bytes: base_size, root })
        }
        _ => return None,
    };
    let is_whole = names.is_empty() && fixed.reserved == 0 && is_size(fixed.size_bytes.get());
    is_whole.then_some(Begin {
        store: StoreId(fixed.store),
        id: VolumeId(fixed.snapshot.get()),
        volume: volume.parse().ok()?,
        snapshot: snapshot.parse().ok()?,
        created_ms: fixed.created_ms.get(),
        size_bytes: fixed.size_bytes.get(),
        domain,
        base,
    })
}

fn decode_blocks(body: &[u8]) -> Option<Record> {
    let (head, rest) = BlocksV1::read_from_prefix(body).ok()?;
    let count = head.count.get() as usize;
    if !(1..=STORED_BLOCKS_MAX).contains(&count) || head.reserved.get() != 0 {
        return None;
    }
    let (entries, mut payloads) = <[BlockV1]>::ref_from_prefix_with_elems(rest, count).ok()?;
    let mut blocks = Vec::with_capacity(count);
    for entry in entries {
        let encoding = Encoding::from_byte(entry.encoding).filter(|_| entry.reserved == 0)?;
        let (bytes, behind) = payloads.split_at_checked(entry.payload_bytes.get().into())?;
        if !StoredBlock::is_possible(encoding, bytes.len()) {
            return None;
        }
        blocks.push(StoredBlock { fingerprint: Fingerprint(entry.fingerprint), encoding, bytes: bytes.to_vec() });
        payloads = behind;
    }
    payloads.is_empty().then_some(Record::Blocks { first: BlockIndex(head.first.get()), blocks })
}

fn decode_offer(body: &[u8]) -> Option<Record> {
    let (head, fingerprints) = OfferV1::read_from_prefix(body).ok()?;
    let count = head.count.get() as usize;
    let (fingerprints, rest) = fingerprints.as_chunks::<32>();
    let is_whole = fingerprints.len() == count && rest.is_empty() && head.reserved.get() == 0;
    (is_whole && (1..=OFFER_BLOCKS_MAX).contains(&count)).then(|| Record::Offer {
        first: BlockIndex(head.first.get()),
        fingerprints: fingerprints.iter().copied().map(Fingerprint).collect(),
    })
}
