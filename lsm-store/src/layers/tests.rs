use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// A tree, and what it should say, worked out from the definitions.
#[derive(Clone, Debug, Default)]
struct Model {
    /// (layer, parent, roots), by id.
    layers: Vec<(LayerId, Option<LayerId>, u32)>,
}

impl Model {
    fn of(&self, layer: LayerId) -> &(LayerId, Option<LayerId>, u32) {
        self.layers.iter().find(|(id, ..)| *id == layer).unwrap()
    }

    fn lineage(&self, layer: LayerId) -> Vec<LayerId> {
        let mut lineage: Vec<_> = std::iter::successors(Some(layer), |layer| self.of(*layer).1).collect();
        lineage.reverse();
        lineage
    }

    fn roots(&self) -> impl Iterator<Item = LayerId> {
        self.layers.iter().filter(|(.., roots)| *roots > 0).map(|(layer, ..)| *layer)
    }

    fn readers(&self, layer: LayerId) -> BTreeSet<LayerId> {
        self.roots().filter(|root| self.lineage(*root).contains(&layer)).collect()
    }

    fn canonical(&self, layer: LayerId) -> LayerId {
        let children = self.layers.iter().filter(|(_, parent, _)| *parent == Some(layer));
        let live: Vec<_> =
            children.map(|(child, ..)| *child).filter(|child| !self.readers(*child).is_empty()).collect();
        match live[..] {
            [child] if self.of(layer).2 == 0 => self.canonical(child),
            _ => layer,
        }
    }

    /// The version that a root sees, and the one it would see without that.
    fn seen(&self, root: LayerId, versions: &[LayerId]) -> [Option<LayerId>; 2] {
        let lineage = self.lineage(root);
        let mut seen: Vec<_> = versions.iter().filter(|version| lineage.contains(version)).copied().collect();
        seen.sort_unstable();
        [seen.pop(), seen.pop()]
    }

    fn tree(&self) -> LayerTree {
        let mut tree = LayerTree::default();
        for (layer, parent, roots) in &self.layers {
            tree.add(*layer, *parent);
            (0..*roots).for_each(|_| tree.add_root(*layer));
        }
        tree
    }
}

/// Trees of up to 24 layers with gaps between their ids; every third layer goes on where the last one ended.
fn models() -> impl Strategy<Value = Model> {
    prop::collection::vec((1..4u64, any::<prop::sample::Index>(), 0..12u32, 0..3u32), 1..24).prop_map(|steps| {
        let (mut model, mut next) = (Model::default(), 0);
        for (gap, parent, shape, roots) in steps {
            next += gap;
            let parent = match (shape, model.layers.len()) {
                (_, 0) | (0, _) => None,
                (1..5, count) => Some(model.layers[count - 1].0),
                (_, count) => Some(model.layers[parent.index(count)].0),
            };
            model.layers.push((LayerId(next), parent, roots.saturating_sub(1)));
        }
        model
    })
}

proptest! {
    #[test]
    fn a_lineage_is_the_way_up(model in models()) {
        let tree = model.tree();
        for (layer, ..) in &model.layers {
            let lineage = tree.lineage_of(*layer).unwrap();
            let expected = model.lineage(*layer);
            prop_assert_eq!(lineage.layers(), &expected[..]);
            prop_assert_eq!(Some(lineage.family()), tree.family_of(*layer));
            prop_assert_eq!(lineage.family(), FamilyId::of_first(expected[0]));
            for id in (0..80).map(LayerId) {
                prop_assert_eq!(lineage.contains(id), expected.contains(&id));
                prop_assert_eq!(lineage.newest_at_most(id), expected.iter().rfind(|layer| **layer <= id).copied());
            }
            for (other, ..) in &model.layers {
                let common = expected.iter().zip(&model.lineage(*other)).take_while(|(a, b)| a == b).last().map(|(a, _)| *a);
                prop_assert_eq!(lineage.newest_common(&tree.lineage_of(*other).unwrap()), common);
            }
        }
    }

    #[test]
    fn a_version_is_visible_if_a_root_sees_it(model in models(), chosen in any::<u32>()) {
        let chosen = |at: &usize| chosen >> (at % 32) & 1 == 1;
        let versions: Vec<_> = (0..model.layers.len()).filter(chosen).map(|at| model.layers[at].0).rev().collect();
        let mut verdicts = Vec::new();
        model.tree().visibility().sifter().sift(&versions, &mut verdicts);
        let seen: Vec<_> = model.roots().map(|root| model.seen(root, &versions)).collect();
        for (version, verdict) in versions.iter().zip(&verdicts) {
            let by: Vec<_> = seen.iter().filter(|seen| seen[0] == Some(*version)).collect();
            prop_assert_eq!(verdict.visible, !by.is_empty());
            for [_, below] in by {
                prop_assert_eq!(verdict.below.map(|at| versions[at]), *below);
            }
        }
    }

    #[test]
    fn the_viewers_of_a_version_are_the_roots_that_see_it(model in models(), chosen in any::<u32>()) {
        let chosen = |at: &usize| chosen >> (at % 32) & 1 == 1;
        let versions: Vec<_> = (0..model.layers.len()).filter(chosen).map(|at| model.layers[at].0).rev().collect();
        let visibility = model.tree().visibility();
        let mut viewers = Vec::new();
        visibility.sifter().sift_viewers(&versions, &mut viewers);
        prop_assert_eq!(visibility.root_count(), model.layers.iter().map(|(.., roots)| roots).sum::<u32>());
        for (version, intervals) in versions.iter().zip(&viewers) {
            let mut expected = BTreeSet::new();
            for (layer, _, roots) in model.layers.iter().filter(|(.., roots)| *roots > 0) {
                let first = visibility.root_of(*layer).unwrap();
                if model.seen(*layer, &versions)[0] == Some(*version) {
                    expected.extend(first..first + roots);
                }
            }
            let found: Vec<_> = intervals.iter().flat_map(|(first, end)| *first..*end).collect();
            prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_canonical_layer_has_the_same_readers(model in models()) {
        let visibility = model.tree().visibility();
        for (layer, ..) in &model.layers {
            let readers = model.readers(*layer);
            let canonical = visibility.canonical(*layer);
            prop_assert_eq!(canonical.is_some(), !readers.is_empty());
            if let Some(canonical) = canonical {
                prop_assert_eq!(canonical, model.canonical(*layer));
                prop_assert_eq!(model.readers(canonical), readers);
                let lowest = model.lineage(*layer).iter().all(|older| model.canonical(*older) == canonical);
                prop_assert_eq!(visibility.is_lowest(*layer), lowest);
            }
        }
    }

    /// What a frozen view of the tree may have missed: roots that went.
    #[test]
    fn a_layer_without_readers_leaves_the_tree(model in models(), order in any::<prop::sample::Index>()) {
        let mut tree = model.tree();
        let mut left = model;
        // Bare ends are there from the beginning: give each a root and take it away.
        for (layer, ..) in &left.layers {
            if tree.family_of(*layer).is_some() {
                tree.add_root(*layer);
                tree.remove_root(*layer);
            }
        }
        loop {
            let roots: Vec<_> = left.roots().collect();
            let Some(root) = roots.get(order.index(roots.len().max(1))).copied() else { break };
            tree.remove_root(root);
            left.layers.iter_mut().find(|(layer, ..)| *layer == root).unwrap().2 -= 1;
            for (layer, ..) in &left.layers {
                prop_assert_eq!(tree.family_of(*layer).is_some(), !left.readers(*layer).is_empty());
            }
        }
        prop_assert!(tree.nodes.is_empty());
    }
}

#[test]
fn ten_thousand_snapshots_in_a_row_are_no_trouble() {
    let mut tree = LayerTree::default();
    for id in 1..=10_000 {
        tree.add(LayerId(id), (id > 1).then(|| LayerId(id - 1)));
        tree.add_root(LayerId(id));
    }
    let lineage = tree.lineage_of(LayerId(10_000)).unwrap();
    assert!(lineage.pushed(LayerId(10_001)).contains(LayerId(1)));
    let visibility = tree.visibility();
    let versions: Vec<_> = (1..=10_000).rev().map(LayerId).collect();
    let mut verdicts = Vec::new();
    visibility.sifter().sift(&versions, &mut verdicts);
    assert!(verdicts.iter().all(|verdict| verdict.visible));
    (2..10_000).for_each(|id| tree.remove_root(LayerId(id)));
    assert_eq!(tree.visibility().canonical(LayerId(2)), Some(LayerId(10_000)));
}

#[test]
#[should_panic(expected = "only grow")]
fn a_child_older_than_its_parent_is_refused() {
    let mut tree = LayerTree::default();
    tree.add(LayerId(5), None);
    tree.add(LayerId(4), Some(LayerId(5)));
}
