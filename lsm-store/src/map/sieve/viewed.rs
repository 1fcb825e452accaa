//! Lets through the data that any root sees, and tells which roots: in place of the layer.

use super::{Choose, Piece, Visible};
use crate::id::LayerId;
use crate::layers::{ViewerSets, Viewers};
use crate::map::Target;

/// What [`Visible`] lets through, with [`Viewers`] as layers.
pub(in crate::map) struct Viewed {
    pub(super) visible: Visible,
    pub(super) sets: ViewerSets,
    pub(super) intervals: Vec<Vec<(u32, u32)>>,
}

impl Viewed {
    pub(in crate::map) fn sets_mut(&mut self) -> &mut ViewerSets {
        &mut self.sets
    }
}

fn bear(piece: &mut Piece, viewers: Option<Viewers>) -> bool {
    let Some(viewers) = viewers else { return false };
    piece.stretch.layer = LayerId(viewers.to_bits());
    matches!(piece.stretch.target, Target::Data(_))
}

impl Choose for Viewed {
    #[inline]
    fn one(&mut self, piece: &mut Piece) -> bool {
        let below = self.visible.sifter.roots_below(piece.stretch.layer);
        let viewers = below.and_then(|below| self.sets.of(&[below]));
        bear(piece, viewers)
    }

    fn several(&mut self, pieces: &mut Vec<Piece>) {
        self.visible.nominate(pieces);
        let Visible { sifter, scratch, .. } = &mut self.visible;
        scratch.layers.clear();
        scratch.layers.extend(scratch.candidates.iter().map(|piece| piece.stretch.layer));
        sifter.sift_viewers(&scratch.layers, &mut self.intervals);
        for (piece, intervals) in scratch.candidates.iter_mut().zip(&self.intervals) {
            let viewers = self.sets.of(intervals);
            if bear(piece, viewers) {
                pieces.push(*piece);
            }
        }
    }
}
