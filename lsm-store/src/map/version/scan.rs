//! Walks everything a version knows, in order.

use super::Version;
use crate::error::Result;
use crate::id::{BlockIndex, LayerId};
use crate::map::merge::{Joined, Overlay};
use crate::map::{Key, Stretch, Target};

/// What is allocated, in order, neighbours joined: data and zeroed blocks; holes are left out.
///
/// Ends after the first error. Reads past the page cache; holds a read (256 KiB) and a decoded page for both sections of
/// every level and of every run of level 0. Keeps the version's runs readable while it lives.
pub struct Scan {
    stretches: Joined<Box<dyn Iterator<Item = Result<Stretch>> + Send>>,
}

impl Version {
    /// Everything from `from` on, up to but without `to`.
    #[must_use]
    pub fn scan(&self, from: Key, to: Option<Key>) -> Scan {
        let last = to.unwrap_or(Key { layer: LayerId(u64::MAX), block: BlockIndex(u64::MAX) });
        let sources = self.sources(Some(from), |run| run.meta().overlaps(from, last));
        let pieces = Overlay::new(sources)
            .map(|piece| piece.map(|(_, stretch)| stretch))
            .take_while(move |piece| piece.as_ref().map_or(true, |stretch| stretch.key() < last))
            .filter_map(move |piece| piece.map(|stretch| clip(stretch, from, last)).transpose());
        Scan { stretches: Joined::new(Box::new(pieces)) }
    }

    /// Everything of one layer.
    #[must_use]
    pub fn scan_layer(&self, layer: LayerId) -> Scan {
        let from = Key { layer, block: BlockIndex(0) };
        self.scan(from, layer.0.checked_add(1).map(|next| Key { layer: LayerId(next), ..from }))
    }

    /// Everything.
    #[must_use]
    pub fn scan_all(&self) -> Scan {
        self.scan(Key::default(), None)
    }
}

/// The part of an allocated stretch inside `[from, to)`.
fn clip(stretch: Stretch, from: Key, to: Key) -> Option<Stretch> {
    if stretch.target == Target::Hole {
        return None;
    }
    let start = if stretch.layer == from.layer { from.block } else { BlockIndex(0) };
    let end = if stretch.layer == to.layer { to.block } else { BlockIndex(u64::MAX) };
    if stretch.layer < from.layer { None } else { stretch.clip(start, end) }
}

impl Iterator for Scan {
    type Item = Result<Stretch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.stretches.next()
    }
}
