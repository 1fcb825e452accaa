//! Walks all data that any root sees, with who sees it.

use super::Version;
use crate::error::Result;
use crate::layers::{ViewerSets, Viewers, Visibility};
use crate::map::Stretch;
use crate::map::join::Joined;
use crate::map::sieve::{Sieve, Viewed};

/// All data that any root sees, in order of families and blocks, each version of a block once with the roots that see it;
/// neighbours seen by the same roots joined. Costs one pass whatever the number of roots.
///
/// Ends after the first error. Reads past the page cache, as [`super::Scan`].
pub struct ViewerScan {
    stretches: Joined<Sieve<Viewed>>,
}

impl Version {
    /// All data, with who sees it. `visibility` must have been taken after the version.
    #[must_use]
    pub fn scan_viewers(&self, visibility: &Visibility) -> ViewerScan {
        ViewerScan { stretches: Joined::new(Sieve::viewed(self.sources(None, |_| true), visibility)) }
    }
}

impl ViewerScan {
    /// The sets of roots met so far.
    pub fn sets_mut(&mut self) -> &mut ViewerSets {
        self.stretches.pieces_mut().chooser_mut().sets_mut()
    }
}

impl Iterator for ViewerScan {
    /// The stretch bears no layer of the map.
    type Item = Result<(Stretch, Viewers)>;

    fn next(&mut self) -> Option<Self::Item> {
        let stretch = match self.stretches.next()? {
            Ok(stretch) => stretch,
            Err(error) => return Some(Err(error)),
        };
        let viewers = Viewers::from_bits(stretch.layer.0).expect("what comes through is seen by somebody");
        Some(Ok((stretch, viewers)))
    }
}
