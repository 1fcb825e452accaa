//! Snapshots that come as streams and become volumes of the cluster.
//!
//! The content is written as that of an import is, to a volume that nobody sees. Its log ends with the snapshot when the volume is
//! opened to everybody, so that both are there or neither. What came is proved as a node proves it: every block by its
//! fingerprint before it is written, the whole by its root.

use std::sync::Arc;

use lsm_store::codec::Codec;
use lsm_store::id::BlockIndex;
use lsm_store::request::Write;
use lsm_store::store::StoredBlock;

use super::{Cluster, ClusterError, ClusterImport, ClusterSnapshot, NewVolume, Result};
use crate::name::{SnapshotName, VolumeName};
use crate::node::seed_of;
use crate::root::{PLAIN_DOMAIN, Root, RootBuilder};
use crate::transfer::{Begin, End, Record, StreamDecoder, TransferError};

/// What was received.
#[derive(Clone, Debug)]
pub struct ClusterReceived {
    /// The snapshot.
    pub snapshot: ClusterSnapshot,
    /// Its root, which is that of the stream.
    pub root: Root,
    /// Blocks with data that the stream brought.
    pub data_blocks: u64,
}

/// A full stream on its way into a new volume of the cluster. Dropped before [`ClusterReceiver::finish`], it leaves nothing.
pub struct ClusterReceiver {
    cluster: Arc<Cluster>,
    name: VolumeName,
    codec: Codec,
    replicas: u8,
    decoder: StreamDecoder,
    coming: Option<Coming>,
    end: Option<End>,
}

/// A snapshot of which content comes.
struct Coming {
    begin: Begin,
    import: ClusterImport,
    /// Of what has come.
    root: RootBuilder,
}

impl ClusterReceiver {
    /// Receives into a new volume with so many copies, 1 to 7.
    #[must_use]
    pub fn new(cluster: Arc<Cluster>, name: VolumeName, codec: Codec, replicas: u8) -> Self {
        Self { cluster, name, codec, replicas, decoder: StreamDecoder::default(), coming: None, end: None }
    }

    /// Takes the next bytes of the stream. What they bring is with every member on return.
    ///
    /// # Errors
    /// [`ClusterError::Transfer`] if they are not those of a stream; [`ClusterError::NotFull`]; [`ClusterError::NameTaken`],
    /// [`ClusterError::TooFewNodes`]; those of [`ClusterImport::write`]. The receiver is of no further use then.
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.decoder.push(bytes);
        while let Some(record) = self.decoder.next_record().map_err(TransferError::from)? {
            match (record, &mut self.coming) {
                (Record::Begin(begin), _) => self.coming = Some(self.open(begin)?),
                (Record::Blocks { first, blocks }, Some(coming)) => {
                    if !coming.write(first, &blocks)? {
                        let damaged = self.decoder.last_damaged("a block holds something beyond the volume's end");
                        return Err(TransferError::from(damaged).into());
                    }
                }
                (Record::End(end), _) => self.end = Some(end),
                // A new volume is zeros. Nothing is offered where nobody answers.
                (Record::Zeros { .. } | Record::Offer { .. } | Record::Blocks { .. }, _) => {}
            }
        }
        Ok(())
    }

    /// The size in bytes of what is received, once it is known.
    #[must_use]
    pub fn size_bytes(&self) -> Option<u64> {
        self.coming.as_ref().map(|coming| coming.begin.size_bytes)
    }

    /// Up to where, in bytes, content has come.
    #[must_use]
    pub fn position_bytes(&self) -> u64 {
        let end = BlockIndex(self.decoder.next_block()).byte_offset();
        self.size_bytes().map_or(0, |size| end.min(size))
    }

    fn open(&self, begin: Begin) -> Result<Coming> {
        if begin.domain != PLAIN_DOMAIN {
            return Err(TransferError::UnknownDomain(begin.domain).into());
        }
        if let Some(base) = &begin.base {
            let base = SnapshotName { volume: self.name.clone(), snapshot: base.snapshot.clone() };
            return Err(ClusterError::NotFull(base));
        }
        if seed_of(&begin.snapshot).is_some() {
            return Err(ClusterError::ReservedName(begin.snapshot));
        }
        let Self { name, codec, replicas, .. } = self;
        let new = NewVolume { name: name.clone(), size_bytes: begin.size_bytes, codec: *codec, replicas: *replicas };
        let import = self.cluster.import(&new)?;
        let root = RootBuilder::new(begin.domain, begin.size_bytes);
        Ok(Coming { begin, import, root })
    }

    /// Proves that all has come, and opens the volume to everybody, with the snapshot.
    ///
    /// # Errors
    /// [`ClusterError::Transfer`] if the stream has not come to its end, or if its root is another; those of
    /// [`ClusterImport::finish`]. Nothing was received then. [`ClusterError::NotReady`] if the snapshot cannot be found afterwards:
    /// all was received then.
    pub fn finish(self) -> Result<ClusterReceived> {
        self.decoder.finish().map_err(TransferError::from)?;
        let Coming { begin, import, root } = self.coming.expect("a whole stream has a beginning");
        let End { root: digest, data_blocks, .. } = self.end.expect("a whole stream has an end");
        let (expected, found) = (Root { domain: begin.domain, digest }, completed(root));
        if found != expected {
            return Err(TransferError::OtherRoot { expected, found }.into());
        }
        import.finish_frozen(&begin.snapshot)?;
        let name = SnapshotName { volume: self.name, snapshot: begin.snapshot };
        let snapshot = self.cluster.wait_snapshot(&name, true)?;
        let snapshot = snapshot.ok_or_else(|| ClusterError::NotReady(name.volume.clone()))?;
        Ok(ClusterReceived { snapshot, root: found, data_blocks })
    }
}

impl Coming {
    /// Writes blocks once they have the fingerprints that they say; false if the last holds something beyond the volume's end.
    fn write(&mut self, first: BlockIndex, blocks: &[StoredBlock]) -> Result<bool> {
        let contents = StoredBlock::contents(first, blocks)?;
        let (offset, content) = (first.byte_offset(), contents.as_flattened());
        let inside = content.len().min((self.begin.size_bytes - offset) as usize);
        let (content, beyond) = content.split_at(inside);
        if beyond.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        self.root.push_zeros(first.0 - self.root.position());
        blocks.iter().for_each(|block| self.root.push(&block.fingerprint));
        self.import.write(&[Write { offset, data: content }])?;
        Ok(true)
    }
}

/// The root of an image that is zeros from where it ends.
fn completed(mut root: RootBuilder) -> Root {
    root.push_zeros(root.missing());
    root.finish()
}

#[cfg(test)]
mod tests;
