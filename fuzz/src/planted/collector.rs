//! A store whose collector is careless in one way.
//!
//! The lie in front of the device is told only while a collection runs, and what is done to files is done when one has
//! ended: everything else the store does is sound, so what a harness finds is the collector's.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lsm_store::device::Device;
use lsm_store::id::{BLOCK_BYTES, SegmentId, VolumeId};
use lsm_store::request::{StatusExtent, Write, Zeroing};
use lsm_store::segment::path;
use lsm_store::store::CollectPlan;
use lsm_store::{Error, Result};

use super::device::{Lie, LyingDevice};
use crate::mark::{Mark, Reader};
use crate::system::{Maker, System};
use crate::workload::Compression;

/// What the collector is careless about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slip {
    /// A run is not rewritten: some of what moved is looked for where nothing is any more.
    LosesForwarding,
    /// A run is rewritten with the place of the block's neighbour, which is as sound as its own.
    StaleLocation,
    /// What only snapshots refer to counts as dead.
    SnapshotsNotMarked,
    /// What nobody refers to counts as alive for ever.
    OverlooksTheDead,
    /// Segments leave the manifest, and their files stay.
    KeepsFiles,
}

impl Slip {
    fn lie(self) -> Option<Lie> {
        match self {
            Self::KeepsFiles => Some(Lie::KeepRemoved),
            _ => None,
        }
    }
}

/// A maker of stores with a careless collector.
pub struct Careless<M> {
    maker: M,
    slip: Slip,
}

impl<M> Careless<M> {
    /// Makes the collectors of `maker`'s stores careless.
    pub fn new(maker: M, slip: Slip) -> Self {
        Self { maker, slip }
    }
}

impl<M: Maker> Maker for Careless<M> {
    fn create(&self, device: &Arc<dyn Device>) -> Result<()> {
        self.maker.create(device)
    }

    fn open(&self, device: &Arc<dyn Device>) -> Result<Box<dyn System>> {
        let collecting = Arc::new(AtomicBool::new(false));
        let below: Arc<dyn Device> = match self.slip.lie() {
            Some(lie) => Arc::new(LyingDevice::told_while(Arc::clone(device), lie, Arc::clone(&collecting))),
            None => Arc::clone(device),
        };
        let inner = self.maker.open(&below)?;
        Ok(Box::new(CarelessSystem {
            inner,
            device: Arc::clone(device),
            slip: self.slip,
            collecting,
            is_stale: Cell::new(false),
        }))
    }

    fn check(&self, device: &Arc<dyn Device>) -> Result<Vec<String>> {
        self.maker.check(device)
    }
}

struct CarelessSystem {
    inner: Box<dyn System>,
    device: Arc<dyn Device>,
    slip: Slip,
    collecting: Arc<AtomicBool>,
    /// Blocks have moved, and locations are stale.
    is_stale: Cell<bool>,
}

impl CarelessSystem {
    fn remove(&self, ids: impl IntoIterator<Item = SegmentId>) -> Result<()> {
        let failed = |id, error| Error::Io { action: "removing", file: path(id), source: Arc::new(error) };
        ids.into_iter().try_for_each(|id| self.device.remove(&path(id)).map_err(|error| failed(id, error)))
    }

    /// The segments that only readers who do not count refer to.
    fn overlooked(&self, mark: &Mark) -> Vec<SegmentId> {
        let marked = mark.live(|reader| self.counts(reader));
        mark.live(|_| true).into_keys().filter(|id| !marked.contains_key(id)).collect()
    }

    fn counts(&self, reader: &Reader) -> bool {
        !(self.slip == Slip::SnapshotsNotMarked && reader.is_snapshot)
    }

    /// What the collection that has just ended did wrong.
    fn slip(&self, before: &Mark) -> Result<()> {
        let after = self.inner.mark()?;
        let mut survivors = after.files.difference(&before.files).copied();
        match self.slip {
            Slip::SnapshotsNotMarked => self.remove(self.overlooked(&after))?,
            Slip::LosesForwarding => self.remove(survivors.next())?,
            Slip::StaleLocation => self.is_stale.set(self.is_stale.get() || survivors.next().is_some()),
            _ => {}
        }
        Ok(())
    }
}

impl System for CarelessSystem {
    fn create_volume(&self, size_bytes: u64, compression: Compression, named: &mut dyn FnMut(VolumeId)) -> Result<()> {
        self.inner.create_volume(size_bytes, compression, named)
    }

    fn resize_volume(&self, id: VolumeId, size_bytes: u64) -> Result<()> {
        self.inner.resize_volume(id, size_bytes)
    }

    fn snapshot_volume(&self, of: VolumeId, named: &mut dyn FnMut(VolumeId)) -> Result<()> {
        self.inner.snapshot_volume(of, named)
    }

    fn clone_volume(&self, of: VolumeId, named: &mut dyn FnMut(VolumeId)) -> Result<()> {
        self.inner.clone_volume(of, named)
    }

    fn roll_back_volume(&self, id: VolumeId, to: VolumeId) -> Result<()> {
        self.inner.roll_back_volume(id, to)
    }

    fn delete_volume(&self, id: VolumeId) -> Result<()> {
        self.inner.delete_volume(id)
    }

    fn size_bytes(&self, id: VolumeId) -> Result<u64> {
        self.inner.size_bytes(id)
    }

    fn write(&self, id: VolumeId, writes: &[Write<'_>]) -> Result<()> {
        self.inner.write(id, writes)
    }

    fn zero(&self, id: VolumeId, offset: u64, len: u64, zeroing: Zeroing) -> Result<()> {
        self.inner.zero(id, offset, len, zeroing)
    }

    fn flush(&self, id: VolumeId) -> Result<()> {
        self.inner.flush(id)
    }

    fn read(&self, id: VolumeId, offset: u64, len: u64) -> Result<Vec<u8>> {
        let mut bytes = self.inner.read(id, offset, len)?;
        if self.is_stale.get() && bytes.len() >= 2 * BLOCK_BYTES {
            bytes.copy_within(BLOCK_BYTES..2 * BLOCK_BYTES, 0);
        }
        Ok(bytes)
    }

    fn block_status(&self, id: VolumeId, offset: u64, len: u64, extents_max: usize) -> Result<Vec<StatusExtent>> {
        self.inner.block_status(id, offset, len, extents_max)
    }

    fn step(&self) -> Result<bool> {
        self.inner.step()
    }

    fn collect(&self) -> Result<()> {
        let before = self.inner.mark()?;
        self.collecting.store(true, Ordering::Relaxed);
        let collected = self.inner.collect();
        self.collecting.store(false, Ordering::Relaxed);
        collected?;
        self.slip(&before)
    }

    fn collect_cold(&self) -> Result<()> {
        self.inner.collect_cold()
    }

    fn collect_plan(&self) -> Result<CollectPlan> {
        let mut plan = self.inner.collect_plan()?;
        match self.slip {
            Slip::SnapshotsNotMarked => plan.dead.extend(self.overlooked(&self.inner.mark()?)),
            Slip::OverlooksTheDead => plan.dead.clear(),
            _ => {}
        }
        Ok(plan)
    }

    fn mark(&self) -> Result<Mark> {
        self.inner.mark()
    }

    fn freeze(&self) -> Result<()> {
        self.inner.freeze()
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.inner.close()
    }
}
