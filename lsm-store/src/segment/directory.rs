//! The whole directory of a sealed segment, read at once: to rebuild the fingerprint index and to check a segment.
//!
//! Every page is judged alone, so that one bad page costs its own slots only.

use super::check::{Damage, DamageKind};
use super::fingerprint_page::{self, FINGERPRINTS_PER_PAGE};
use super::geometry::Geometry;
use super::open::{Segment, page_of};
use super::slot_table::{SLOTS_PER_PAGE, SlotPage};
use crate::checksum::{PAGE_BYTES, Seal};
use crate::error::Result;
use crate::fingerprint::Fingerprint;
use crate::id::Slot;
use crate::page_cache::Page;

/// What a segment's directory says, as far as its pages verify.
pub struct Directory {
    slots: u32,
    slot_pages: Vec<Option<SlotPage>>,
    fingerprint_pages: Vec<Option<Page>>,
    damages: Vec<Damage>,
    digest: [u8; 32],
}

impl Directory {
    /// Reads the directory of `segment` past the page cache, at most 2.2 MiB.
    pub fn read(segment: &Segment) -> Result<Self> {
        let geometry = *segment.geometry();
        let offset = geometry.slot_table_offset();
        let buffer = segment.read(offset.into(), (geometry.footer_offset() - offset) as usize)?;
        let (slot_seal, fingerprint_seal) = segment.seals();
        let verified = |seal: &Seal, index: u32| {
            let bytes = page_of(&buffer, index as usize);
            seal.is_sealed(u64::from(offset) + u64::from(index) * PAGE_BYTES as u64, bytes)
                .then(|| Page::verified(bytes))
        };
        let slot_table = (0..geometry.slot_table_pages())
            .map(|number| Some(SlotPage::new(verified(slot_seal, number)?, number, geometry.frames_end())));
        let fingerprints = (0..geometry.fingerprint_pages())
            .map(|number| verified(fingerprint_seal, geometry.slot_table_pages() + number));
        let mut directory = Self {
            slots: geometry.slots(),
            slot_pages: slot_table.collect(),
            fingerprint_pages: fingerprints.collect(),
            damages: Vec::new(),
            digest: *blake3::hash(&buffer).as_bytes(),
        };
        directory.damages = directory.bad_pages(&geometry);
        Ok(directory)
    }

    /// The used slots with their fingerprints, in slot order, as far as their pages verified.
    pub fn entries(&self) -> impl Iterator<Item = (Slot, Fingerprint)> {
        let slots =
            self.slot_pages.iter().flatten().flat_map(|page| page.frames(Slot(page.slots().start as u16), LAST));
        let slots = slots.flat_map(|place| (0..place.blocks).map(move |index| Slot(place.first.0 + u16::from(index))));
        slots.filter_map(|slot| Some((slot, self.fingerprint(slot)?)))
    }

    /// The fingerprint of a slot, if its page verified.
    #[must_use]
    pub fn fingerprint(&self, slot: Slot) -> Option<Fingerprint> {
        let (number, position) = fingerprint_page::position(slot);
        let page = self.fingerprint_pages.get(number as usize)?.as_ref()?;
        Some(fingerprint_page::decode(page)[position])
    }

    /// Puts the pages of fingerprints that verified into the page cache of `segment`, which the directory is of.
    pub fn keep_fingerprints(&self, segment: &Segment) {
        for (number, page) in self.fingerprint_pages.iter().enumerate() {
            if let Some(page) = page {
                segment.keep_fingerprint_page(number as u32, page);
            }
        }
    }

    /// The pages that did not verify.
    #[must_use]
    pub fn damages(&self) -> &[Damage] {
        &self.damages
    }

    /// The slot-table pages that verified.
    pub(super) fn slot_pages(&self) -> impl Iterator<Item = &SlotPage> {
        self.slot_pages.iter().flatten()
    }

    pub(super) fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    fn bad_pages(&self, geometry: &Geometry) -> Vec<Damage> {
        let damage = |start: u32, number: usize, per_page: usize, kind| {
            let first = (number * per_page) as u32;
            let slots = first..(first + per_page as u32).min(self.slots);
            Damage { offset: start + (number * PAGE_BYTES) as u32, bytes: PAGE_BYTES as u32, slots, kind }
        };
        let slot_pages = self.slot_pages.iter().enumerate().filter(|(_, page)| page.is_none());
        let fingerprint_pages = self.fingerprint_pages.iter().enumerate().filter(|(_, page)| page.is_none());
        let slot_pages = slot_pages
            .map(|(number, _)| damage(geometry.slot_table_offset(), number, SLOTS_PER_PAGE, DamageKind::SlotTable));
        let fingerprint_pages = fingerprint_pages.map(|(number, _)| {
            damage(geometry.fingerprints_offset(), number, FINGERPRINTS_PER_PAGE, DamageKind::Fingerprints)
        });
        slot_pages.chain(fingerprint_pages).collect()
    }
}

/// The last slot any segment can have.
const LAST: Slot = Slot(u16::MAX);
