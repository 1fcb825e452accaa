//! New segments for blocks that outlived theirs, and where each of them has gone.

use rustc_hash::FxHashMap;

use crate::codec::Stored;
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::id::{Location, SegmentId, Slot};
use crate::map::rewrite::Moves;
use crate::segment::{Class, SEGMENT_BYTES_MAX, SEGMENT_DIRECTORY, Sealing, SegmentSummary, SegmentWriter};
use crate::store::inner::Inner;

/// A slot that has not moved, and one whose frame waits to be moved. No location is as large.
const UNMOVED: u64 = u64::MAX;
const WAITING: u64 = u64::MAX - 1;

/// Where the blocks of condemned segments have gone, by segment and slot: 8 bytes a slot.
#[derive(Default)]
pub(super) struct Table {
    moved: FxHashMap<SegmentId, Vec<u64>>,
}

impl Table {
    /// Takes in a segment of which nothing has moved.
    pub(super) fn add(&mut self, id: SegmentId, slots: u32) {
        self.moved.insert(id, vec![UNMOVED; slots as usize]);
    }

    pub(super) fn is_unmoved(&self, location: Location) -> bool {
        self.moved[&location.segment].get(usize::from(location.slot.0)).is_none_or(|to| *to == UNMOVED)
    }

    /// The block is going to move.
    pub(super) fn wait(&mut self, location: Location) {
        *self.entry(location) = WAITING;
    }

    fn entry(&mut self, location: Location) -> &mut u64 {
        let slots = self.moved.get_mut(&location.segment).expect("the segment is a victim");
        &mut slots[usize::from(location.slot.0)]
    }
}

impl Moves for Table {
    fn concerns(&self, segment: SegmentId) -> bool {
        self.moved.contains_key(&segment)
    }

    fn moved(&self, location: Location) -> Option<Location> {
        Location::from_bits(*self.moved.get(&location.segment)?.get(usize::from(location.slot.0))?)
    }
}

/// The new segments.
pub(super) struct Survivors<'a> {
    pub(super) inner: &'a Inner,
    pub(super) table: Table,
    /// Segments under construction: for what stays as it was, and for cold data.
    writers: [Option<SegmentWriter>; 2],
    /// The one before, which the device has still to finish.
    sealing: Option<Sealing>,
    pub(super) sealed: Vec<SegmentSummary>,
    /// Segments that have files, sealed or not.
    created: Vec<SegmentId>,
    pub(super) blocks: u64,
    pub(super) bytes: u64,
}

impl<'a> Survivors<'a> {
    pub(super) fn new(inner: &'a Inner) -> Self {
        let (table, writers, sealing) = (Table::default(), [None, None], None);
        Self { inner, table, writers, sealing, sealed: Vec::new(), created: Vec::new(), blocks: 0, bytes: 0 }
    }

    /// Appends a frame with the blocks that were at `from`, to a segment of this class.
    pub(super) fn append(
        &mut self,
        class: Class,
        from: &[Location],
        fingerprints: &[Fingerprint],
        stored: Stored<'_>,
    ) -> Result<()> {
        let writer = &mut self.writers[usize::from(class == Class::Cold)];
        if let Some(full) = writer.take_if(|writer| !writer.room_for(from.len(), stored.bytes.len())) {
            let before = self.sealing.replace(full.seal_behind());
            self.sealed.extend(before.map(Sealing::wait).transpose()?);
        }
        let writer = match writer {
            Some(writer) => writer,
            empty => {
                self.inner.top_up_ids()?;
                let writer = empty.insert(self.inner.new_segment(class)?);
                self.inner.space.take_claimed(SEGMENT_BYTES_MAX);
                self.created.push(writer.identity().id);
                writer
            }
        };
        let segment = writer.identity().id;
        let first = writer.append_group(fingerprints, stored)?;
        for (step, from) in from.iter().enumerate() {
            let to = Location { segment, slot: Slot(first.0 + step as u16) };
            *self.table.entry(*from) = to.to_bits();
        }
        self.blocks += from.len() as u64;
        self.bytes += stored.bytes.len() as u64;
        Ok(())
    }

    /// Seals the last segments and makes the names of all durable.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.sealed.extend(self.sealing.take().map(Sealing::wait).transpose()?);
        for last in self.writers.iter_mut().filter_map(Option::take) {
            self.sealed.push(last.seal()?);
        }
        let synced = self.inner.device.sync_directory(SEGMENT_DIRECTORY);
        synced.map_err(|error| Error::io("syncing", SEGMENT_DIRECTORY, error))
    }

    /// Removes the new segments.
    pub(super) fn discard(&mut self) {
        self.writers = [None, None];
        // Files that are still being written cannot go; what came of it does not matter any more.
        drop(self.sealing.take().map(Sealing::wait));
        self.inner.remove_segments(&self.created);
    }
}
