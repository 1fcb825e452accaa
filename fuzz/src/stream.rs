//! Receivers for the fuzz target: a node that has what a small stream goes on from, and hears what a script made of it.
//!
//! Checksums may be switched off (`--cfg fuzzing`), fingerprints and roots are not: so whatever is received is what was
//! sent, and anything else leaves the node as it was.

mod exchange;

use std::ops::ControlFlow;
use std::sync::Arc;

use blockdev::name::{ExportName, SnapshotName, VolumeName};
use blockdev::node::Node;
use blockdev::root::Root;
use blockdev::transfer::{Outlet, ReceiveOptions, Receiver, Result as TransferResult, TransferError, send};
use lsm_store::codec::Codec;
use lsm_store::device::sim::{Faults, SimDevice};
use lsm_store::id::BLOCK_BYTES;
use lsm_store::request::{Write, Zeroing};
use lsm_store::store::VolumeSpec;

use crate::model::Violation;
use crate::specimen::{self, broken, edited};
pub use exchange::Exchange;

/// Blocks of the volume that is sent.
const BLOCKS: usize = 9;

/// Bytes pushed at once: records are cut anywhere.
const PIECE_BYTES: usize = 777;

/// A stream, and a node that can receive it.
pub struct Transmission {
    receiver: SimDevice,
    stream: Vec<u8>,
    /// The root of what is sent.
    root: Root,
    /// The root of what the node has.
    base: Root,
}

fn opened(device: &SimDevice) -> Result<Arc<Node>, Violation> {
    Node::open(specimen::opened(device)?, false).map_err(broken)
}

fn name<N: std::str::FromStr>(text: &str) -> N
where
    N::Err: std::fmt::Debug,
{
    text.parse().expect("a name of the harness is one")
}

fn root(node: &Arc<Node>, of: &str) -> Result<Root, Violation> {
    let rooted = node.root(&name::<ExportName>(of), &mut |_, _| ControlFlow::Continue(()));
    rooted.map(|rooted| rooted.root).map_err(broken)
}

fn names(node: &Node) -> Vec<String> {
    let volumes = node.volumes().into_iter().map(|volume| volume.name.to_string());
    volumes.chain(node.all_snapshots().into_iter().map(|snapshot| snapshot.name.to_string())).collect()
}

#[derive(Default)]
struct Kept(Vec<u8>);

impl Outlet for Kept {
    fn write(&mut self, bytes: &[u8]) -> TransferResult<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn progress(&mut self, _what: &str, _done: u64, _total: u64) -> TransferResult<()> {
        Ok(())
    }
}

fn sent(node: &Arc<Node>, snapshot: &str, base: Option<&str>) -> Result<Vec<u8>, Violation> {
    let mut kept = Kept::default();
    let base = base.map(name::<SnapshotName>);
    send(node, &name(snapshot), base.as_ref(), &mut kept).map_err(broken)?;
    Ok(kept.0)
}

fn received(node: &Arc<Node>, stream: &[u8]) -> Result<Root, TransferError> {
    let options = ReceiveOptions { codec: Codec::Lz4, force: true };
    let mut receiver = Receiver::new(Arc::clone(node), name("vm"), options);
    let mut watch = |_, _| ControlFlow::Continue(());
    stream.chunks(PIECE_BYTES).try_for_each(|piece| receiver.push(piece, &mut watch))?;
    receiver.finish(&mut watch).map(|received| received.root)
}

impl Transmission {
    /// Makes both.
    ///
    /// # Errors
    /// If a sound stream is not received: a bug to find by other tests.
    pub fn make() -> Result<Self, Violation> {
        let Pair { from, to, base } = Pair::make()?;
        let stream = sent(&from, "vm@b", Some("vm@a"))?;
        Ok(Self { receiver: to, stream, root: root(&from, "vm@b")?, base })
    }

    /// Has the node receive what `script` makes of the stream.
    ///
    /// # Errors
    /// If what is there afterwards is neither all that was sent nor what was there before.
    pub fn try_script(&self, script: &[u8]) -> Result<(), Violation> {
        let node = opened(&self.receiver.process_death())?;
        let before = names(&node);
        match received(&node, &edited(&self.stream, script)) {
            Ok(received) if received == self.root && root(&node, "vm")? == self.root => Ok(()),
            Err(_) if names(&node) == before && root(&node, "vm")? == self.base => Ok(()),
            Ok(_) => Err(Violation(format!("{script:?} brings something else"))),
            Err(error) => Err(Violation(format!("{script:?} leaves something: {error}"))),
        }
    }
}

/// A node with two snapshots, and the device of one that has the first of them.
struct Pair {
    from: Arc<Node>,
    to: SimDevice,
    /// The root of what both have.
    base: Root,
}

impl Pair {
    fn make() -> Result<Self, Violation> {
        let (from, to) = (SimDevice::new(1, Faults::none()), SimDevice::new(2, Faults::none()));
        let (from, node) = (opened(&from)?, opened(&to)?);
        let spec = VolumeSpec { size_bytes: (BLOCKS * BLOCK_BYTES - 5) as u64, codec: Codec::Lz4 };
        let id = from.create(&name::<VolumeName>("vm"), spec).map_err(broken)?.info.id;
        let volume = from.store().volume(id).map_err(broken)?;
        let block = |at: usize, byte: u8| (at as u64 * BLOCK_BYTES as u64, [byte; BLOCK_BYTES]);
        let write = |(offset, data): (u64, [u8; BLOCK_BYTES])| volume.write(&[Write { offset, data: &data }]);
        (0..6).try_for_each(|at| write(block(at, 1 + at as u8))).map_err(broken)?;
        from.snapshot(&[name("vm@a")]).map_err(broken)?;
        let base = received(&node, &sent(&from, "vm@a", None)?).map_err(broken)?;
        [block(1, 77), block(7, 78)].into_iter().try_for_each(write).map_err(broken)?;
        volume.zero(3 * BLOCK_BYTES as u64, BLOCK_BYTES as u64, Zeroing::Hole).map_err(broken)?;
        from.snapshot(&[name("vm@b")]).map_err(broken)?;
        Ok(Self { from, to, base })
    }
}

#[cfg(test)]
mod tests;
