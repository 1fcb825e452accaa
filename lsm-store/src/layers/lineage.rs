//! What one root sees: a layer and its ancestors.

use std::sync::Arc;

use crate::id::{FamilyId, LayerId};

/// A layer and all its ancestors. Cheap to clone. What its reader sees of a block is what the newest of these layers
/// that wrote the block has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lineage {
    family: FamilyId,
    /// Apart from the list, because almost every question is about it.
    newest: LayerId,
    /// Oldest first; never empty.
    layers: Arc<[LayerId]>,
}

impl Lineage {
    /// The lineage of a family's first layer.
    #[must_use]
    pub fn first(layer: LayerId) -> Self {
        Self::new(FamilyId::of_first(layer), &[layer])
    }

    /// The lineage of the last of `layers`, which come oldest first.
    ///
    /// # Panics
    /// If there are none, or if their ids do not grow.
    #[must_use]
    pub fn new(family: FamilyId, layers: &[LayerId]) -> Self {
        assert!(layers.is_sorted_by(|older, newer| older < newer), "ids of layers only grow");
        let newest = *layers.last().expect("a lineage has a layer");
        Self { family, newest, layers: layers.into() }
    }

    /// The lineage of a layer on top of this one's newest. Copies the list: 8 bytes a layer.
    ///
    /// # Panics
    /// If the layer's id is not larger.
    #[must_use]
    pub fn pushed(&self, layer: LayerId) -> Self {
        assert!(layer > self.newest, "ids of layers only grow");
        let layers = self.layers.iter().copied().chain([layer]).collect();
        Self { family: self.family, newest: layer, layers }
    }

    /// The family of all the layers.
    #[must_use]
    pub fn family(&self) -> FamilyId {
        self.family
    }

    /// The layer whose lineage this is; if it is a volume's head, the one that takes its writes.
    #[must_use]
    pub fn newest(&self) -> LayerId {
        self.newest
    }

    /// The layers, oldest first.
    #[must_use]
    pub fn layers(&self) -> &[LayerId] {
        &self.layers
    }

    /// True if what `layer` wrote is seen, unless a newer layer hides it.
    #[inline]
    #[must_use]
    pub fn contains(&self, layer: LayerId) -> bool {
        layer == self.newest || layer < self.newest && self.layers.binary_search(&layer).is_ok()
    }

    /// The newest of the layers whose id is at most `bound`.
    #[must_use]
    pub fn newest_at_most(&self, bound: LayerId) -> Option<LayerId> {
        if bound >= self.newest {
            return Some(self.newest);
        }
        let older = self.layers.partition_point(|layer| *layer <= bound);
        self.layers[..older].last().copied()
    }

    /// The newest layer that both have; `None` if they are of different families.
    #[must_use]
    pub fn newest_common(&self, other: &Self) -> Option<LayerId> {
        // Two ways from the root of a tree are the same up to where they part.
        let (mut same, mut parted) = (0, self.layers.len().min(other.layers.len()));
        while same < parted {
            let middle = same + (parted - same) / 2;
            if self.layers[middle] == other.layers[middle] { same = middle + 1 } else { parted = middle }
        }
        (self.family == other.family).then(|| self.layers[..same].last().copied())?
    }
}
