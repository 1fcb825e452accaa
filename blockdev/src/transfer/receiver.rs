//! Receives a snapshot from a stream.
//!
//! A full stream becomes a new volume, one that goes on from a snapshot a hidden clone of that snapshot, which takes the
//! place of what the volume holds in the same commit that names the new snapshot. Until then nobody sees anything of it; an
//! error, a drop and a crash leave the node as it was.

use std::sync::Arc;

use lsm_store::codec::Codec;
use lsm_store::id::BLOCK_BYTES;
use lsm_store::request::Zeroing;
use lsm_store::store::{Volume, VolumeSpec};

use super::Watch;
use super::decoder::StreamDecoder;
use super::error::{Result, TransferError};
use super::format::{Base, Begin, End, Record};
use super::root::root_of;
use crate::name::{SnapshotName, VolumeName};
use crate::node::{Import, NamedSnapshot, Node, Replacing};
use crate::root::{PLAIN_DOMAIN, Root};

/// How to receive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReceiveOptions {
    /// How blocks of a new volume are compressed that come not compressed yet, and those written later.
    pub codec: Codec,
    /// What the volume holds may be lost where it was changed since the snapshot that the stream goes on from.
    pub force: bool,
}

/// What was received.
#[derive(Clone, Debug)]
pub struct Received {
    /// The snapshot.
    pub snapshot: NamedSnapshot,
    /// Its root, which is that of the stream.
    pub root: Root,
    /// The name of the snapshot that the stream goes on from.
    pub base: Option<VolumeName>,
    /// Blocks with data that the stream brought.
    pub data_blocks: u64,
    /// Blocks that it said to be zeros.
    pub zero_blocks: u64,
}

/// A stream on its way into a node.
pub struct Receiver {
    node: Arc<Node>,
    name: VolumeName,
    options: ReceiveOptions,
    decoder: StreamDecoder,
    target: Option<Target>,
    end: Option<End>,
}

/// Where the content goes.
struct Target {
    begin: Begin,
    import: Import,
}

impl Receiver {
    /// Receives into the volume `name`: a new one for a full stream.
    #[must_use]
    pub fn new(node: Arc<Node>, name: VolumeName, options: ReceiveOptions) -> Self {
        Self { node, name, options, decoder: StreamDecoder::default(), target: None, end: None }
    }

    /// Takes the next bytes of the stream.
    ///
    /// # Errors
    /// [`TransferError::Stream`], [`TransferError::NoBase`], [`TransferError::OtherBase`], [`TransferError::Changed`], and those
    /// of the node. The receiver is of no further use then.
    pub fn push(&mut self, bytes: &[u8], watch: &mut Watch<'_>) -> Result<()> {
        self.decoder.push(bytes);
        while let Some(record) = self.decoder.next_record()? {
            self.take(record, watch)?;
        }
        Ok(())
    }

    /// The size in bytes of what is received, once it is known.
    #[must_use]
    pub fn size_bytes(&self) -> Option<u64> {
        self.target.as_ref().map(|target| target.begin.size_bytes)
    }

    /// Up to where, in bytes, content has come.
    #[must_use]
    pub fn position_bytes(&self) -> u64 {
        let end = self.decoder.next_block() * BLOCK_BYTES as u64;
        self.size_bytes().map_or(0, |size| end.min(size))
    }

    fn take(&mut self, record: Record, watch: &mut Watch<'_>) -> Result<()> {
        if let Record::Begin(begin) = record {
            let import = self.open(&begin, watch)?;
            self.target = Some(Target { begin, import });
            return Ok(());
        }
        let volume = self.target.as_ref().expect("the first record is a beginning").import.volume();
        match record {
            Record::Zeros { first, count } => make_zero(volume, first.byte_offset(), count)?,
            Record::Blocks { first, blocks } => volume.write_stored(first, &blocks)?,
            Record::End(end) => self.end = Some(end),
            Record::Begin(_) => {}
        }
        Ok(())
    }

    /// Makes the volume that the content goes to.
    fn open(&self, begin: &Begin, watch: &mut Watch<'_>) -> Result<Import> {
        if begin.domain != PLAIN_DOMAIN {
            return Err(TransferError::UnknownDomain(begin.domain));
        }
        let Some(base) = &begin.base else {
            let spec = VolumeSpec { size_bytes: begin.size_bytes, codec: self.options.codec };
            return Ok(self.node.import(&self.name, spec)?);
        };
        self.node.check_replaceable(&self.replacing(begin, base))?;
        let name = SnapshotName { volume: self.name.clone(), snapshot: base.snapshot.clone() };
        let import = self.node.hidden_clone(&name.clone().into(), "receive")?;
        let found = root_of(import.volume(), watch)?;
        if found.root != base.root {
            return Err(TransferError::OtherBase { name, expected: base.root, found: found.root });
        }
        if import.volume().size_bytes() != begin.size_bytes {
            self.node.store().resize_volume(import.volume().id(), begin.size_bytes)?;
        }
        Ok(import)
    }

    fn replacing<'a>(&'a self, begin: &'a Begin, base: &'a Base) -> Replacing<'a> {
        Replacing { volume: &self.name, base: &base.snapshot, snapshot: &begin.snapshot, force: self.options.force }
    }

    /// Proves that all has come, and gives it its name.
    ///
    /// # Errors
    /// [`TransferError::Stream`] if the stream has not come to its end, [`TransferError::OtherRoot`],
    /// [`TransferError::Changed`], and those of the node. Nothing was received then.
    pub fn finish(mut self, watch: &mut Watch<'_>) -> Result<Received> {
        self.decoder.finish()?;
        let Target { begin, import } = self.target.take().expect("a whole stream has a beginning");
        let end = self.end.expect("a whole stream has an end");
        let expected = Root { domain: begin.domain, digest: end.root };
        let found = root_of(import.volume(), watch)?.root;
        if found != expected {
            return Err(TransferError::OtherRoot { expected, found });
        }
        let snapshot = match &begin.base {
            None => import.finish_with(&begin.snapshot)?,
            Some(base) => self.node.replace(&self.replacing(&begin, base), import)?,
        };
        let base = begin.base.map(|base| base.snapshot);
        let End { data_blocks, zero_blocks, .. } = end;
        Ok(Received { snapshot, root: found, base, data_blocks, zero_blocks })
    }
}

/// Makes blocks a hole; the volume's end may cut the last one.
fn make_zero(volume: &Volume, offset: u64, count: u64) -> Result<()> {
    let len = (count * BLOCK_BYTES as u64).min(volume.size_bytes() - offset);
    Ok(volume.zero(offset, len, Zeroing::Hole)?)
}
