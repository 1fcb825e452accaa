//! Snapshots that come as streams and become volumes of the cluster, or go on from a snapshot of one.
//!
//! The content of a new volume is written as that of an import is, to a volume that nobody sees. Its log ends with the snapshot when
//! the volume is opened to everybody, so that both are there or neither. What goes on from a snapshot is `staged`. What came is
//! proved as a node proves it: every block by its fingerprint before it is written, the whole by its root.

use std::sync::Arc;

use lsm_store::codec::Codec;
use lsm_store::id::BlockIndex;
use lsm_store::request::Write;
use lsm_store::store::StoredBlock;

use super::staged::Staged;
use super::{Cluster, ClusterError, ClusterImport, ClusterSnapshot, NewVolume, Result};
use crate::name::{SnapshotName, VolumeName};
use crate::node::is_hidden;
use crate::root::{PLAIN_DOMAIN, Root, RootBuilder};
use crate::transfer::{Begin, End, Record, StreamDecoder, TransferError, Watch};

/// What was received.
#[derive(Clone, Debug)]
pub struct ClusterReceived {
    /// The snapshot.
    pub snapshot: ClusterSnapshot,
    /// Its root, which is that of the stream.
    pub root: Root,
    /// The name of the snapshot that the stream goes on from.
    pub base: Option<VolumeName>,
    /// Blocks with data that the stream brought.
    pub data_blocks: u64,
}

/// A stream on its way into the cluster. Dropped before [`ClusterReceiver::finish`], it leaves nothing.
pub struct ClusterReceiver {
    cluster: Arc<Cluster>,
    name: VolumeName,
    wanted: Wanted,
    decoder: StreamDecoder,
    target: Option<Target>,
    end: Option<End>,
}

/// Where it is to go.
#[derive(Clone, Copy)]
enum Wanted {
    /// Into a new volume, with so many copies.
    New { codec: Codec, replicas: u8 },
    /// Into one that is there, of which what was written since the base may be lost.
    There { force: bool },
}

/// Where it goes.
struct Target {
    begin: Begin,
    content: Content,
}

enum Content {
    New(Coming),
    Staged(Box<Staged>),
}

/// A new volume of which content comes.
struct Coming {
    size_bytes: u64,
    import: ClusterImport,
    /// Of what has come.
    root: RootBuilder,
}

impl ClusterReceiver {
    /// Receives a full stream into a new volume with so many copies, 1 to 7.
    #[must_use]
    pub fn new(cluster: Arc<Cluster>, name: VolumeName, codec: Codec, replicas: u8) -> Self {
        Self::wanting(cluster, name, Wanted::New { codec, replicas })
    }

    /// Receives a stream that goes on from a snapshot of a volume into that volume. With `force`, what was written to it since may be
    /// lost.
    #[must_use]
    pub fn into_volume(cluster: Arc<Cluster>, name: VolumeName, force: bool) -> Self {
        Self::wanting(cluster, name, Wanted::There { force })
    }

    fn wanting(cluster: Arc<Cluster>, name: VolumeName, wanted: Wanted) -> Self {
        Self { cluster, name, wanted, decoder: StreamDecoder::default(), target: None, end: None }
    }

    /// Takes the next bytes of the stream. What they bring to a new volume is with every member on return.
    ///
    /// # Errors
    /// [`ClusterError::Transfer`] if they are not those of a stream, or of one that does not go on from what is there;
    /// [`ClusterError::NotFull`], [`ClusterError::NameTaken`], [`ClusterError::TooFewNodes`], those of
    /// [`ClusterImport::write`]; [`ClusterError::NoSuchVolume`], [`ClusterError::InUse`], [`ClusterError::Snapshot`],
    /// [`ClusterError::TakenIn`], [`ClusterError::NotHere`]. The receiver is of no further use then.
    pub fn push(&mut self, bytes: &[u8], watch: &mut Watch<'_>) -> Result<()> {
        self.decoder.push(bytes);
        while let Some(record) = self.decoder.next_record().map_err(TransferError::from)? {
            match record {
                Record::Begin(begin) => self.target = Some(self.open(begin, watch)?),
                Record::End(end) => self.end = Some(end),
                record => self.take(&record)?,
            }
        }
        Ok(())
    }

    fn take(&mut self, record: &Record) -> Result<()> {
        let target = self.target.as_mut().expect("the first record is a beginning");
        match (&mut target.content, record) {
            (Content::Staged(staged), record) => staged.take(record),
            (Content::New(coming), Record::Blocks { first, blocks }) => {
                if coming.write(*first, blocks)? {
                    return Ok(());
                }
                let damaged = self.decoder.last_damaged("a block holds something beyond the volume's end");
                Err(TransferError::from(damaged).into())
            }
            // A new volume is zeros. Nothing is offered where nobody answers.
            (Content::New(_), _) => Ok(()),
        }
    }

    /// The size in bytes of what is received, once it is known.
    #[must_use]
    pub fn size_bytes(&self) -> Option<u64> {
        self.target.as_ref().map(|target| target.begin.size_bytes)
    }

    /// Up to where, in bytes, content has come.
    #[must_use]
    pub fn position_bytes(&self) -> u64 {
        let end = BlockIndex(self.decoder.next_block()).byte_offset();
        self.size_bytes().map_or(0, |size| end.min(size))
    }

    fn open(&self, begin: Begin, watch: &mut Watch<'_>) -> Result<Target> {
        if begin.domain != PLAIN_DOMAIN {
            return Err(TransferError::UnknownDomain(begin.domain).into());
        }
        if is_hidden(&begin.snapshot) {
            return Err(ClusterError::ReservedName(begin.snapshot));
        }
        let content = match (self.wanted, &begin.base) {
            (Wanted::New { .. }, Some(base)) => {
                let base = SnapshotName { volume: self.name.clone(), snapshot: base.snapshot.clone() };
                return Err(ClusterError::NotFull(base));
            }
            (Wanted::New { codec, replicas }, None) => Content::New(self.open_new(&begin, codec, replicas)?),
            // As with volumes of one node, only a new one is made of a full stream.
            (Wanted::There { .. }, None) => return Err(ClusterError::NameTaken(self.name.clone())),
            (Wanted::There { force }, Some(base)) => {
                Content::Staged(Staged::open(&self.cluster, &self.name, force, (&begin, base), watch)?.into())
            }
        };
        Ok(Target { begin, content })
    }

    fn open_new(&self, begin: &Begin, codec: Codec, replicas: u8) -> Result<Coming> {
        let new = NewVolume { name: self.name.clone(), size_bytes: begin.size_bytes, codec, replicas };
        let import = self.cluster.import(&new)?;
        let root = RootBuilder::new(begin.domain, begin.size_bytes);
        Ok(Coming { size_bytes: begin.size_bytes, import, root })
    }

    /// Proves that all has come, and has the volume hold it, with the snapshot.
    ///
    /// # Errors
    /// [`ClusterError::Transfer`] if the stream has not come to its end, if its root is another, or if the volume was changed
    /// meanwhile; those of [`ClusterImport::finish`]; [`ClusterError::InUse`], [`ClusterError::Snapshot`],
    /// [`ClusterError::TakenIn`], [`ClusterError::Disturbed`]. Nothing was received then. [`ClusterError::NotReady`] if
    /// the snapshot cannot be found afterwards: all was received then. [`ClusterError::Store`] if the volume was not served
    /// meanwhile: [`Cluster::snapshots`] tells whether it was received, as the last step may have been done.
    pub fn finish(self, watch: &mut Watch<'_>) -> Result<ClusterReceived> {
        self.decoder.finish().map_err(TransferError::from)?;
        let Target { begin, content } = self.target.expect("a whole stream has a beginning");
        let End { root: digest, data_blocks, .. } = self.end.expect("a whole stream has an end");
        let root = Root { domain: begin.domain, digest };
        let name = SnapshotName { volume: self.name, snapshot: begin.snapshot };
        let snapshot = match content {
            Content::New(coming) => coming.finish(&self.cluster, &name, root)?,
            Content::Staged(staged) => staged.finish(root, watch)?,
        };
        let base = begin.base.map(|base| base.snapshot);
        Ok(ClusterReceived { snapshot, root, base, data_blocks })
    }
}

impl Coming {
    /// Writes blocks once they have the fingerprints that they say; false if the last holds something beyond the volume's end.
    fn write(&mut self, first: BlockIndex, blocks: &[StoredBlock]) -> Result<bool> {
        let contents = StoredBlock::contents(first, blocks)?;
        let (offset, content) = (first.byte_offset(), contents.as_flattened());
        let inside = content.len().min((self.size_bytes - offset) as usize);
        let (content, beyond) = content.split_at(inside);
        if beyond.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        self.root.push_zeros(first.0 - self.root.position());
        blocks.iter().for_each(|block| self.root.push(&block.fingerprint));
        self.import.write(&[Write { offset, data: content }])?;
        Ok(true)
    }

    fn finish(self, cluster: &Cluster, name: &SnapshotName, expected: Root) -> Result<ClusterSnapshot> {
        let found = completed(self.root);
        if found != expected {
            return Err(TransferError::OtherRoot { expected, found }.into());
        }
        self.import.finish_frozen(&name.snapshot)?;
        let snapshot = cluster.wait_snapshot(name, true)?;
        snapshot.ok_or_else(|| ClusterError::NotReady(name.volume.clone()))
    }
}

/// The root of an image that is zeros from where it ends.
fn completed(mut root: RootBuilder) -> Root {
    root.push_zeros(root.missing());
    root.finish()
}

#[cfg(test)]
mod tests;
