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
        VisiblePieces { pieces: Sieve::visible(self.sources(None, |_| true), visibility, Wanted::Data, false) }
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
        while let Some(piece) = self.pieces.next() {
            each(&piece?.stretch)?;
            let mut passed = Ok(());
            self.pieces.take_plain(|stretch| {
                if passed.is_ok() {
                    passed = each(stretch);
                }
            });
            passed?;
        }
        Ok(())
    }
}
