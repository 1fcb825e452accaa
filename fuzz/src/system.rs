//! The seam between the harnesses and what they prove: a store that is made, opened and asked on some device.
//!
//! [`crate::store`] is the real one. [`crate::planted`] puts bugs between it and the harness, which is how the harnesses
//! are proved in their turn.

use std::sync::Arc;

use lsm_store::device::Device;
use lsm_store::id::VolumeId;
use lsm_store::request::{StatusExtent, Write, Zeroing};
use lsm_store::store::CollectPlan;
use lsm_store::{Error, ErrorKind, Result};

use crate::mark::Mark;
use crate::model::{Image, StoreImage, StoreModel, Violation};
use crate::runner::chain;
use crate::workload::Compression;

/// Extents asked for in one call when a volume is read back: few, so that calls are continued.
const STATUS_EXTENTS: usize = 16;

/// Makes and opens stores.
pub trait Maker: Send + Sync {
    /// Makes an empty store on a device.
    fn create(&self, device: &Arc<dyn Device>) -> Result<()>;

    /// Opens the store on a device; nothing in it happens on its own.
    fn open(&self, device: &Arc<dyn Device>) -> Result<Box<dyn System>>;

    /// Verifies a stopped store from end to end; one line for each damage.
    fn check(&self, device: &Arc<dyn Device>) -> Result<Vec<String>>;
}

/// An open store. Dropping it without [`System::close`] is the death of its process.
pub trait System {
    /// Makes a volume; `named` learns its id before anything of it is durable.
    fn create_volume(&self, size_bytes: u64, compression: Compression, named: &mut dyn FnMut(VolumeId)) -> Result<()>;
    /// Gives a volume another size.
    fn resize_volume(&self, id: VolumeId, size_bytes: u64) -> Result<()>;
    /// Freezes a volume; `named` learns the snapshot's id before it is durable.
    fn snapshot_volume(&self, of: VolumeId, named: &mut dyn FnMut(VolumeId)) -> Result<()>;
    /// Makes a volume that holds what a volume or snapshot holds; `named` learns its id before anything of it is durable.
    fn clone_volume(&self, of: VolumeId, named: &mut dyn FnMut(VolumeId)) -> Result<()>;
    /// Puts a volume back to one of its snapshots.
    fn roll_back_volume(&self, id: VolumeId, to: VolumeId) -> Result<()>;
    /// Deletes a volume or a snapshot.
    fn delete_volume(&self, id: VolumeId) -> Result<()>;
    /// Size in bytes.
    fn size_bytes(&self, id: VolumeId) -> Result<u64>;
    /// Applies writes in order.
    fn write(&self, id: VolumeId, writes: &[Write<'_>]) -> Result<()>;
    /// Makes a range zero.
    fn zero(&self, id: VolumeId, offset: u64, len: u64, zeroing: Zeroing) -> Result<()>;
    /// Makes everything answered durable.
    fn flush(&self, id: VolumeId) -> Result<()>;
    /// The bytes of a range.
    fn read(&self, id: VolumeId, offset: u64, len: u64) -> Result<Vec<u8>>;
    /// The states of a range.
    fn block_status(&self, id: VolumeId, offset: u64, len: u64, extents_max: usize) -> Result<Vec<StatusExtent>>;
    /// Does one unit of background work; false if there is none.
    fn step(&self) -> Result<bool>;
    /// Gives back the room of what nobody sees.
    fn collect(&self) -> Result<()>;
    /// What the next collection would begin with.
    fn collect_plan(&self) -> Result<CollectPlan>;
    /// What the collector should think: an independent mark.
    fn mark(&self) -> Result<Mark>;
    /// Packs all that is in segments as cold data is.
    fn collect_cold(&self) -> Result<()>;
    /// Starts a new memtable and journal generation.
    fn freeze(&self) -> Result<()>;
    /// Stops cleanly.
    fn close(self: Box<Self>) -> Result<()>;
}

/// Holds what the collector thinks against an independent mark.
pub fn audit(system: &dyn System) -> std::result::Result<(), Violation> {
    let failed = |error: Error| Violation(format!("auditing the collector failed: {}", chain(&error)));
    let mark = system.mark().map_err(failed)?;
    let found = mark.disagreements(&system.collect_plan().map_err(failed)?);
    if found.is_empty() {
        return Ok(());
    }
    Err(Violation(format!("the collector and an independent mark disagree: {}", found.join("; "))))
}

/// Reads back everything the model knows of.
pub fn read_back(system: &dyn System, model: &StoreModel) -> Result<StoreImage> {
    let mut image = StoreImage::default();
    for (id, touched) in model.known() {
        match read_volume(system, id, &touched) {
            Ok(volume) => _ = image.volumes.insert(id, volume),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(image)
}

fn read_volume(system: &dyn System, id: VolumeId, touched: &[u64]) -> Result<Image> {
    const BLOCK: u64 = lsm_store::id::BLOCK_BYTES as u64;
    let size_bytes = system.size_bytes(id)?;
    let mut image = Image { size_bytes, ..Image::default() };
    for adjacent in touched.chunk_by(|before, after| before + 1 == *after) {
        let offset = adjacent[0] * BLOCK;
        let len = (adjacent.len() as u64 * BLOCK).min(size_bytes.saturating_sub(offset));
        if len > 0 {
            let bytes = system.read(id, offset, len)?;
            image.blocks.extend(adjacent.iter().copied().zip(bytes.chunks(BLOCK as usize).map(<[u8]>::to_vec)));
        }
    }
    let mut at = 0;
    while at < size_bytes {
        let extents = system.block_status(id, at, size_bytes - at, STATUS_EXTENTS)?;
        if extents.is_empty() {
            return Err(Error::Invalid { what: "block status", must: "at least one extent" });
        }
        for extent in extents {
            match image.status.last_mut() {
                Some((_, len, state)) if *state == extent.state => *len += extent.len,
                _ => image.status.push((at, extent.len, extent.state)),
            }
            at += extent.len;
        }
    }
    Ok(image)
}
