//! What a sender asks.

use rkyv::{Archive, Deserialize, Serialize};

use super::{BEGIN, BLOCK_BYTES, BLOCKS, BLOCKS_MAX, END, PAGE, PAGE_BLOCKS_MAX, PAGE_ENTRIES_MAX};
use crate::envelope::{Error, Message, decode_body, encode_body};
use crate::replication::{TransferId, VolumeId};

#[derive(Archive, Serialize, Deserialize)]
struct BeginV1 {
    transfer: u64,
    volume: u64,
    size_bytes: u64,
    based: bool,
}

#[derive(Archive, Serialize, Deserialize)]
struct PageV1 {
    transfer: u64,
    first_block: u64,
    entries: Vec<EntryV1>,
}

#[derive(Archive, Serialize, Deserialize)]
enum EntryV1 {
    Same(u64),
    Zeros(u64),
    Data([u8; 32]),
}

#[derive(Archive, Serialize, Deserialize)]
struct BlocksV1 {
    transfer: u64,
    blocks: Vec<PlacedBlockV1>,
}

#[derive(Archive, Serialize, Deserialize)]
struct PlacedBlockV1 {
    block: u64,
    stored: StoredFormV1,
}

/// A block as it is stored.
#[derive(Archive, Serialize, Deserialize)]
pub(super) struct StoredFormV1 {
    fingerprint: [u8; 32],
    encoding: u8,
    bytes: Vec<u8>,
}

#[derive(Archive, Serialize, Deserialize)]
struct EndV1 {
    transfer: u64,
    root: [u8; 32],
}

/// Begins a transfer, or goes on with one that was cut off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Begin {
    /// Which transfer; all other questions name it too.
    pub transfer: TransferId,
    /// Of which volume's content.
    pub volume: VolumeId,
    /// The content's size in bytes.
    pub size_bytes: u64,
    /// The receiver has an older content of the volume; of what did not change since, nothing is said.
    pub based: bool,
}

/// What adjacent blocks hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// So many blocks, at least 1, are what the receiver has. Only in a transfer with a base.
    Same(u64),
    /// So many blocks, at least 1, are zeros.
    Zeros(u64),
    /// One block has content with this fingerprint.
    Data([u8; 32]),
}

/// What the blocks of a range hold. Answered by which of them the receiver lacks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// In which transfer.
    pub transfer: TransferId,
    /// Where the range begins.
    pub first_block: u64,
    /// What it holds, in order: at most [`PAGE_ENTRIES_MAX`] of together at most [`PAGE_BLOCKS_MAX`] blocks.
    pub entries: Vec<Entry>,
}

/// A block in the form in which it is stored. Nothing of it is proved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredForm {
    /// The fingerprint that its content is said to have.
    pub fingerprint: [u8; 32],
    /// How `bytes` are encoded, by number.
    pub encoding: u8,
    /// At most 4096 bytes.
    pub bytes: Vec<u8>,
}

/// A block and where it belongs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlacedBlock {
    /// Which block of the volume it is.
    pub block: u64,
    /// What it holds.
    pub stored: StoredForm,
}

/// Blocks that the receiver lacked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Blocks {
    /// In which transfer.
    pub transfer: TransferId,
    /// At most [`BLOCKS_MAX`].
    pub blocks: Vec<PlacedBlock>,
}

/// All has been sent. Answered by whether the receiver has the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct End {
    /// Which transfer.
    pub transfer: TransferId,
    /// The content's root.
    pub root: [u8; 32],
}

/// A sender's question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Question {
    /// Begin a transfer.
    Begin(Begin),
    /// Say what a range lacks.
    Page(Page),
    /// Take blocks.
    Blocks(Blocks),
    /// Compare.
    End(End),
}

impl Entry {
    /// How many blocks it is of.
    #[must_use]
    pub fn block_count(&self) -> u64 {
        match self {
            Self::Same(count) | Self::Zeros(count) => *count,
            Self::Data(_) => 1,
        }
    }
}

impl Page {
    /// How many blocks it speaks of.
    #[must_use]
    pub fn block_count(&self) -> u64 {
        self.entries.iter().fold(0, |sum, entry| sum.saturating_add(entry.block_count()))
    }

    fn is_within_bounds(&self) -> bool {
        self.entries.len() <= PAGE_ENTRIES_MAX
            && self.entries.iter().all(|entry| entry.block_count() > 0)
            && self.block_count() <= PAGE_BLOCKS_MAX
    }
}

impl Question {
    /// The transfer it belongs to.
    #[must_use]
    pub fn transfer(&self) -> TransferId {
        match self {
            Self::Begin(begin) => begin.transfer,
            Self::Page(page) => page.transfer,
            Self::Blocks(blocks) => blocks.transfer,
            Self::End(end) => end.transfer,
        }
    }

    /// The message.
    #[must_use]
    pub fn encode(self) -> Message {
        let (kind, body) = match self {
            Self::Begin(begin) => (BEGIN, encode_body(&BeginV1::from(begin))),
            Self::Page(page) => (PAGE, encode_body(&PageV1::from(page))),
            Self::Blocks(blocks) => (BLOCKS, encode_body(&BlocksV1::from(blocks))),
            Self::End(End { transfer, root }) => (END, encode_body(&EndV1 { transfer: transfer.0, root })),
        };
        Message::new(kind, body)
    }

    /// Reads the message.
    ///
    /// # Errors
    /// [`Error::Misplaced`] if it is no question of a sender, [`Error::Body`] if it is not within its bounds.
    pub fn decode(message: &Message) -> Result<Self, Error> {
        match message.kind {
            BEGIN => Ok(Self::Begin(decode_body::<BeginV1>(&message.body)?.into())),
            PAGE => {
                let page: Page = decode_body::<PageV1>(&message.body)?.into();
                if page.is_within_bounds() { Ok(Self::Page(page)) } else { Err(Error::Body) }
            }
            BLOCKS => Ok(Self::Blocks(decode_body::<BlocksV1>(&message.body)?.try_into()?)),
            END => {
                let EndV1 { transfer, root } = decode_body(&message.body)?;
                Ok(Self::End(End { transfer: TransferId(transfer), root }))
            }
            kind => Err(Error::Misplaced(kind.0)),
        }
    }
}

impl From<Begin> for BeginV1 {
    fn from(Begin { transfer, volume, size_bytes, based }: Begin) -> Self {
        Self { transfer: transfer.0, volume: volume.0, size_bytes, based }
    }
}

impl From<BeginV1> for Begin {
    fn from(BeginV1 { transfer, volume, size_bytes, based }: BeginV1) -> Self {
        Self { transfer: TransferId(transfer), volume: VolumeId(volume), size_bytes, based }
    }
}

impl From<Entry> for EntryV1 {
    fn from(entry: Entry) -> Self {
        match entry {
            Entry::Same(count) => Self::Same(count),
            Entry::Zeros(count) => Self::Zeros(count),
            Entry::Data(fingerprint) => Self::Data(fingerprint),
        }
    }
}

impl From<EntryV1> for Entry {
    fn from(entry: EntryV1) -> Self {
        match entry {
            EntryV1::Same(count) => Self::Same(count),
            EntryV1::Zeros(count) => Self::Zeros(count),
            EntryV1::Data(fingerprint) => Self::Data(fingerprint),
        }
    }
}

impl From<Page> for PageV1 {
    fn from(Page { transfer, first_block, entries }: Page) -> Self {
        let entries = entries.into_iter().map(EntryV1::from).collect();
        Self { transfer: transfer.0, first_block, entries }
    }
}

impl From<PageV1> for Page {
    fn from(PageV1 { transfer, first_block, entries }: PageV1) -> Self {
        let entries = entries.into_iter().map(Entry::from).collect();
        Self { transfer: TransferId(transfer), first_block, entries }
    }
}

impl From<StoredForm> for StoredFormV1 {
    fn from(StoredForm { fingerprint, encoding, bytes }: StoredForm) -> Self {
        Self { fingerprint, encoding, bytes }
    }
}

impl TryFrom<StoredFormV1> for StoredForm {
    type Error = Error;

    fn try_from(StoredFormV1 { fingerprint, encoding, bytes }: StoredFormV1) -> Result<Self, Error> {
        if bytes.len() > BLOCK_BYTES { Err(Error::Body) } else { Ok(Self { fingerprint, encoding, bytes }) }
    }
}

impl From<Blocks> for BlocksV1 {
    fn from(Blocks { transfer, blocks }: Blocks) -> Self {
        let placed = |PlacedBlock { block, stored }| PlacedBlockV1 { block, stored: stored.into() };
        Self { transfer: transfer.0, blocks: blocks.into_iter().map(placed).collect() }
    }
}

impl TryFrom<BlocksV1> for Blocks {
    type Error = Error;

    fn try_from(BlocksV1 { transfer, blocks }: BlocksV1) -> Result<Self, Error> {
        if blocks.len() > BLOCKS_MAX {
            return Err(Error::Body);
        }
        let placed = |PlacedBlockV1 { block, stored }| Ok(PlacedBlock { block, stored: stored.try_into()? });
        let blocks = blocks.into_iter().map(placed).collect::<Result<_, Error>>()?;
        Ok(Self { transfer: TransferId(transfer), blocks })
    }
}
