//! A device, a cache and stretches for the tests of the map.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use proptest::prelude::*;

use super::merge::Source;
use super::run::Section;
use super::run::reader::LevelStream;
use super::{Key, PageCache, PageKey, Run, RunFiles, RunLimits, RunWriter, Stretch, Target};
use crate::clock::SystemClock;
use crate::device::{Access, Device, File, Lock, LockMode, ReadQueue, Space};
use crate::id::{BlockIndex, FamilyId, LayerId, Location, RunId, SegmentId, Slot, StoreId};
use crate::layers::{LayerTree, Lineage, Visibility};
use crate::map::cache::PAGE_BYTES;

pub(super) const STORE: StoreId = StoreId(*b"a store to test.");

/// Files in memory.
#[derive(Default)]
pub(super) struct MemoryDevice {
    files: Mutex<BTreeMap<String, Arc<MemoryFile>>>,
}

#[derive(Default)]
pub(super) struct MemoryFile {
    pub(super) bytes: RwLock<Vec<u8>>,
}

impl MemoryDevice {
    pub(super) fn file(&self, path: &str) -> Arc<MemoryFile> {
        self.files.lock()[path].clone()
    }
}

fn unsupported<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

impl Device for MemoryDevice {
    fn create_directory(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn create(&self, path: &str, _: Access) -> io::Result<Arc<dyn File>> {
        let mut files = self.files.lock();
        if files.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(files.entry(path.to_owned()).or_default().clone())
    }

    fn open(&self, path: &str, _: Access) -> io::Result<Arc<dyn File>> {
        Ok(self.files.lock().get(path).cloned().ok_or(io::ErrorKind::NotFound)?)
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        unsupported()
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.files.lock().remove(path).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let files = self.files.lock();
        let prefix = format!("{directory}/");
        Ok(files.keys().filter_map(|path| path.strip_prefix(&prefix)).map(str::to_owned).collect())
    }

    fn sync_directory(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn space(&self) -> io::Result<Space> {
        unsupported()
    }

    fn read_queue(&self, _: usize) -> io::Result<Box<dyn ReadQueue>> {
        unsupported()
    }

    fn lock(&self, _: LockMode) -> io::Result<Box<dyn Lock>> {
        unsupported()
    }
}

impl File for MemoryFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let bytes = self.bytes.read();
        let at = offset as usize;
        let found = bytes.get(at..at + buf.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(found);
        Ok(())
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let mut bytes = self.bytes.write();
        let mut at = offset as usize;
        for buf in bufs {
            if bytes.len() < at + buf.len() {
                bytes.resize(at + buf.len(), 0);
            }
            bytes[at..at + buf.len()].copy_from_slice(buf);
            at += buf.len();
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.read().len() as u64)
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        unsupported()
    }

    fn allocate(&self, _: u64, _: u64) -> io::Result<()> {
        unsupported()
    }

    fn alignment(&self) -> usize {
        PAGE_BYTES
    }
}

/// A cache that keeps everything.
#[derive(Default)]
pub(super) struct EndlessCache {
    pages: Mutex<BTreeMap<PageKey, Arc<[u8; PAGE_BYTES]>>>,
}

impl PageCache for EndlessCache {
    fn lookup(&self, key: PageKey) -> Option<Arc<[u8; PAGE_BYTES]>> {
        self.pages.lock().get(&key).cloned()
    }

    fn insert(&self, key: PageKey, page: Arc<[u8; PAGE_BYTES]>) {
        self.pages.lock().insert(key, page);
    }
}

/// Run files on a device in memory, few enough handles that they are evicted.
pub(super) fn memory_files() -> (Arc<MemoryDevice>, Arc<RunFiles>) {
    let device = Arc::new(MemoryDevice::default());
    (device.clone(), files_on(device))
}

/// The run files of `device` as after opening its store: nothing cached.
pub(crate) fn files_on(device: Arc<dyn Device>) -> Arc<RunFiles> {
    let limits = RunLimits { handles: 3, index_bytes: 1 << 20, filter_bytes: 1 << 20 };
    RunFiles::new(device, STORE, Arc::new(SystemClock::new()), Arc::new(EndlessCache::default()), limits)
}

/// A run of level 0 as a flush job writes it.
pub(super) fn flush_run(files: &Arc<RunFiles>, id: u64, stretches: &[Stretch]) -> Arc<Run> {
    let mut writer = RunWriter::create(files, RunId(id), 0, true).unwrap();
    stretches.iter().for_each(|stretch| writer.push(*stretch).unwrap());
    writer.finish().unwrap()
}

/// An address in the family whose first layer this is.
pub(super) fn key(layer: u64, block: u64) -> Key {
    Key { family: FamilyId(layer), block: BlockIndex(block) }
}

/// The lineage of a layer that is the only one of its family.
pub(super) fn lineage(layer: u64) -> Lineage {
    Lineage::first(LayerId(layer))
}

/// Some layers, each the only one of its family, all of them read.
pub(crate) fn readers(layers: impl IntoIterator<Item = u64>) -> Visibility {
    let mut tree = LayerTree::default();
    for layer in layers.into_iter().map(LayerId) {
        tree.add(layer, None);
        tree.add_root(layer);
    }
    tree.visibility()
}

pub(crate) fn data(segment: u32, slot: u16) -> Target {
    Target::Data(Location { segment: SegmentId(segment), slot: Slot(slot) })
}

/// A stretch of the first layer of a family.
pub(crate) fn stretch(layer: u64, first: u64, count: u64, target: Target) -> Stretch {
    version(layer, layer, first, count, target)
}

/// A stretch of any layer of a family.
pub(crate) fn version(family: u64, layer: u64, first: u64, count: u64, target: Target) -> Stretch {
    Stretch { family: FamilyId(family), layer: LayerId(layer), first: BlockIndex(first), count, target }
}

/// What a map of blocks should say.
#[derive(Clone, Default)]
pub(super) struct Model {
    pub(super) blocks: BTreeMap<Key, Target>,
}

impl Model {
    pub(super) fn write(&mut self, stretch: &Stretch) {
        for block in stretch.first.0..stretch.end().0 {
            let block = BlockIndex(block);
            self.blocks.insert(Key { family: stretch.family, block }, stretch.target_of(block));
        }
    }

    /// The blocks as stretches, joined.
    pub(super) fn stretches(&self) -> Vec<Stretch> {
        let mut stretches: Vec<Stretch> = Vec::new();
        for (key, target) in &self.blocks {
            let next = stretch(key.family.0, key.block.0, 1, *target);
            match stretches.last_mut().and_then(|last| Some((last.join(&next)?, last))) {
                Some((joined, last)) => *last = joined,
                None => stretches.push(next),
            }
        }
        stretches
    }
}

/// Stretches in order that do not overlap, of mixed shapes.
pub(super) fn ordered(layers: u64, at_most: usize) -> impl Strategy<Value = Vec<Stretch>> {
    let width = prop_oneof![Just(1u64), 1..4u64, 1..3000u64];
    let gap = prop_oneof![4 => Just(0u64), 4 => 0..100u64, 1 => 0..(1u64 << 20)];
    let target = prop_oneof![
        6 => (0..5u32, 0..60_000u16).prop_map(|(segment, slot)| data(segment, slot)),
        1 => any::<u32>().prop_map(|segment| data(segment, 9)),
        1 => Just(Target::Zero),
        1 => Just(Target::Hole),
    ];
    let steps = prop::collection::vec((0..40u64, gap, width, target, any::<bool>()), 0..at_most);
    steps.prop_map(move |steps| {
        let (mut layer, mut block) = (0, 0);
        let mut out: Vec<Stretch> = Vec::new();
        for (turn, gap, count, target, goes_on) in steps {
            if turn == 0 && layer + 1 < layers {
                (layer, block) = (layer + 1, gap);
            } else {
                block += gap;
            }
            let target = match out.last().map(|last| (last.target, last.count)) {
                Some((Target::Data(place), before)) if goes_on && u64::from(place.slot.0) + before < 60_000 => {
                    data(place.segment.0, place.slot.0 + before as u16)
                }
                _ => target,
            };
            out.push(stretch(layer, block, count, target));
            block += count;
        }
        out
    })
}

/// Stretches in order, many of which have older versions.
pub(super) fn ordered_versions(families: u64, at_most: usize) -> impl Strategy<Value = Vec<Stretch>> {
    let more = prop::collection::vec((0..5u64, prop_oneof![2 => 0..40u64, 1 => 0..10_000u64]), 1..20);
    let long = prop_oneof![9 => Just(0usize), 1 => 50..2000usize];
    (ordered(families, at_most), more, long, any::<prop::sample::Index>()).prop_map(|(stretches, more, long, at)| {
        let longest = at.index(stretches.len().max(1));
        let mut out = Vec::new();
        for (index, newest) in stretches.into_iter().enumerate() {
            let (versions, step) = more[index % more.len()];
            let versions = if index == longest { versions.max(long as u64) } else { versions };
            let layer = |age: u64| LayerId(50_000 + step * 7 - age * (1 + step % 9));
            out.extend((0..=versions).map(|age| Stretch { layer: layer(age), ..newest }));
        }
        out
    })
}

/// What a section of a run holds, from what covers `from` on.
pub(super) fn section(run: &Arc<Run>, section: Section, from: Option<Key>) -> Vec<Stretch> {
    let (mut source, mut all, mut batch) = (LevelStream::new(vec![run.clone()], section, from), Vec::new(), Vec::new());
    while source.next_batch(&mut batch).unwrap() {
        all.extend_from_slice(&batch);
    }
    all
}
