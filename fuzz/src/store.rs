//! The real store, in very little memory: memtables and journal files of 64 KiB, so that a few dozen writes see every
//! flush, merge and rotation there is.

use std::sync::Arc;

use lsm_store::codec::{Codec, ZstdLevel};
use lsm_store::device::Device;
use lsm_store::device::sim::VirtualClock;
use lsm_store::id::VolumeId;
use lsm_store::request::{StatusExtent, Write, Zeroing};
use lsm_store::rng::SeededRng;
use lsm_store::store::{BackgroundMode, Budget, ColdScope, CollectPlan};
use lsm_store::{Environment, Error, Options, Result, Settings, Store, VolumeSpec};

use crate::mark::Mark;
use crate::system::{Maker, System};
use crate::workload::Compression;

/// Makes and opens real stores.
#[derive(Clone, Copy, Debug)]
pub struct StoreMaker {
    /// Memory budget in bytes.
    pub memory_bytes: u64,
    /// Space to allocate ahead in bytes.
    pub capacity_bytes: Option<u64>,
}

impl Default for StoreMaker {
    fn default() -> Self {
        Self { memory_bytes: 1 << 20, capacity_bytes: None }
    }
}

/// The environment of a simulated store.
#[must_use]
pub fn environment(device: &Arc<dyn Device>) -> Environment {
    Environment {
        device: Arc::clone(device),
        clock: Arc::new(VirtualClock::new()),
        rng: Arc::new(SeededRng::new(0x5117_5704e)),
    }
}

impl Maker for StoreMaker {
    fn create(&self, device: &Arc<dyn Device>) -> Result<()> {
        Store::create(&environment(device), Settings { capacity_bytes: self.capacity_bytes })
    }

    fn open(&self, device: &Arc<dyn Device>) -> Result<Box<dyn System>> {
        let budget = Budget::divide(self.memory_bytes);
        let options = Options { budget, background: BackgroundMode::Manual, read_only: false };
        let store = Store::open(environment(device), options)?;
        Ok(Box::new(RealStore { store, device: Arc::clone(device) }))
    }

    fn check(&self, device: &Arc<dyn Device>) -> Result<Vec<String>> {
        let report = Store::check(&environment(device), &mut |_, _| {})?;
        let describe = |damage: &lsm_store::store::Damage| {
            format!("{} at {}: {} (volumes {:?})", damage.file, damage.offset, damage.why, damage.volumes)
        };
        Ok(report.damages.iter().map(describe).collect())
    }
}

struct RealStore {
    store: Arc<Store>,
    device: Arc<dyn Device>,
}

impl RealStore {
    /// A read as a frontend does it: by a queue.
    fn read_queued(&self, id: VolumeId, offset: u64, len: usize) -> Result<Vec<u8>> {
        let mut reads = self.store.volume(id)?.reads()?;
        reads.start(7, offset, len);
        loop {
            if let Some((_, answer)) = reads.next_finished() {
                let mut bytes = vec![0; len];
                answer?.copy_to(&mut bytes);
                return Ok(bytes);
            }
            reads.wait(None, None)?;
        }
    }
}

impl System for RealStore {
    fn create_volume(&self, size_bytes: u64, compression: Compression, named: &mut dyn FnMut(VolumeId)) -> Result<()> {
        let codec = match compression {
            Compression::None => Codec::None,
            Compression::Lz4 => Codec::Lz4,
            Compression::Zstd => {
                let level = ZstdLevel::new(1).ok_or(Error::Invalid { what: "level", must: "valid" })?;
                Codec::Zstd { level }
            }
        };
        let records = |id| {
            named(id);
            Vec::new()
        };
        self.store.create_volume(VolumeSpec { size_bytes, codec }, records).map(|_| ())
    }

    fn resize_volume(&self, id: VolumeId, size_bytes: u64) -> Result<()> {
        self.store.resize_volume(id, size_bytes)
    }

    fn snapshot_volume(&self, of: VolumeId, named: &mut dyn FnMut(VolumeId)) -> Result<()> {
        let records = |ids: &[VolumeId]| {
            named(ids[0]);
            Vec::new()
        };
        self.store.snapshot_volumes(&[of], records).map(|_| ())
    }

    fn clone_volume(&self, of: VolumeId, named: &mut dyn FnMut(VolumeId)) -> Result<()> {
        let records = |id| {
            named(id);
            Vec::new()
        };
        self.store.clone_volume(of, records).map(|_| ())
    }

    fn roll_back_volume(&self, id: VolumeId, to: VolumeId) -> Result<()> {
        self.store.roll_back_volume(id, to)
    }

    fn delete_volume(&self, id: VolumeId) -> Result<()> {
        self.store.delete_volume(id, Vec::new())
    }

    fn size_bytes(&self, id: VolumeId) -> Result<u64> {
        self.store.volume(id).map(|volume| volume.size_bytes())
    }

    fn write(&self, id: VolumeId, writes: &[Write<'_>]) -> Result<()> {
        self.store.volume(id)?.write(writes)
    }

    fn zero(&self, id: VolumeId, offset: u64, len: u64, zeroing: Zeroing) -> Result<()> {
        self.store.volume(id)?.zero(offset, len, zeroing)
    }

    fn flush(&self, id: VolumeId) -> Result<()> {
        self.store.volume(id)?.flush()
    }

    fn read(&self, id: VolumeId, offset: u64, len: u64) -> Result<Vec<u8>> {
        let len = usize::try_from(len).map_err(|_| Error::Invalid { what: "length", must: "of memory" })?;
        if (offset >> 12) % 2 == 1 {
            return self.read_queued(id, offset, len);
        }
        let data = self.store.volume(id)?.read(offset, len)?;
        let mut bytes = vec![0; len];
        data.copy_to(&mut bytes);
        Ok(bytes)
    }

    fn block_status(&self, id: VolumeId, offset: u64, len: u64, extents_max: usize) -> Result<Vec<StatusExtent>> {
        self.store.volume(id)?.block_status(offset, len, extents_max)
    }

    fn step(&self) -> Result<bool> {
        self.store.step()
    }

    fn collect(&self) -> Result<()> {
        self.store.collect(true).map(|_| ())
    }

    fn collect_plan(&self) -> Result<CollectPlan> {
        self.store.collect_plan(true)
    }

    fn mark(&self) -> Result<Mark> {
        Mark::take(&self.store, &*self.device)
    }

    fn collect_cold(&self) -> Result<()> {
        let last = self.store.segment_ids().last().copied().unwrap_or_default();
        while !self.store.cold_plan(ColdScope::All, last).victims.is_empty() {
            self.store.pack_cold(ColdScope::All, last)?;
        }
        Ok(())
    }

    fn freeze(&self) -> Result<()> {
        self.store.freeze()
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.store.close()
    }
}
