//! A store that this process has to itself.

mod objects;
mod streams;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use blockdev::catalog::State;
use blockdev::export::{Changes as _, Export as _, StatusExtent, Write, Zeroing};
use blockdev::lsm_store::clock::SystemClock;
use blockdev::lsm_store::device::AccessMode;
use blockdev::lsm_store::device::directory::DirectoryDevice;
use blockdev::lsm_store::fingerprint::Fingerprint;
use blockdev::lsm_store::id::BlockIndex;
use blockdev::lsm_store::request::BlockIdentity;
use blockdev::lsm_store::rng::SystemRng;
use blockdev::lsm_store::store::{self, BackgroundMode, Budget, Environment, Limits, Settings, VolumeSpec};
use blockdev::lsm_store::{Error as StoreError, ErrorKind as StoreErrorKind};
use blockdev::name::{ExportName, SnapshotName, VolumeName};
use blockdev::node::{Duties, NamedSnapshot, NamedVolume, Node, Shrink, SnapshotLoss, VolumeChanges, VolumeExport};
use gc::CensusCache;

use super::{Backend, Data, Differences, PAGE_EXTENTS_MAX};
use crate::error::{Cause, Caused};
use crate::options::Options;
use crate::progress::{self, Watch};
use crate::scrub::{ScrubStatus, Verified};
use crate::snapshot::SnapshotInfo;
use crate::space::{Collected, Space, Usage};
use crate::volume::{VolumeInfo, VolumeOptions};

/// A node over a directory, without frontends.
pub(crate) struct Embedded {
    node: Arc<Node>,
    census: CensusCache,
    _duties: Option<Duties>,
}

/// Makes an empty store in a directory, which is made too if need be.
pub(crate) fn create(dir: &Path, options: &Options) -> Caused<()> {
    std::fs::create_dir_all(dir).map_err(|source| Cause::Directory { action: "making", path: dir.into(), source })?;
    let settings = Settings { capacity_bytes: options.capacity_bytes };
    store::Store::create(&environment(dir, AccessMode::ReadWrite)?, settings).map_err(|error| in_directory(dir, error))
}

/// Opens the store of a directory.
pub(crate) fn open(dir: &Path, options: &Options) -> Caused<Embedded> {
    let read_only = options.read_only;
    let budget = Budget::new(options.memory_bytes)?;
    let access = if read_only { AccessMode::ReadOnly } else { AccessMode::ReadWrite };
    let store_options = store::Options { budget, background: BackgroundMode::Threads, read_only };
    let store = store::Store::open(environment(dir, access)?, store_options);
    let store = store.map_err(|error| in_directory(dir, error))?;
    store.set_large_frames(options.large_frames);
    let node = Node::open(store, read_only)?;
    let duties = (options.duties && !read_only).then(|| Duties::start(Arc::clone(&node)));
    let duties = duties.transpose().map_err(Cause::Thread)?;
    Ok(Embedded { node, census: CensusCache::default(), _duties: duties })
}

fn environment(dir: &Path, access: AccessMode) -> Caused<Environment> {
    let device = DirectoryDevice::open(dir, access).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => Cause::NoStore(dir.into()),
        _ => Cause::Directory { action: "opening", path: dir.into(), source },
    })?;
    Ok(Environment { device: Arc::new(device), clock: Arc::new(SystemClock::new()), rng: Arc::new(SystemRng) })
}

/// Says which directory it is about.
fn in_directory(dir: &Path, error: StoreError) -> Cause {
    match error.kind() {
        StoreErrorKind::NotFound => Cause::NoStore(dir.into()),
        StoreErrorKind::Exists => Cause::StoreExists(dir.into()),
        StoreErrorKind::Busy => Cause::InUse(dir.into()),
        _ => Cause::Store(error),
    }
}

impl Backend for Embedded {
    fn is_read_only(&self) -> bool {
        self.node.store().is_read_only()
    }

    fn close(&self) -> Caused<()> {
        Ok(self.node.store().close()?)
    }

    fn volumes(&self) -> Caused<Vec<VolumeInfo>> {
        Ok(self.node.volumes().iter().map(volume_info).collect())
    }

    fn volume(&self, name: &VolumeName) -> Caused<VolumeInfo> {
        Ok(volume_info(&self.node.volume(name)?))
    }

    fn create_volume(&self, name: &VolumeName, options: &VolumeOptions) -> Caused<VolumeInfo> {
        let spec = VolumeSpec { size_bytes: options.size_bytes, codec: options.codec.unwrap_or_default() };
        let limits = Limits { reserve_bytes: options.reserve_bytes, quota_bytes: options.quota_bytes };
        Ok(volume_info(&self.node.create_limited(name, spec, limits)?))
    }

    fn resize_volume(&self, name: &VolumeName, size_bytes: u64, shrink: Shrink) -> Caused<VolumeInfo> {
        Ok(volume_info(&self.node.resize(name, size_bytes, shrink)?))
    }

    fn remove_volume(&self, name: &VolumeName, loss: SnapshotLoss) -> Caused<()> {
        Ok(self.node.remove(name, loss)?)
    }

    fn clone_volume(&self, of: &ExportName, name: &VolumeName) -> Caused<VolumeInfo> {
        Ok(volume_info(&self.node.clone_volume(of, name)?))
    }

    fn snapshots(&self, of: Option<&VolumeName>) -> Caused<Vec<SnapshotInfo>> {
        let snapshots = of.map_or_else(|| Ok(self.node.all_snapshots()), |of| self.node.snapshots(of))?;
        Ok(snapshots.iter().map(snapshot_info).collect())
    }

    fn snapshot(&self, name: &SnapshotName) -> Caused<SnapshotInfo> {
        Ok(snapshot_info(&self.node.find_snapshot(name)?))
    }

    fn create_snapshots(&self, names: &[SnapshotName]) -> Caused<Vec<SnapshotInfo>> {
        Ok(self.node.snapshot(names)?.iter().map(snapshot_info).collect())
    }

    fn rename_snapshot(&self, name: &SnapshotName, to: &VolumeName) -> Caused<SnapshotInfo> {
        Ok(snapshot_info(&self.node.rename_snapshot(name, to)?))
    }

    fn remove_snapshot(&self, name: &SnapshotName) -> Caused<()> {
        Ok(self.node.remove_snapshot(name)?)
    }

    fn roll_back(&self, to: &SnapshotName) -> Caused<VolumeInfo> {
        Ok(volume_info(&self.node.roll_back(to)?))
    }

    fn open(&self, name: &ExportName) -> Caused<Box<dyn Data>> {
        Ok(Box::new(Opened(self.node.export(name)?)))
    }

    fn changes(&self, from: &ExportName, to: &ExportName) -> Caused<Box<dyn Differences>> {
        Ok(Box::new(Compared(self.node.changes(from, to)?)))
    }

    fn space(&self) -> Caused<Space> {
        let numbers = self.node.store().status();
        Ok(Space {
            total_bytes: numbers.total_bytes,
            used_bytes: numbers.total_bytes.saturating_sub(numbers.free_bytes),
            free_bytes: numbers.room_bytes,
            reserved_bytes: numbers.reserved_bytes,
        })
    }

    fn usage(&self, watch: Watch<'_>) -> Caused<Usage> {
        progress::tell(watch, 0, None)?;
        let census = self.census.census(self.node.store())?;
        let volumes = self.node.volumes().into_iter().map(|volume| (volume.name.to_string(), volume.info));
        let snapshots = self.node.all_snapshots().into_iter();
        let snapshots = snapshots.map(|snapshot| (snapshot.name.to_string(), snapshot.info));
        Ok(Usage::new(volumes.chain(snapshots), &census))
    }

    fn collect(&self, now: bool) -> Caused<Collected> {
        let report = self.node.store().collect(now)?;
        Ok(Collected { reclaimed_bytes: report.bytes_reclaimed, moved_bytes: report.bytes_relocated })
    }

    fn start_scrub(&self) -> Caused<()> {
        self.node.store().start_scrub()?;
        Ok(())
    }

    fn scrub_status(&self) -> Caused<ScrubStatus> {
        Ok(self.node.store().scrub_status().into())
    }

    fn verify(&self, name: &ExportName, watch: Watch<'_>) -> Caused<Verified> {
        let id = match name {
            ExportName::Volume(name) => self.node.volume(name)?.info.id,
            ExportName::Snapshot(name) => self.node.find_snapshot(name)?.info.id,
        };
        let mut cancelled = false;
        let scrubbed = self.node.store().scrub_volume(id, &mut |done, total| {
            progress::tell(watch, done, Some(total)).map_err(|_| {
                cancelled = true;
                StoreError::Closed
            })
        });
        if cancelled { Err(Cause::Cancelled) } else { Ok(scrubbed?.into()) }
    }
}

fn volume_info(volume: &NamedVolume) -> VolumeInfo {
    VolumeInfo {
        name: volume.name.to_string(),
        id: volume.info.id.0,
        size_bytes: volume.info.size_bytes,
        codec: volume.info.codec,
        created_ms: volume.info.created_ms,
        is_ready: volume.state == State::Ready,
        connections: volume.connections,
        snapshots: volume.snapshots,
        reserve_bytes: volume.limits.reserve_bytes,
        quota_bytes: volume.limits.quota_bytes,
    }
}

fn snapshot_info(snapshot: &NamedSnapshot) -> SnapshotInfo {
    SnapshotInfo {
        name: snapshot.name.to_string(),
        volume: snapshot.name.volume.to_string(),
        id: snapshot.info.id.0,
        size_bytes: snapshot.info.size_bytes,
        created_ms: snapshot.info.created_ms,
        connections: snapshot.connections,
    }
}

/// The engine's volume.
struct Opened(Arc<VolumeExport>);

impl Data for Opened {
    fn size_bytes(&self) -> u64 {
        self.0.size_bytes()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Caused<()> {
        self.0.volume().read(offset, buf.len())?.copy_to(buf);
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Caused<()> {
        Ok(self.0.write(&[Write { offset, data }])?)
    }

    fn write_many(&self, writes: &[Write<'_>]) -> Caused<()> {
        Ok(self.0.write(writes)?)
    }

    fn zero(&self, offset: u64, len: u64, zeroing: Zeroing) -> Caused<()> {
        Ok(self.0.zero(offset, len, zeroing)?)
    }

    fn flush(&self) -> Caused<()> {
        Ok(self.0.flush()?)
    }

    fn states(&self, offset: u64, len: u64) -> Caused<Vec<StatusExtent>> {
        Ok(self.0.block_status(offset, len, PAGE_EXTENTS_MAX)?)
    }

    fn fingerprints(&self, first_block: u64, block_count: u64) -> Caused<Vec<BlockIdentity>> {
        Ok(self.0.volume().fingerprints(BlockIndex(first_block), block_count, PAGE_EXTENTS_MAX)?)
    }

    fn write_known(&self, first_block: u64, fingerprints: &[Fingerprint]) -> Caused<Vec<bool>> {
        Ok(self.0.volume().write_known(BlockIndex(first_block), fingerprints)?)
    }
}

/// The engine's comparison.
struct Compared(VolumeChanges);

impl Differences for Compared {
    fn page(&mut self, from: u64, to: u64) -> Caused<(Vec<Range<u64>>, u64)> {
        let (mut at, mut ranges) = (from, Vec::new());
        for extent in self.0.extents(from, to - from, PAGE_EXTENTS_MAX)? {
            let end = at + extent.len;
            if extent.changed {
                ranges.push(at..end);
            }
            at = end;
        }
        Ok((ranges, at))
    }
}
