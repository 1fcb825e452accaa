//! The sealed segments of a store: which there are, and those that are open.
//!
//! A few hundred files are kept open and the rest opened when asked for; an evicted segment stays usable for whoever
//! still holds it. Segments the store knows of (from the manifest, or since they were sealed) are opened without
//! reading their footer.

use std::sync::Arc;

use parking_lot::RwLock;
use quick_cache::UnitWeighter;
use quick_cache::sync::{Cache, DefaultLifecycle};
use rustc_hash::{FxBuildHasher, FxHashMap};

use super::geometry::Geometry;
use super::heat::Heat;
use super::open::{Readahead, Segment, fingerprint_page_key};
use super::{SegmentSummary, fingerprint_page};
use crate::device::Device;
use crate::error::Result;
use crate::fingerprint::Fingerprint;
use crate::id::{Location, SegmentId, StoreId};
use crate::page_cache::PageCache;

/// The sealed segments of one store.
pub struct Segments {
    device: Arc<dyn Device>,
    store: StoreId,
    pages: Arc<PageCache>,
    open: Cache<SegmentId, Arc<Segment>, UnitWeighter, FxBuildHasher>,
    known: RwLock<FxHashMap<SegmentId, Known>>,
}

/// What is known of a segment that may not be open.
#[derive(Clone)]
struct Known {
    geometry: Geometry,
    heat: Arc<Heat>,
}

impl Segments {
    /// The segments of `store` on `device`, with at most `open_max` files (at least 1) kept open.
    #[must_use]
    pub fn new(device: Arc<dyn Device>, store: StoreId, pages: Arc<PageCache>, open_max: usize) -> Self {
        let open = Cache::with(open_max, open_max as u64, UnitWeighter, FxBuildHasher, DefaultLifecycle::default());
        Self { device, store, pages, open, known: RwLock::default() }
    }

    /// Remembers a sealed segment.
    pub fn learn(&self, summary: &SegmentSummary) {
        let known = Known { geometry: summary.geometry, heat: Arc::default() };
        self.known.write().insert(summary.identity.id, known);
    }

    /// Forgets a segment that is about to be deleted and closes it. True if it was learnt and nobody has it open any more:
    /// reads under way keep it, also when it is open here no longer.
    pub fn forget(&self, id: SegmentId) -> bool {
        let known = self.known.write().remove(&id);
        self.open.remove(&id);
        // Each that is open shares what is known of its reads.
        known.is_some_and(|known| Arc::strong_count(&known.heat) == 1)
    }

    /// True if the segment was learnt and not forgotten.
    #[must_use]
    pub fn knows(&self, id: SegmentId) -> bool {
        self.known.read().contains_key(&id)
    }

    /// How much is read of a segment that was learnt.
    pub(crate) fn heat(&self, id: SegmentId) -> Option<Arc<Heat>> {
        self.known.read().get(&id).map(|known| Arc::clone(&known.heat))
    }

    /// A period has passed: what was read before it counts half from now on.
    pub(crate) fn pass_period(&self) {
        self.known.read().values().for_each(|known| known.heat.pass_period());
    }

    /// A segment, opened if it is not; may block.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] if it is missing, not sealed, or its footer is damaged.
    pub fn segment(&self, id: SegmentId) -> Result<Arc<Segment>> {
        self.open.get_or_insert_with(&id, || {
            let known = self.known.read().get(&id).cloned();
            let (geometry, heat) = known.map(|known| (known.geometry, known.heat)).unzip();
            let segment = Segment::open(&*self.device, self.pages.clone(), self.store, id, geometry)?;
            Ok(Arc::new(segment.with_heat(heat.unwrap_or_default())))
        })
    }

    /// What a sealed segment's footer says; reads it.
    pub fn summary(&self, id: SegmentId) -> Result<SegmentSummary> {
        let footer = Segment::open(&*self.device, self.pages.clone(), self.store, id, None)?.footer()?;
        let (frames, blocks) = (footer.frames, footer.blocks);
        Ok(SegmentSummary { identity: footer.identity, geometry: footer.geometry, frames, blocks })
    }

    /// The fingerprint of the block at `location`, all zeros for an unused slot. May block for one read.
    pub fn fingerprint_at(&self, location: Location, readahead: Readahead) -> Result<Fingerprint> {
        let (number, position) = fingerprint_page::position(location.slot);
        match self.pages.page(&fingerprint_page_key(location.segment, number)) {
            Some(page) => Ok(fingerprint_page::decode(&page)[position]),
            None => self.segment(location.segment)?.fingerprint(location.slot, readahead),
        }
    }
}
