//! Segments that no commit names any more but somebody may still be reading.
//!
//! A reader follows locations from the version it took, and opens segments on demand. So a segment's file is deleted when
//! no version is left that was current before the segment left the manifest.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use rustc_hash::FxHashSet;

use crate::id::SegmentId;
use crate::map::Version;

/// A segment to delete.
struct Doomed {
    id: SegmentId,
    bytes: u64,
    readers: Vec<Weak<Version>>,
    /// Somebody deletes its file.
    leaving: bool,
}

/// Segments on their way out, and who may still need them.
#[derive(Default)]
pub(in crate::store) struct Exits {
    /// Segments that nothing may be shared with. Replaced as a whole.
    condemned: Mutex<Arc<FxHashSet<SegmentId>>>,
    /// Versions that were current once and are still held.
    replaced: Mutex<Vec<Weak<Version>>>,
    doomed: Mutex<Vec<Doomed>>,
}

impl Exits {
    /// The segments that nothing may be shared with, as they are now. Good for as long as `flushing` is held: whoever
    /// condemns waits for it.
    pub(in crate::store) fn condemned(&self) -> Arc<FxHashSet<SegmentId>> {
        Arc::clone(&self.condemned.lock())
    }

    /// From now on nothing may be shared with `ids`.
    pub(in crate::store) fn condemn(&self, ids: impl IntoIterator<Item = SegmentId>) {
        let mut condemned = self.condemned.lock();
        let mut all = FxHashSet::clone(&condemned);
        all.extend(ids);
        *condemned = Arc::new(all);
    }

    /// The segments are condemned no longer, except those that are doomed.
    pub(super) fn pardon(&self, ids: &[SegmentId]) {
        let mut condemned = self.condemned.lock();
        let mut all = FxHashSet::clone(&condemned);
        all.retain(|id| !ids.contains(id));
        all.extend(self.doomed.lock().iter().map(|doomed| doomed.id));
        *condemned = Arc::new(all);
    }

    /// A version that was current has been replaced by another.
    pub(in crate::store) fn replaced(&self, version: &Arc<Version>) {
        let mut replaced = self.replaced.lock();
        replaced.retain(|version| version.strong_count() > 0);
        replaced.push(Arc::downgrade(version));
    }

    /// The segments have left the manifest, and with it the version that is current now.
    pub(super) fn doom(&self, segments: impl IntoIterator<Item = (SegmentId, u64)>) {
        let readers = self.replaced.lock().clone();
        let doomed =
            segments.into_iter().map(|(id, bytes)| Doomed { id, bytes, readers: readers.clone(), leaving: false });
        self.doomed.lock().extend(doomed);
    }

    /// Segments that nobody can read any more; each is returned once. They stay doomed until [`Exits::end`]: a flush job
    /// that begins before their files are gone must not share with them.
    pub(super) fn take_unread(&self) -> Vec<SegmentId> {
        let mut unread = Vec::new();
        for doomed in self.doomed.lock().iter_mut().filter(|doomed| !doomed.leaving) {
            doomed.readers.retain(|version| version.strong_count() > 0);
            if doomed.readers.is_empty() {
                doomed.leaving = true;
                unread.push(doomed.id);
            }
        }
        unread
    }

    /// The store has forgotten the segments, and their files are gone.
    pub(super) fn end(&self, ids: &[SegmentId]) {
        self.doomed.lock().retain(|doomed| !ids.contains(&doomed.id));
        self.pardon(ids);
    }

    /// Bytes of files that are still to be deleted.
    pub(in crate::store) fn doomed_bytes(&self) -> u64 {
        self.doomed.lock().iter().map(|doomed| doomed.bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_stays_until_the_last_version_before_its_end_is_gone() {
        let exits = Exits::default();
        let versions = [(); 3].map(|()| Arc::new(Version::default()));
        exits.condemn([SegmentId(1), SegmentId(2), SegmentId(3)]);
        exits.replaced(&versions[0]);
        exits.replaced(&versions[1]);
        exits.doom([(SegmentId(1), 10), (SegmentId(2), 20)]);
        exits.pardon(&[SegmentId(2), SegmentId(3)]);
        assert_eq!(exits.condemned().len(), 2);
        let [first, second, third] = versions;
        exits.replaced(&third);
        drop(second);
        assert!(exits.take_unread().is_empty());
        drop(first);
        assert_eq!(exits.take_unread(), [SegmentId(1), SegmentId(2)]);
        assert!(exits.take_unread().is_empty());
        assert_eq!(exits.doomed_bytes(), 30);
        exits.end(&[SegmentId(1), SegmentId(2)]);
        assert_eq!(exits.doomed_bytes(), 0);
    }

    /// A batch of collection ended while another thread was about to delete its segments: they could be shared with.
    #[test]
    fn a_segment_stays_condemned_until_its_file_is_gone() {
        let exits = Exits::default();
        let ids = [SegmentId(1), SegmentId(2)];
        exits.condemn(ids);
        exits.doom([(ids[0], 10)]);
        assert_eq!(exits.take_unread(), [ids[0]]);
        exits.pardon(&ids);
        assert!(exits.condemned().contains(&ids[0]) && !exits.condemned().contains(&ids[1]));
        exits.end(&ids[..1]);
        assert!(exits.condemned().is_empty());
    }
}
