//! Finds what a lineage sees of some blocks in the pages of a section: for each stretch of blocks the newest version
//! among the lineage's layers, without looking at all the others where there are many.

use crate::id::{BlockIndex, LayerId};
use crate::layers::Lineage;
use crate::map::page::Page;
use crate::map::{Key, Place, Stretch};

/// Where the next page of a walk is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Nowhere: it is at its end.
    Done,
    /// At the walk's place, which may lie on a page before.
    Back,
    /// At the walk's place or right behind the page at hand, whichever is later.
    On,
}

/// A walk through some blocks.
pub(super) struct Walk<'a> {
    lineage: &'a Lineage,
    from: Key,
    to: Key,
    place: Place,
    /// The first of the blocks of which a version was found last: their other versions are older.
    decided: Option<BlockIndex>,
}

impl<'a> Walk<'a> {
    /// A walk through `[from, to)`.
    pub(super) fn new(lineage: &'a Lineage, from: BlockIndex, to: BlockIndex) -> Self {
        let key = |block| Key { family: lineage.family(), block };
        let place = Place::new(key(from), lineage.newest());
        Self { lineage, from: key(from), to: key(to), place, decided: None }
    }

    /// Where to look next.
    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// True if what begins at `key` is none of the walk's.
    pub(super) fn is_beyond(&self, key: Key) -> bool {
        key >= self.to
    }

    /// Hands what the lineage sees on the page to `sink`, whole.
    pub(super) fn through(&mut self, page: Page<'_>, is_first: bool, sink: &mut impl FnMut(Stretch)) -> Step {
        let mut stretches = page.stretches_near(self.place);
        let begins_late = !is_first || stretches.group() > 0;
        let Some((mut stretch, passed)) = stretches.next_reaching(self.from) else { return Step::On };
        let seeks_newer = stretch.layer < self.lineage.newest() && self.place.key != stretch.key();
        if begins_late && !passed && seeks_newer && stretch.first < self.from.block {
            // Blocks that reach around the first one wanted: their newer versions may stand before what is near it.
            self.place = Place::new(stretch.key(), self.lineage.newest());
            return Step::Back;
        }
        loop {
            if stretch.first >= self.to.block || stretch.family != self.to.family {
                return Step::Done;
            }
            if self.decided != Some(stretch.first) && self.lineage.contains(stretch.layer) {
                self.decided = Some(stretch.first);
                sink(stretch);
                if stretch.end() >= self.to.block {
                    return Step::Done;
                }
            }
            if stretches.breaks_off(&stretch) {
                stretches.skip_to(self.behind(&stretch));
            }
            let Some(next) = stretches.next() else { break };
            stretch = next;
        }
        self.place = self.behind(&stretch);
        Step::On
    }

    /// Where the next version stands that the lineage may see: an older one of the same blocks, or the blocks behind.
    fn behind(&self, stretch: &Stretch) -> Place {
        let older = match self.decided {
            Some(first) if first == stretch.first => None,
            _ => self.lineage.newest_at_most(stretch.layer),
        };
        Place::new(stretch.key(), older.unwrap_or(LayerId(0)))
    }
}
