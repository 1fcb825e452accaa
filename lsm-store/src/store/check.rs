//! Verification of a stopped store from end to end, without changing it.
//!
//! Superblock, manifest, journal chain, every page of every run, every directory, every frame against its fingerprint,
//! and every reference of the map. What is damaged is named with the volumes it touches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Environment;
use super::budget::{Budget, MEMORY_BYTES_DEFAULT};
use super::open;
use super::recovery;
use super::scrub::PlaceKind;
use crate::device::LockMode;
use crate::error::{Error, Result};
use crate::id::{BlockIndex, FamilyId, LayerId, SegmentId, StoreId, VolumeId};
use crate::manifest::{MANIFEST_DIRECTORY, State, replay};
use crate::map::{Run, RunFiles, RunLimits, Stretch, Target, Version};
use crate::page_cache::PageCache;
use crate::segment::{self, SegmentSummary, Segments};
use crate::superblock::{self, SUPERBLOCK_FILE, Superblock};

/// Something that is not as it was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// The file, relative to the data directory.
    pub file: String,
    /// Where in it, in bytes.
    pub offset: u64,
    /// What does not hold.
    pub why: String,
    /// The volumes that cannot be read in full because of it. Empty if the damage touches none, as far as can be told.
    pub volumes: Vec<VolumeId>,
}

/// What a check found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CheckReport {
    /// All damage found, in the order in which it was found.
    pub damages: Vec<Damage>,
    /// Segments read.
    pub segment_count: u64,
    /// Runs read.
    pub run_count: u64,
    /// Blocks whose content matched their fingerprint.
    pub blocks_good: u64,
    /// Bytes read of segments and runs.
    pub bytes_read: u64,
}

pub(super) fn check(environment: &Environment, progress: &mut dyn FnMut(u64, u64)) -> Result<CheckReport> {
    if !open::exists(environment)? {
        return Err(Error::NoStore);
    }
    let _lock = open::lock(&*environment.device, LockMode::Shared)?;
    let mut report = CheckReport::default();
    let Some(superblock) = report.found(superblock::read(&*environment.device))? else { return Ok(report) };
    report.check_superblock(environment, &superblock)?;
    let opened = replay(&*environment.device, superblock.store, superblock.manifest, superblock.sequence);
    let Some(opened) = report.found(opened)? else { return Ok(report) };
    report.check_journal(environment, superblock.store, &opened.state, opened.sequence)?;
    Checker::new(environment, superblock.store, &opened.state, &mut report).check(progress)?;
    Ok(report)
}

impl CheckReport {
    /// Takes damage into the report; any other error ends the check.
    fn found<T>(&mut self, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(Error::Corrupt { file, offset, why }) => {
                self.damages.push(Damage { file, offset, why: why.to_owned(), volumes: Vec::new() });
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn check_superblock(&mut self, environment: &Environment, superblock: &Superblock) -> Result<()> {
        for offset in superblock::damaged_copies(&*environment.device, superblock)? {
            let why = "this copy of the superblock is not whole; the others are used".to_owned();
            self.damages.push(Damage { file: SUPERBLOCK_FILE.to_owned(), offset, why, volumes: Vec::new() });
        }
        Ok(())
    }

    fn check_journal(&mut self, environment: &Environment, store: StoreId, state: &State, sequence: u64) -> Result<()> {
        let device = &*environment.device;
        let files = crate::journal::replay::list(device)?;
        let replayed = recovery::replay(device, store, &files, &state.journal, sequence, |_, _| Ok(()));
        let before = self.damages.len();
        self.found(replayed)?;
        // Which writes are missing cannot be told, so they may be missing from any volume.
        for damage in &mut self.damages[before..] {
            damage.volumes = state.volumes.keys().copied().collect();
            if damage.file == MANIFEST_DIRECTORY {
                damage.why.push_str("; volumes may be missing too");
            }
        }
        Ok(())
    }
}

/// The part of the check that reads runs and segments.
struct Checker<'a> {
    state: &'a State,
    report: &'a mut CheckReport,
    segments: Arc<Segments>,
    runs: Arc<RunFiles>,
    /// The volumes and snapshots of each family, with the layer they see it through.
    readers: BTreeMap<FamilyId, Vec<(VolumeId, LayerId)>>,
    /// Slots of each segment that cannot be read, with the damage's place in the report.
    bad: BTreeMap<SegmentId, Vec<(std::ops::Range<u32>, usize)>>,
}

impl<'a> Checker<'a> {
    fn new(environment: &Environment, store: StoreId, state: &'a State, report: &'a mut CheckReport) -> Self {
        let budget = Budget::divide(MEMORY_BYTES_DEFAULT);
        let pages = Arc::new(PageCache::new(budget.page_cache_bytes as usize));
        let device = &environment.device;
        let segments = Arc::new(Segments::new(Arc::clone(device), store, Arc::clone(&pages), 64));
        state.segments.values().for_each(|summary| segments.learn(summary));
        let clock = Arc::clone(&environment.clock);
        let runs = RunFiles::new(Arc::clone(device), store, clock, pages, RunLimits::default());
        let mut readers: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (id, volume) in &state.volumes {
            let family = state.layers.family_of(volume.layer).expect("a volume's layer is among the layers");
            readers.entry(family).or_default().push((*id, volume.layer));
        }
        Self { state, report, segments, runs, readers, bad: BTreeMap::new() }
    }

    fn check(mut self, progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
        let total = super::space::used_bytes(self.state);
        for meta in self.state.runs.values() {
            let run = Run::new(Arc::clone(&self.runs), *meta);
            self.report.run_count += 1;
            self.report.bytes_read += meta.bytes;
            self.check_run(&run);
            progress(self.report.bytes_read, total);
        }
        for summary in self.state.segments.values() {
            self.report.segment_count += 1;
            self.report.bytes_read += u64::from(summary.geometry.file_bytes());
            self.check_segment(summary)?;
            progress(self.report.bytes_read, total);
        }
        self.check_references()
    }

    fn check_run(&mut self, run: &Arc<Run>) {
        let meta = run.meta();
        let within = self.readers.range(meta.first.family..=meta.last.family);
        let volumes: Vec<_> = within.flat_map(|(_, readers)| readers).map(|(volume, _)| *volume).collect();
        for damage in run.verify() {
            let (file, volumes) = (crate::map::run::path(meta.id), volumes.clone());
            self.report.damages.push(Damage { file, offset: damage.offset, why: damage.why, volumes });
        }
    }

    fn check_segment(&mut self, summary: &SegmentSummary) -> Result<()> {
        let id = summary.identity.id;
        let file = segment::path(id);
        let before = self.report.damages.len();
        match self.report.found(segment::check(&self.segments, id))? {
            None => {
                let all = 0..segment::SLOTS_MAX;
                self.bad.entry(id).or_default().push((all, before));
            }
            Some(check) => {
                self.report.blocks_good += u64::from(check.blocks_good);
                for damage in check.damages {
                    // Damage without a place is damage to all of the segment.
                    let all = 0..segment::SLOTS_MAX;
                    let slots = if damage.bytes == 0 && damage.offset == 0 { all } else { damage.slots };
                    let at = self.report.damages.len();
                    let (offset, why) = (u64::from(damage.offset), PlaceKind::from(damage.kind).text().to_owned());
                    self.report.damages.push(Damage { file: file.clone(), offset, why, volumes: Vec::new() });
                    self.bad.entry(id).or_default().push((slots, at));
                }
            }
        }
        Ok(())
    }

    /// Follows every reference of the map, for references to what is not there and for volumes that damage touches.
    fn check_references(mut self) -> Result<()> {
        let metas: Vec<_> = self.state.runs.values().copied().collect();
        let Some(version) = self.report.found(Version::open(&self.runs, &metas))? else { return Ok(()) };
        let mut touched: BTreeMap<usize, BTreeSet<VolumeId>> = BTreeMap::new();
        for stretch in version.scan_visible(&self.state.layers.visibility()) {
            let Some(stretch) = self.report.found(stretch)? else { break };
            self.check_reference(&version, &stretch, &mut touched)?;
        }
        for (damage, volumes) in touched {
            self.report.damages[damage].volumes.extend(volumes);
        }
        Ok(())
    }

    fn check_reference(
        &mut self,
        version: &Version,
        stretch: &Stretch,
        touched: &mut BTreeMap<usize, BTreeSet<VolumeId>>,
    ) -> Result<()> {
        let Target::Data(location) = stretch.target else { return Ok(()) };
        let slots = u32::from(location.slot.0)..u32::from(location.slot.0) + stretch.count as u32;
        let known = self.state.segments.get(&location.segment);
        if known.is_none_or(|summary| slots.end > summary.geometry.slots()) {
            let file = segment::path(location.segment);
            let why = format!("blocks {}+{} of the volume are to be here, and are not", stretch.first, stretch.count);
            let volumes = self.readers_of(version, stretch)?;
            self.report.damages.push(Damage { file, offset: 0, why, volumes });
        }
        let bad = self.bad.get(&location.segment).into_iter().flatten();
        let hit: Vec<_> = bad.filter(|(bad, _)| bad.start < slots.end && slots.start < bad.end).cloned().collect();
        for (bad, damage) in hit {
            let (from, to) = (bad.start.max(slots.start) - slots.start, bad.end.min(slots.end) - slots.start);
            let first = BlockIndex(stretch.first.0 + u64::from(from));
            let part = stretch.clip(first, BlockIndex(first.0 + u64::from(to - from)));
            let part = part.expect("the bad slots are some of the stretch's");
            touched.entry(damage).or_default().extend(self.readers_of(version, &part)?);
        }
        Ok(())
    }

    /// Who sees a stretch, or some of it: a volume that has written over it does not.
    fn readers_of(&mut self, version: &Version, stretch: &Stretch) -> Result<Vec<VolumeId>> {
        let blocks = stretch.first..BlockIndex(stretch.first.0 + stretch.count);
        let mut found = Vec::new();
        for (volume, layer) in self.readers.get(&stretch.family).cloned().unwrap_or_default() {
            let lineage = self.state.layers.lineage_of(layer).filter(|lineage| lineage.contains(stretch.layer));
            let Some(lineage) = lineage else { continue };
            let resolved = version.lookup(&lineage, blocks.clone())?;
            if resolved.iter().any(|part| part.target == Some(stretch.target_of(part.first))) {
                found.push(volume);
            }
        }
        Ok(found)
    }
}
