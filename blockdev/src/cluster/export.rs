//! A replicated volume, or a snapshot of one, as a frontend serves it.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use lsm_store::device::Wake;
use lsm_store::id::BLOCK_BYTES;
use lsm_store::read::{Piece, ReadData};
use lsm_store::{Error, Result};

use super::asking::Session;
use super::core::Core;
use super::requests::ClusterRequests;
use crate::export::{Export, Requests, StatusExtent, Write, Zeroing};
use crate::replica::operation::{DATA_BYTES_MAX, Draft, Operation, Packer, RECORD_BYTES_MAX, WriteRecord};

/// A replicated volume that a client of this node has open; dropping it says that the client is gone.
pub(super) struct ClusterExport {
    session: Arc<Session>,
}

impl ClusterExport {
    pub(super) fn new(core: &Arc<Core>, volume: net::id::VolumeId) -> Self {
        core.note_open(volume);
        Self { session: Arc::new(Session::new(Arc::clone(core), volume)) }
    }
}

/// That a volume has this range.
pub(super) fn check_range(session: &Session, offset: u64, len: u64) -> Result<()> {
    let size = session.core.size_bytes(session.volume);
    match offset.checked_add(len) {
        Some(end) if end <= size => Ok(()),
        _ => Err(Error::BeyondEnd { offset, len, size }),
    }
}

impl Drop for ClusterExport {
    fn drop(&mut self) {
        self.session.core.note_closed(self.session.volume);
    }
}

/// The records that writes come to: in order, each of as many as it has room for.
pub(super) fn records(writes: &[Write<'_>], packer: &mut Packer) -> Vec<Draft> {
    let pieces: Vec<_> = writes.iter().flat_map(|write| pieces(write.offset, write.data)).collect();
    let mut left: usize = pieces.iter().map(|(_, data)| WriteRecord::bytes_of(data.len())).sum();
    let (mut records, mut record) = (Vec::new(), WriteRecord::with_capacity(left.min(RECORD_BYTES_MAX)));
    for (offset, data) in &pieces {
        if !record.has_room(*offset, data.len()) {
            let next = WriteRecord::with_capacity(left.min(RECORD_BYTES_MAX));
            records.push(std::mem::replace(&mut record, next).finish(packer));
        }
        record.push(*offset, data, packer);
        left -= WriteRecord::bytes_of(data.len());
    }
    if !pieces.is_empty() {
        records.push(record.finish(packer));
    }
    records
}

/// A write in pieces that fit a record, and that end between blocks, so that no block is written twice.
fn pieces(mut offset: u64, mut data: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    std::iter::from_fn(move || {
        let whole = (offset + DATA_BYTES_MAX as u64) / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
        let (piece, rest) = data.split_at(data.len().min((whole - offset) as usize));
        let first = std::mem::replace(&mut offset, whole);
        data = rest;
        (!piece.is_empty()).then_some((first, piece))
    })
}

impl Export for ClusterExport {
    fn size_bytes(&self) -> u64 {
        self.session.core.size_bytes(self.session.volume)
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn write(&self, writes: &[Write<'_>]) -> Result<()> {
        for write in writes {
            check_range(&self.session, write.offset, write.data.len() as u64)?;
        }
        let records = records(writes, &mut Packer::default());
        if records.is_empty() { Ok(()) } else { self.session.write(&records) }
    }

    fn zero(&self, offset: u64, len: u64, zeroing: Zeroing) -> Result<()> {
        check_range(&self.session, offset, len)?;
        if len == 0 {
            return Ok(());
        }
        self.session.write(&[Draft::of(&[Operation::Zero { offset, len, zeroing }])])
    }

    fn flush(&self) -> Result<()> {
        self.session.flush()
    }

    fn prefetch(&self, offset: u64, len: u64) -> Result<()> {
        check_range(&self.session, offset, len)
    }

    fn block_status(&self, offset: u64, len: u64, extents_max: usize) -> Result<Vec<StatusExtent>> {
        check_range(&self.session, offset, len)?;
        self.session.status(None, (offset, len), extents_max)
    }

    fn starts_changes(&self) -> bool {
        true
    }

    fn requests(&self) -> Result<Box<dyn Requests>> {
        Ok(Box::new(ClusterRequests::new(Arc::clone(&self.session))?))
    }
}

/// A snapshot that another node has.
pub(super) struct RemoteSnapshot {
    session: Arc<Session>,
    name: String,
    size_bytes: u64,
}

impl RemoteSnapshot {
    /// The snapshot of this name; `None` if there is none.
    pub(super) fn open(core: &Arc<Core>, volume: net::id::VolumeId, name: &str) -> Result<Option<Self>> {
        let session = Arc::new(Session::new(Arc::clone(core), volume));
        let found = session.snapshots()?.into_iter().find(|snapshot| snapshot.name == name);
        Ok(found.map(|found| {
            core.open_snapshots.lock().open(volume, name);
            Self { session, name: found.name, size_bytes: found.size_bytes }
        }))
    }
}

impl Drop for RemoteSnapshot {
    fn drop(&mut self) {
        self.session.core.open_snapshots.lock().close(self.session.volume, &self.name);
    }
}

impl Export for RemoteSnapshot {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn is_read_only(&self) -> bool {
        true
    }

    fn write(&self, _: &[Write<'_>]) -> Result<()> {
        Err(Error::ReadOnly)
    }

    fn zero(&self, _: u64, _: u64, _: Zeroing) -> Result<()> {
        Err(Error::ReadOnly)
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn prefetch(&self, _: u64, _: u64) -> Result<()> {
        Ok(())
    }

    fn block_status(&self, offset: u64, len: u64, extents_max: usize) -> Result<Vec<StatusExtent>> {
        self.session.status(Some(&self.name), (offset, len), extents_max)
    }

    fn requests(&self) -> Result<Box<dyn Requests>> {
        let (session, name, finished) = (Arc::clone(&self.session), self.name.clone(), VecDeque::new());
        Ok(Box::new(SnapshotReads { session, name, size_bytes: self.size_bytes, finished }))
    }
}

/// Reads of a snapshot that another node has, one after the other.
struct SnapshotReads {
    session: Arc<Session>,
    name: String,
    size_bytes: u64,
    finished: VecDeque<(u64, Result<ReadData>)>,
}

impl SnapshotReads {
    fn read(&self, offset: u64, len: usize) -> Result<ReadData> {
        if offset.checked_add(len as u64).is_none_or(|end| end > self.size_bytes) {
            return Err(Error::BeyondEnd { offset, len: len as u64, size: self.size_bytes });
        }
        let mut data = ReadData::default();
        for at in (0..len).step_by(net::forward::BYTES_MAX) {
            let piece = (len - at).min(net::forward::BYTES_MAX);
            data.push(Piece::Bytes(self.session.read(Some(&self.name), offset + at as u64, piece)?));
        }
        Ok(data)
    }
}

impl Requests for SnapshotReads {
    fn start_read(&mut self, token: u64, offset: u64, len: usize) {
        let data = self.read(offset, len);
        self.finished.push_back((token, data));
    }

    fn next_read(&mut self) -> Option<(u64, Result<ReadData>)> {
        self.finished.pop_front()
    }

    fn in_flight(&self) -> usize {
        self.finished.len()
    }

    fn wait(&mut self, socket: Option<BorrowedFd<'_>>, timeout: Option<Duration>) -> Result<Wake> {
        let timeout = if self.finished.is_empty() { timeout } else { Some(Duration::ZERO) };
        let is_readable = super::requests::wait_readable(socket, timeout)?;
        Ok(Wake { socket_readable: is_readable, completions: !self.finished.is_empty() })
    }
}

#[cfg(test)]
mod tests;
