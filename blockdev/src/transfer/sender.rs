//! Sends a snapshot: all of it, or what differs from an earlier one; to whoever listens, or, in an exchange, only what the
//! receiver lacks.
//!
//! What holds data is known from the fingerprint map, and is read as it is stored.

use std::ops::Range;
use std::sync::Arc;

use lsm_store::fingerprint::Fingerprint;
use lsm_store::id::{BLOCK_BYTES, BlockIndex};
use lsm_store::request::BlockIdentity;
use lsm_store::store::{STORED_BLOCKS_MAX, Volume};

use super::asking::{Asking, OFFERS_AHEAD};
use super::error::Result;
use super::flow;
use super::format::{Base, Begin, End, OFFER_BLOCKS_MAX, Record, StreamEncoder};
use super::root::{ENTRIES_MAX, root_of};
use super::source::Source;
use crate::export::Changes;
use crate::name::SnapshotName;
use crate::node::{NamedSnapshot, Node, VolumeChanges};
use crate::root::{PLAIN_DOMAIN, Root, RootBuilder};

/// Changed and unchanged ranges asked for at once.
const EXTENTS_MAX: usize = 1024;

/// Where a stream goes.
pub trait Outlet {
    /// Takes the next bytes of the stream.
    ///
    /// # Errors
    /// [`TransferError::Stopped`] ends the transfer.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;

    /// Waits for the next bytes that the other end of an exchange says, as few as there are; none once it has ended. Asked only
    /// in exchanges.
    ///
    /// # Errors
    /// As [`Outlet::write`].
    fn read(&mut self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    /// Hears how far the work has come: bytes done and in all.
    ///
    /// # Errors
    /// As [`Outlet::write`].
    fn progress(&mut self, what: &str, done: u64, total: u64) -> Result<()>;
}

/// What was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The snapshot.
    pub snapshot: NamedSnapshot,
    /// Its root.
    pub root: Root,
    /// Blocks with data that were sent.
    pub data_blocks: u64,
    /// Blocks that were said to be zeros.
    pub zero_blocks: u64,
    /// Blocks with data that were offered, and that the receiver had.
    pub had_blocks: u64,
    /// Bytes of the stream.
    pub stream_bytes: u64,
}

/// Sends a snapshot, or what differs in it from `base`, to whoever listens.
///
/// # Errors
/// [`crate::node::NodeError::NoSuchSnapshot`]; [`crate::node::NodeError::Unrelated`] if the two share no past; `Corrupt` if
/// something cannot be read, and those of `outlet`. What was written is no whole stream then.
pub fn send(
    node: &Arc<Node>,
    name: &SnapshotName,
    base: Option<&SnapshotName>,
    outlet: &mut dyn Outlet,
) -> Result<Sent> {
    Source::of_node(node, name, base)?.send(outlet)
}

/// Gives a snapshot to a receiver that answers ([`super::accept`]), or what differs in it from `base`: of the blocks only those
/// that it lacks. Returns once the receiver has proved all of it.
///
/// # Errors
/// As [`send`]; [`super::TransferError::Receiver`] if the receiver fails, [`super::TransferError::ReceiverGone`] if it ends, and if
/// its answers make no sense [`super::TransferError::Stranger`], [`super::TransferError::NoCommonVersion`],
/// [`super::TransferError::Answer`].
pub fn offer(
    node: &Arc<Node>,
    name: &SnapshotName,
    base: Option<&SnapshotName>,
    outlet: &mut dyn Outlet,
) -> Result<Sent> {
    Source::of_node(node, name, base)?.offer(outlet)
}

pub(super) fn transfer(source: &Source, mut sending: Sending<'_>) -> Result<Sent> {
    let snapshot = source.snapshot();
    let outlet = &mut *sending.outlet;
    if let Some(asking) = &mut sending.asking {
        asking.greet(outlet)?;
    }
    let base = source.base().map(|(base, changes)| describe_base(base, changes, outlet)).transpose()?;
    let begin = Begin {
        store: source.store(),
        id: snapshot.info.id,
        volume: snapshot.name.volume.clone(),
        snapshot: snapshot.name.snapshot.clone(),
        created_ms: snapshot.info.created_ms,
        size_bytes: snapshot.info.size_bytes,
        domain: PLAIN_DOMAIN,
        base,
    };
    sending.emit(&Record::Begin(begin))?;
    let volume = source.volume();
    let root = match source.base() {
        None => sending.everything(volume)?,
        Some((_, changes)) => sending.what_changed(volume, changes)?,
    };
    sending.send_wanted(volume, 0)?;
    let (data_blocks, zero_blocks) = (sending.data_blocks, sending.zero_blocks);
    let records = sending.encoder.records();
    sending.emit(&Record::End(End { root: root.digest, data_blocks, zero_blocks, records }))?;
    let had_blocks = match &mut sending.asking {
        Some(asking) => asking.finish(sending.outlet, root)?,
        None => 0,
    };
    let (snapshot, stream_bytes) = (snapshot.clone(), sending.stream_bytes);
    Ok(Sent { snapshot, root, data_blocks, zero_blocks, had_blocks, stream_bytes })
}

fn describe_base(name: &SnapshotName, changes: &VolumeChanges, outlet: &mut dyn Outlet) -> Result<Base> {
    let (id, size_bytes) = changes.from();
    let what = format!("reading the map of {name}");
    let mut stopped = None;
    let mut watch = |done, total| flow(outlet.progress(&what, done, total), &mut stopped);
    let rooted = root_of(changes.earlier(), &mut watch).map_err(|error| stopped.unwrap_or(error))?;
    Ok(Base { id, snapshot: name.snapshot.clone(), size_bytes, root: rooted.root })
}

pub(super) struct Sending<'a> {
    outlet: &'a mut dyn Outlet,
    /// In an exchange, what the receiver was asked.
    asking: Option<Asking>,
    encoder: StreamEncoder,
    /// A record on its way; kept for its memory.
    buffer: Vec<u8>,
    stream_bytes: u64,
    data_blocks: u64,
    zero_blocks: u64,
}

impl<'a> Sending<'a> {
    pub(super) fn listened(outlet: &'a mut dyn Outlet) -> Self {
        let (encoder, buffer) = (StreamEncoder::default(), Vec::new());
        Self { outlet, asking: None, encoder, buffer, stream_bytes: 0, data_blocks: 0, zero_blocks: 0 }
    }

    pub(super) fn answered(outlet: &'a mut dyn Outlet) -> Self {
        Self { asking: Some(Asking::default()), encoder: StreamEncoder::asking(), ..Self::listened(outlet) }
    }

    fn emit(&mut self, record: &Record) -> Result<()> {
        self.buffer.clear();
        self.encoder.encode(record, &mut self.buffer);
        self.stream_bytes += self.buffer.len() as u64;
        self.outlet.write(&self.buffer)
    }

    /// Sends all blocks with data; where nobody answers, a new volume is zeros everywhere else.
    fn everything(&mut self, volume: &Volume) -> Result<Root> {
        let mut root = RootBuilder::new(PLAIN_DOMAIN, volume.size_bytes());
        self.range(volume, 0..volume.block_count(), Some(&mut root))?;
        Ok(root.finish())
    }

    /// Sends all blocks that may differ.
    fn what_changed(&mut self, volume: &Volume, changes: &VolumeChanges) -> Result<Root> {
        let (size, blocks) = (volume.size_bytes(), volume.block_count());
        let (mut position, mut next_block) = (0, 0);
        while position < size {
            for extent in changes.extents(position, size - position, EXTENTS_MAX)? {
                let end = position + extent.len;
                if extent.changed {
                    let first = (position / BLOCK_BYTES as u64).max(next_block);
                    next_block = end.div_ceil(BLOCK_BYTES as u64).min(blocks);
                    self.range(volume, first..next_block, None)?;
                }
                position = end;
            }
        }
        let outlet = &mut *self.outlet;
        let mut stopped = None;
        let what = "reading the map";
        let rooted = root_of(volume, &mut |done, total| flow(outlet.progress(what, done, total), &mut stopped));
        Ok(rooted.map_err(|error| stopped.unwrap_or(error))?.root)
    }

    /// Sends a range of blocks. With a root to make, the range is all, and to who only listens what is not sent is zeros.
    fn range(&mut self, volume: &Volume, blocks: Range<u64>, mut root: Option<&mut RootBuilder>) -> Result<()> {
        let (mut at, size) = (blocks.start, volume.size_bytes());
        let are_zeros_known = root.is_some() && self.asking.is_none();
        while at < blocks.end {
            let page = volume.fingerprints(BlockIndex(at), blocks.end - at, ENTRIES_MAX)?;
            if let Some(root) = &mut root {
                page.iter().for_each(|entry| root.push_identity(entry));
            }
            for alike in page.chunk_by(|a, b| is_data(a) && is_data(b)) {
                let count = alike.iter().map(BlockIdentity::block_count).sum();
                match alike {
                    [BlockIdentity::Zeros(_)] if are_zeros_known => {}
                    [BlockIdentity::Zeros(_)] => self.zeros(at, count)?,
                    _ if self.asking.is_some() => self.offer(volume, at, alike)?,
                    _ => self.data(volume, at, count)?,
                }
                at += count;
            }
            self.outlet.progress("sending", (at * BLOCK_BYTES as u64).min(size), size)?;
        }
        Ok(())
    }

    fn zeros(&mut self, first: u64, count: u64) -> Result<()> {
        self.zero_blocks += count;
        self.emit(&Record::Zeros { first: BlockIndex(first), count })
    }

    fn data(&mut self, volume: &Volume, first: u64, count: u64) -> Result<()> {
        for at in (first..first + count).step_by(STORED_BLOCKS_MAX) {
            let count = (first + count - at).min(STORED_BLOCKS_MAX as u64);
            let stored = volume.stored_blocks(BlockIndex(at), count)?;
            for run in stored.chunk_by(|a, b| a.0.next() == b.0) {
                let blocks: Vec<_> = run.iter().map(|(_, block)| block.clone()).collect();
                self.data_blocks += blocks.len() as u64;
                self.emit(&Record::Blocks { first: run[0].0, blocks })?;
            }
        }
        Ok(())
    }

    /// Asks which of adjacent blocks with data the receiver lacks.
    fn offer(&mut self, volume: &Volume, first: u64, blocks: &[BlockIdentity]) -> Result<()> {
        let mut at = BlockIndex(first);
        for blocks in blocks.chunks(OFFER_BLOCKS_MAX) {
            let fingerprints: Vec<_> = blocks.iter().filter_map(fingerprint_of).collect();
            let count = fingerprints.len();
            self.emit(&Record::Offer { first: at, fingerprints })?;
            if let Some(asking) = &mut self.asking {
                asking.note(at, count);
            }
            at = BlockIndex(at.0 + count as u64);
            self.send_wanted(volume, OFFERS_AHEAD)?;
        }
        Ok(())
    }

    /// Sends what is wanted of the oldest offers, until so many are left without an answer.
    fn send_wanted(&mut self, volume: &Volume, offers_left: usize) -> Result<()> {
        while let Some(asking) = &mut self.asking
            && asking.unanswered() > offers_left
        {
            for run in asking.next_wanted(self.outlet)? {
                self.data(volume, run.start, run.end - run.start)?;
            }
        }
        Ok(())
    }
}

fn is_data(entry: &BlockIdentity) -> bool {
    fingerprint_of(entry).is_some()
}

fn fingerprint_of(entry: &BlockIdentity) -> Option<Fingerprint> {
    match entry {
        BlockIdentity::Data(fingerprint) => Some(*fingerprint),
        BlockIdentity::Zeros(_) => None,
    }
}
