//! Of the versions of each block that several sources have, lets through those that somebody is to see.
//!
//! Sources belong to *groups*, newest first: a run of level 0, or a level. What a newer group has of a layer is newer
//! than what an older group has. The same holds for layers that stand for each other: an older group may have been
//! written when an entry already bore the id of the layer that stands for its own, so ids say what is newer
//! only within a group, and between layers that different roots see.

mod viewed;

use std::cmp::Reverse;

use super::merge::{Overlay, Source};
use super::run::Section;
use super::version::OfLayers;
use super::{Stretch, Target};
use crate::error::Result;
use crate::id::LayerId;
use crate::layers::{Lineage, Sifter, Verdict, ViewerSets, Visibility};
pub(super) use viewed::Viewed;

/// Where a source's stretches come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Origin {
    /// The group, 0 the newest.
    pub(super) group: usize,
    pub(super) section: Section,
}

/// Sources with their origins: by group, entries before ranges.
pub(super) type Sources = Vec<(Origin, Box<dyn Source>)>;

/// What a source has of some blocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    /// The source's place in the list.
    pub(super) source: u32,
    /// Another version of the same blocks follows.
    pub(super) more: bool,
    pub(super) stretch: Stretch,
}

/// Chooses among the versions of some blocks.
pub(super) trait Choose {
    /// Judges the only version there is, and may change its layer; false drops it.
    fn one(&mut self, piece: &mut Piece) -> bool;

    /// Leaves those of several versions that come through, the newest layer first.
    fn several(&mut self, pieces: &mut Vec<Piece>);
}

/// The versions that come through, in the order of runs.
pub(super) struct Sieve<C> {
    overlay: Overlay,
    chooser: C,
    /// What came through of the blocks at hand, and how many of it have been handed out.
    pieces: Vec<Piece>,
    taken: usize,
}

impl Sieve<Seen> {
    /// What a lineage sees: one version of each block.
    pub(super) fn seen(sources: Sources, lineage: &Lineage) -> Self {
        let (origins, sources) = sources.into_iter().unzip();
        Self::new(sources, Seen { lineage: lineage.clone(), origins })
    }
}

impl Sieve<OfLayers> {
    /// One piece of whatever any of `layers`, which are in order, has.
    pub(super) fn of_layers(sources: Sources, layers: Vec<LayerId>) -> Self {
        Self::new(sources.into_iter().map(|(_, source)| source).collect(), OfLayers(layers))
    }
}

impl Sieve<Visible> {
    /// What any root sees, under the canonical layers; of that, what is `wanted`. `drop_holes`: nothing older lies below
    /// the sources.
    pub(super) fn visible(sources: Sources, visibility: &Visibility, wanted: Wanted, drop_holes: bool) -> Self {
        let (origins, sources) = sources.into_iter().unzip();
        let sifter = visibility.sifter();
        Self::new(sources, Visible { sifter, origins, wanted, drop_holes, scratch: Scratch::default() })
    }
}

impl Sieve<Viewed> {
    /// The data that any root sees, with those who see it in place of the layer.
    pub(super) fn viewed(sources: Sources, visibility: &Visibility) -> Self {
        let (origins, sources) = sources.into_iter().unzip();
        let sifter = visibility.sifter();
        let visible = Visible { sifter, origins, wanted: Wanted::Data, drop_holes: false, scratch: Scratch::default() };
        Self::new(sources, Viewed { visible, sets: ViewerSets::default(), intervals: Vec::new() })
    }
}

impl<C: Choose> Sieve<C> {
    pub(super) fn chooser_mut(&mut self) -> &mut C {
        &mut self.chooser
    }

    fn new(sources: Vec<Box<dyn Source>>, chooser: C) -> Self {
        Self { overlay: Overlay::new(sources), chooser, pieces: Vec::new(), taken: 0 }
    }

    /// Takes what comes through of stretches that have nothing to be chosen between, as far as they are at hand.
    #[inline]
    pub(super) fn take_plain(&mut self, mut each: impl FnMut(&Stretch)) {
        if self.taken < self.pieces.len() {
            return;
        }
        let chooser = &mut self.chooser;
        self.overlay.take_plain(|source, stretch| {
            let mut piece = Piece { source, more: false, stretch: *stretch };
            if chooser.one(&mut piece) {
                each(&piece.stretch);
            }
        });
    }

    #[inline]
    fn step(&mut self) -> Result<Option<Piece>> {
        loop {
            if let Some(piece) = self.pieces.get(self.taken) {
                self.taken += 1;
                return Ok(Some(*piece));
            }
            let Some(mut piece) = self.overlay.take()? else { return Ok(None) };
            if piece.more {
                self.gather(piece)?;
            } else if self.chooser.one(&mut piece) {
                return Ok(Some(piece));
            }
        }
    }

    /// Collects all versions of some blocks, and lets the chooser choose.
    fn gather(&mut self, first: Piece) -> Result<()> {
        self.taken = 0;
        self.pieces.clear();
        self.pieces.push(first);
        while self.pieces.last().is_some_and(|last| last.more) {
            self.pieces.extend(self.overlay.take()?);
        }
        self.chooser.several(&mut self.pieces);
        let len = self.pieces.len();
        self.pieces.iter_mut().zip(1..).for_each(|(piece, at)| piece.more = at < len);
        Ok(())
    }
}

impl<C: Choose> Iterator for Sieve<C> {
    type Item = Result<Piece>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

/// Lets through what a lineage sees.
pub(super) struct Seen {
    lineage: Lineage,
    origins: Vec<Origin>,
}

impl Choose for Seen {
    #[inline]
    fn one(&mut self, piece: &mut Piece) -> bool {
        self.lineage.contains(piece.stretch.layer)
    }

    fn several(&mut self, pieces: &mut Vec<Piece>) {
        let seen = pieces.iter().filter(|piece| self.lineage.contains(piece.stretch.layer));
        let age =
            |piece: &&Piece| (self.origins[piece.source as usize].group, Reverse(piece.stretch.layer), piece.source);
        let newest = seen.min_by_key(age).copied();
        pieces.clear();
        pieces.extend(newest);
    }
}

/// What is wanted of that which is visible.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wanted {
    /// Blocks with data.
    Data,
    /// What comes from a section. Sources of the other section hide what they are newer than.
    Section(Section),
}

/// Lets through what any root sees.
pub(super) struct Visible {
    sifter: Sifter,
    origins: Vec<Origin>,
    wanted: Wanted,
    drop_holes: bool,
    scratch: Scratch,
}

/// Memory kept from one block to the next.
#[derive(Default)]
struct Scratch {
    candidates: Vec<Piece>,
    layers: Vec<LayerId>,
    verdicts: Vec<Verdict>,
    /// For each candidate: it stays; and something stays that its readers would see without it.
    stays: Vec<(bool, bool)>,
}

impl Visible {
    fn is_wanted(&self, piece: &Piece) -> bool {
        match self.wanted {
            Wanted::Data => matches!(piece.stretch.target, Target::Data(_)),
            Wanted::Section(section) => self.origins[piece.source as usize].section == section,
        }
    }

    fn is_range(&self, piece: &Piece) -> bool {
        self.origins[piece.source as usize].section == Section::Ranges
    }

    /// True if a hole may go, because nothing older could be seen instead. `above`: something older stays, or a range of
    /// zeros does, which is stored whole and not cut by what lies on it.
    fn is_needless(&self, piece: &Piece, above: bool) -> bool {
        self.drop_holes
            && piece.stretch.target == Target::Hole
            && if self.is_range(piece) {
                // What lies below the whole of a range is not known here.
                self.wanted == Wanted::Section(Section::Ranges) && self.sifter.is_lowest(piece.stretch.layer)
            } else {
                !above
            }
    }

    /// The only piece, or the newest of one layer.
    #[inline]
    fn choose(&mut self, piece: &mut Piece, above: bool) -> bool {
        let Some(canonical) = self.sifter.canonical(piece.stretch.layer) else { return false };
        piece.stretch.layer = canonical;
        self.is_wanted(piece) && !self.is_needless(piece, above)
    }

    /// Puts one version for each canonical layer into the candidates, the newest layer first.
    fn nominate(&mut self, pieces: &mut Vec<Piece>) {
        let Self { sifter, origins, scratch: Scratch { candidates, .. }, .. } = self;
        pieces.retain(|piece| sifter.canonical(piece.stretch.layer).is_some());
        // Within a group ids tell what is newer; what they are rewritten to does not.
        pieces.sort_unstable_by_key(|piece| {
            (origins[piece.source as usize].group, Reverse(piece.stretch.layer), piece.source)
        });
        candidates.clear();
        candidates.extend(pieces.drain(..).filter_map(|mut piece| {
            piece.stretch.layer = sifter.canonical(piece.stretch.layer)?;
            Some(piece)
        }));
        // Stable: of the same canonical layer, the newest stays in front.
        candidates.sort_by_key(|piece| Reverse(piece.stretch.layer));
        candidates.dedup_by_key(|piece| piece.stretch.layer);
    }
}

impl Choose for Visible {
    #[inline]
    fn one(&mut self, piece: &mut Piece) -> bool {
        self.choose(piece, false)
    }

    fn several(&mut self, pieces: &mut Vec<Piece>) {
        let zeros = |piece: &Piece| self.is_range(piece) && piece.stretch.target == Target::Zero;
        let above_zeros = self.drop_holes && pieces.iter().any(zeros);
        // An overwritten block, by far the most frequent case. Of one layer, the first source has the newest.
        if let [first, second] = &mut pieces[..]
            && first.stretch.layer == second.stretch.layer
        {
            let stays = self.choose(first, above_zeros);
            pieces.truncate(usize::from(stays));
            return;
        }
        self.nominate(pieces);
        let mut scratch = std::mem::take(&mut self.scratch);
        let Scratch { candidates, layers, verdicts, stays } = &mut scratch;
        layers.clear();
        layers.extend(candidates.iter().map(|piece| piece.stretch.layer));
        self.sifter.sift(layers, verdicts);
        stays.clear();
        stays.resize(candidates.len(), (false, false));
        // Ancestors have smaller ids: they are judged before those that lie on top of them.
        for at in (0..candidates.len()).rev() {
            let above = verdicts[at].below.is_some_and(|below| stays[below].0 || stays[below].1);
            let needless = self.is_needless(&candidates[at], above || above_zeros);
            stays[at] = (verdicts[at].visible && !needless, above);
        }
        let staying = candidates.iter().zip(stays).filter(|(piece, stays)| stays.0 && self.is_wanted(piece));
        pieces.extend(staying.map(|(piece, _)| *piece));
        self.scratch = scratch;
    }
}

#[cfg(test)]
mod tests;
