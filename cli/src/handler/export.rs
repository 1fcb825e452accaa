//! Gives the content of a volume or snapshot to whoever asked.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use siltstone::access::Principal;
use siltstone::control::{DATA_BYTES_MAX, Error, Failure, Peer, Response, Transferred};
use siltstone::export::{BlockState, Export, Exports, Requests};
use siltstone::name::ExportName;
use siltstone::store::read::{Piece, ReadData};

use super::{NodeHandler, failure, name};

/// Reads under way at once; each is one frame long at most.
const READS_MAX: usize = 8;

/// Extents asked of block status at once.
const EXTENTS_MAX: usize = 1024;

/// A stretch to read.
struct Stretch {
    offset: u64,
    len: usize,
}

impl NodeHandler {
    pub(super) fn export(&self, text: &str, peer: &mut dyn Peer) -> Result<Response, Failure> {
        let name: ExportName = name(text)?;
        let export = self.open(&name)?;
        let size_bytes = export.size_bytes();
        let data_bytes = send_all(&*export, size_bytes, peer)?;
        Ok(Response::Transferred(Transferred { name: name.to_string(), size_bytes, data_bytes }))
    }
}

impl NodeHandler {
    /// What a name means, wherever it is.
    fn open(&self, name: &ExportName) -> Result<Arc<dyn Export>, Failure> {
        if self.replicated(name.volume())?.is_none() {
            return Ok(self.node().export(name).map_err(failure)?);
        }
        let missing = |error: siltstone::store::Error| failure(error.into());
        self.exports()?.open(&name.to_string(), &Principal::Local).map_err(missing)
    }
}

/// Reads ahead, sends in order, and returns how many bytes were sent.
fn send_all(export: &dyn Export, size_bytes: u64, peer: &mut dyn Peer) -> Result<u64, Failure> {
    let store_failure = |error: siltstone::store::Error| failure(error.into());
    let mut reads = export.requests().map_err(store_failure)?;
    let mut plan = Plan { export, position: 0, size_bytes, ready: VecDeque::new() };
    let mut offsets = VecDeque::new();
    let mut finished = BTreeMap::new();
    let mut sent = 0;
    loop {
        while offsets.len() < READS_MAX
            && let Some(stretch) = plan.next().map_err(store_failure)?
        {
            reads.start_read(stretch.offset, stretch.offset, stretch.len);
            offsets.push_back(stretch.offset);
        }
        let Some(&offset) = offsets.front() else { return Ok(sent) };
        let data = await_read(&mut *reads, &mut finished, offset).map_err(store_failure)?;
        offsets.pop_front();
        sent += send(peer, offset, &data)?;
    }
}

/// Waits for the read of `offset`; others that finish earlier are kept in `finished`.
fn await_read(
    reads: &mut dyn Requests,
    finished: &mut BTreeMap<u64, siltstone::store::Result<ReadData>>,
    offset: u64,
) -> siltstone::store::Result<ReadData> {
    loop {
        while let Some((token, result)) = reads.next_read() {
            finished.insert(token, result);
        }
        if let Some(result) = finished.remove(&offset) {
            return result;
        }
        reads.wait(None, None)?;
    }
}

/// Sends what is not zeros; pieces that touch travel together.
fn send(peer: &mut dyn Peer, mut offset: u64, data: &ReadData) -> Result<u64, Error> {
    let mut sent = 0;
    for group in data.pieces().chunk_by(|a, b| is_data(a) == is_data(b)) {
        let len: usize = group.iter().map(Piece::len).sum();
        match group {
            [Piece::Bytes(bytes)] => peer.send(offset, bytes)?,
            group if group.first().is_some_and(is_data) => {
                let mut together = Vec::with_capacity(len);
                group.iter().for_each(|piece| extend(&mut together, piece));
                peer.send(offset, &together)?;
            }
            _ => {
                offset += len as u64;
                continue;
            }
        }
        sent += len as u64;
        offset += len as u64;
    }
    Ok(sent)
}

fn is_data(piece: &Piece) -> bool {
    matches!(piece, Piece::Bytes(_))
}

fn extend(together: &mut Vec<u8>, piece: &Piece) {
    if let Piece::Bytes(bytes) = piece {
        together.extend_from_slice(bytes);
    }
}

/// What to read, in order, found out as it is needed.
struct Plan<'e> {
    export: &'e dyn Export,
    position: u64,
    size_bytes: u64,
    ready: VecDeque<Stretch>,
}

impl Plan<'_> {
    fn next(&mut self) -> siltstone::store::Result<Option<Stretch>> {
        while self.ready.is_empty() && self.position < self.size_bytes {
            let left = self.size_bytes - self.position;
            for extent in self.export.block_status(self.position, left, EXTENTS_MAX)? {
                if extent.state == BlockState::Data {
                    self.push(extent.len);
                }
                self.position += extent.len;
            }
        }
        Ok(self.ready.pop_front())
    }

    /// Cuts at multiples of the frame size, so that reads of fragmented volumes stay aligned to each other.
    fn push(&mut self, len: u64) {
        let end = self.position + len;
        let mut offset = self.position;
        while offset < end {
            let cut = (offset / DATA_BYTES_MAX as u64 + 1) * DATA_BYTES_MAX as u64;
            let len = (cut.min(end) - offset) as usize;
            self.ready.push_back(Stretch { offset, len });
            offset += len as u64;
        }
    }
}
