//! Segments leave the manifest, then the disk.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::CollectReport;
use crate::device::remove_in_pieces;
use crate::error::Result;
use crate::id::SegmentId;
use crate::manifest::Edit;
use crate::segment::path;
use crate::store::BackgroundMode;
use crate::store::inner::Inner;

/// How long deleting pauses after each piece: so many times what that took, but no longer than this.
const PAUSE_TIMES: u32 = 2;
const PAUSE_MAX: Duration = Duration::from_millis(10);

impl Inner {
    /// Takes segments out of the manifest that a mark has proved to be unreferenced since nothing can be shared with them.
    pub(super) fn reclaim(&self, ids: &[SegmentId], report: &mut CollectReport) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut meta = self.meta.lock();
        let bytes_of = |id: &SegmentId| Some((*id, meta.state.segments.get(id)?.geometry.file_bytes().into()));
        let segments: Vec<(SegmentId, u64)> = ids.iter().filter_map(bytes_of).collect();
        self.commit(&mut meta, segments.iter().map(|(id, _)| Edit::RemoveSegment(*id)).collect())?;
        // The same map once more: whoever looks from here on is told apart from those who looked before.
        self.update_view(|view| view.with_version(Arc::new((*view.version).clone())));
        self.collector.exits.doom(segments.iter().copied());
        drop(meta);
        self.to_index.lock().retain(|id| !ids.contains(id));
        let bytes = segments.iter().map(|(_, bytes)| bytes).sum();
        report.segments_reclaimed += segments.len() as u64;
        report.bytes_reclaimed += bytes;
        self.counters.segments_reclaimed.fetch_add(segments.len() as u64, Ordering::Relaxed);
        self.counters.bytes_reclaimed.fetch_add(bytes, Ordering::Relaxed);
        if self.collector.schedule.is_urgent() {
            self.delete_unread();
        }
        Ok(())
    }

    /// Deletes reclaimed segments that nobody reads any more: as fast as it goes if the room is needed or nobody would notice,
    /// else with pauses.
    pub(in crate::store) fn delete_unread(&self) {
        let unread = self.collector.exits.take_unread();
        for id in &unread {
            // A read that was planned before may still be under way. It has the file open, which must keep its length then.
            let removed = match self.segments.forget(*id) {
                true => self.delete_in_pieces(*id),
                false => self.device.remove(&path(*id)),
            };
            if let Err(error) = removed {
                tracing::warn!(segment = %id, %error, "a reclaimed segment stays until the next start");
            }
            self.collector.exits.end(&[*id]);
        }
        if !unread.is_empty() {
            self.refill_ballast();
        }
    }

    fn delete_in_pieces(&self, id: SegmentId) -> io::Result<()> {
        let is_slow = self.may_delete_slowly();
        let mut began = self.clock.monotonic();
        remove_in_pieces(&*self.device, &path(id), || {
            if is_slow {
                let took = self.clock.monotonic().saturating_sub(began);
                self.clock.sleep((took * PAUSE_TIMES).min(PAUSE_MAX));
            }
            began = self.clock.monotonic();
        })
    }

    /// True if clients may be waiting for the disk, and nobody for the room.
    fn may_delete_slowly(&self) -> bool {
        self.background.mode == BackgroundMode::Threads
            && !self.background.is_stopping()
            && !self.collector.schedule.is_urgent()
            && !self.collector.cold.is_quiet(self.clock.monotonic())
            && self.is_room_short().is_ok_and(|is_short| !is_short)
    }
}
