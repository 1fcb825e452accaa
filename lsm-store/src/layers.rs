//! Layers and who reads them: the ground for snapshots and clones.
//!
//! A *layer* is what one volume wrote between two snapshots. Layers form trees, called *families*: each but the first was
//! opened on top of another, and ids only grow, so a child's id is larger than its parent's. A *root* is a layer that
//! somebody reads: a volume's head, or a snapshot. Only what has a root is written to or gets children, so a layer that
//! has lost its last root never comes back. `docs/decisions/2026-11-25-versions-in-one-map.md` has the reasons.

mod lineage;
mod viewers;
mod visibility;

use std::collections::BTreeMap;

use crate::id::{FamilyId, LayerId};
pub use lineage::Lineage;
pub use viewers::{ViewerSets, Viewers};
pub use visibility::{Sifter, Verdict, Visibility};

/// A layer of the tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Node {
    family: FamilyId,
    parent: Option<LayerId>,
    roots: u32,
    children: u32,
}

/// The layers of a store, each with its parent and with how many read it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct LayerTree {
    nodes: BTreeMap<LayerId, Node>,
}

impl LayerTree {
    /// Adds a layer on top of `parent`, or the first of a new family. Nobody reads it yet: [`LayerTree::add_root`]
    /// follows.
    ///
    /// # Panics
    /// If the layer is there, or its parent is not or has a larger id.
    pub fn add(&mut self, layer: LayerId, parent: Option<LayerId>) {
        let family = match parent {
            None => FamilyId::of_first(layer),
            Some(parent) => {
                assert!(parent < layer, "ids of layers only grow");
                let node = self.node_mut(parent);
                node.children += 1;
                node.family
            }
        };
        let before = self.nodes.insert(layer, Node { family, parent, roots: 0, children: 0 });
        assert!(before.is_none(), "ids of layers are never used twice");
    }

    /// True if somebody may see the layer.
    #[must_use]
    pub fn contains(&self, layer: LayerId) -> bool {
        self.nodes.contains_key(&layer)
    }

    /// Every layer with what it lies on, parents first.
    pub fn iter(&self) -> impl Iterator<Item = (LayerId, Option<LayerId>)> {
        self.nodes.iter().map(|(layer, node)| (*layer, node.parent))
    }

    /// Somebody reads the layer from now on.
    ///
    /// # Panics
    /// If the layer is not there.
    pub fn add_root(&mut self, layer: LayerId) {
        self.node_mut(layer).roots += 1;
    }

    /// One of those who read the layer stops. Layers that nobody can see any more, which have neither roots nor
    /// children, leave the tree.
    ///
    /// # Panics
    /// If nobody read the layer.
    pub fn remove_root(&mut self, layer: LayerId) {
        let node = self.node_mut(layer);
        node.roots = node.roots.checked_sub(1).expect("who stops reading a layer has read it");
        let mut bare = Some(layer);
        while let Some(layer) = bare {
            let node = *self.node_mut(layer);
            if node.roots > 0 || node.children > 0 {
                return;
            }
            self.nodes.remove(&layer);
            bare = node.parent;
            if let Some(parent) = bare {
                self.node_mut(parent).children -= 1;
            }
        }
    }

    /// The layer and its ancestors; `None` if nobody sees the layer any more.
    #[must_use]
    pub fn lineage_of(&self, layer: LayerId) -> Option<Lineage> {
        let family = self.family_of(layer)?;
        let parent_of = |layer: &LayerId| self.nodes.get(layer).and_then(|node| node.parent);
        let mut layers: Vec<_> = std::iter::successors(Some(layer), parent_of).collect();
        layers.reverse();
        Some(Lineage::new(family, &layers))
    }

    /// The family of a layer; `None` if nobody sees the layer any more.
    #[must_use]
    pub fn family_of(&self, layer: LayerId) -> Option<FamilyId> {
        self.nodes.get(&layer).map(|node| node.family)
    }

    /// What merges and marks need to know of the tree as it is now.
    #[must_use]
    pub fn visibility(&self) -> Visibility {
        Visibility::new(self.nodes.iter().map(|(layer, node)| (*layer, node.parent, node.roots)))
    }

    fn node_mut(&mut self, layer: LayerId) -> &mut Node {
        self.nodes.get_mut(&layer).expect("the layer is in the tree")
    }
}

#[cfg(test)]
mod tests;
