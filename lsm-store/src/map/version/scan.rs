//! Walks what a version knows, in order: what one lineage sees, or all that any root sees.

use super::Version;
use crate::error::Result;
use crate::id::BlockIndex;
use crate::layers::{Lineage, Visibility};
use crate::map::join::Joined;
use crate::map::sieve::{Piece, Sieve, Visible, Wanted};
use crate::map::{Key, Stretch, Target};

/// What a lineage sees that is allocated, in order, neighbours joined: data and zeroed blocks; holes are left out.
///
/// Ends after the first error. Reads past the page cache; holds a read (256 KiB) and a decoded page for both sections of
/// every level and of every run of level 0. Keeps the version's runs readable while it lives.
pub struct Scan {
    stretches: Joined<Box<dyn Iterator<Item = Result<Piece>> + Send>>,
}

/// All data that any root sees, in order of families and blocks, of several versions the newest layer first; neighbours
/// joined. Stretches bear the layer that stands for the one that wrote them, see [`Visibility::canonical`].
///
/// As [`Scan`] in all else.
pub struct VisibleScan {
    stretches: Joined<Sieve<Visible>>,
}

/// As [`VisibleScan`], but neighbours are not joined, and all is passed to whoever wants it without a stop at each: that takes
/// half the time.
pub struct VisiblePieces {
    pieces: Sieve<Visible>,
    part: Part,
}

/// A part of the addresses of a map: from the first one up to but without the second, or from the beginning or up to the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Part {
    pub(super) from: Option<Key>,
    pub(super) to: Option<Key>,
}

/// What a part has of a stretch.
enum Share {
    None,
    Some(Stretch),
    /// Nothing, nor of what follows.
    End,
}

impl Part {
    fn meets(&self, first: Key, last: Key) -> bool {
        self.from.is_none_or(|from| from <= last) && self.to.is_none_or(|to| first < to)
    }

    #[inline]
    fn share(&self, stretch: &Stretch) -> Share {
        let (first, last) = (stretch.key(), stretch.last_key());
        if self.from.is_none_or(|from| from <= first) && self.to.is_none_or(|to| last < to) {
            return Share::Some(*stretch);
        }
        if self.to.is_some_and(|to| to <= first) {
            return Share::End;
        }
        let bound = |key: Option<Key>| key.filter(|key| key.family == stretch.family).map(|key| key.block);
        let to = bound(self.to).unwrap_or(stretch.end());
        match self.from.filter(|from| last < *from) {
            Some(_) => Share::None,
            None => stretch.clip(bound(self.from).unwrap_or_default(), to).map_or(Share::None, Share::Some),
        }
    }
}

impl Version {
    /// What a lineage sees of the blocks from `from` on, up to but without `to`.
    #[must_use]
    pub fn scan(&self, lineage: &Lineage, from: BlockIndex, to: Option<BlockIndex>) -> Scan {
        let key = |block| Key { family: lineage.family(), block };
        let end = to.unwrap_or(BlockIndex(u64::MAX));
        let (first, last, newest) = (key(from), key(end), lineage.newest());
        let sources =
            self.sources(Some(first), |run| run.meta().overlaps(first, last) && run.meta().layer_min <= newest);
        let pieces = Sieve::seen(sources, lineage)
            .take_while(move |piece| piece.as_ref().map_or(true, |piece| piece.stretch.key() < last))
            .filter_map(move |piece| {
                let clipped = |piece: Piece| clip(&piece.stretch, first, end).map(|stretch| Piece { stretch, ..piece });
                piece.map(clipped).transpose()
            });
        Scan { stretches: Joined::new(Box::new(pieces)) }
    }

    /// Everything that a lineage sees.
    #[must_use]
    pub fn scan_all(&self, lineage: &Lineage) -> Scan {
        self.scan(lineage, BlockIndex(0), None)
    }

    /// All data that any root sees, in all its versions. `visibility` must have been taken after the version.
    #[must_use]
    pub fn scan_visible(&self, visibility: &Visibility) -> VisibleScan {
        VisibleScan { stretches: Joined::new(self.pieces_visible(visibility).pieces) }
    }

    /// As [`Version::scan_visible`], for whoever does not care how long the stretches are.
    #[must_use]
    pub fn pieces_visible(&self, visibility: &Visibility) -> VisiblePieces {
        self.pieces_visible_in(Part::default(), visibility)
    }

    /// What of [`Version::pieces_visible`] is in a part.
    #[must_use]
    pub fn pieces_visible_in(&self, part: Part, visibility: &Visibility) -> VisiblePieces {
        let sources = self.sources(part.from, |run| part.meets(run.meta().first, run.meta().last));
        VisiblePieces { pieces: Sieve::visible(sources, visibility, Wanted::Data, false), part }
    }

    /// Cuts the map into at most `count` parts, which take about as long to read as each other. Together they are all of it.
    #[must_use]
    pub fn parts(&self, count: usize) -> Vec<Part> {
        let runs = self.levels.last().map_or(&[][..], |level| level.runs());
        let share = runs.iter().map(|run| run.meta().bytes).sum::<u64>().div_ceil(count.max(1) as u64);
        let mut parts = vec![Part::default()];
        let mut bytes = 0;
        for run in runs {
            // Runs of level 0 are in no order.
            if bytes >= share && self.levels.len() > 1 {
                let at = Some(run.meta().first);
                parts.last_mut().expect("there is one from the start").to = at;
                parts.push(Part { from: at, to: None });
                bytes = 0;
            }
            bytes += run.meta().bytes;
        }
        parts
    }
}

/// The part of an allocated stretch of `from`'s family inside `[from, to)`.
fn clip(stretch: &Stretch, from: Key, to: BlockIndex) -> Option<Stretch> {
    if stretch.target == Target::Hole || stretch.family != from.family {
        return None;
    }
    stretch.clip(from.block, to)
}

impl Iterator for Scan {
    type Item = Result<Stretch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.stretches.next()
    }
}

impl Iterator for VisibleScan {
    type Item = Result<Stretch>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.stretches.next()
    }
}

impl VisiblePieces {
    /// Passes everything to `each`, until that fails.
    ///
    /// # Errors
    /// `Corrupt` and `Io` if the map cannot be read to its end, and those of `each`.
    pub fn visit(mut self, mut each: impl FnMut(&Stretch) -> Result<()>) -> Result<()> {
        let part = self.part;
        let mut pass = |stretch: &Stretch| match part.share(stretch) {
            Share::Some(share) => each(&share).map(|()| true),
            Share::None => Ok(true),
            Share::End => Ok(false),
        };
        while let Some(piece) = self.pieces.next() {
            let mut passed = pass(&piece?.stretch);
            self.pieces.take_plain(|stretch| {
                if matches!(passed, Ok(true)) {
                    passed = pass(stretch);
                }
            });
            if !passed? {
                break;
            }
        }
        Ok(())
    }
}
