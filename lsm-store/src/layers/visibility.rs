//! Who sees what, frozen: which versions of a block any root sees, and which layer may stand for another.
//!
//! Layers are numbered along an Euler tour, so that a subtree is an interval of numbers, and know the roots of their
//! subtree. Of the versions of a block, those who see one are the roots below its layer less the roots below the newer
//! versions' layers nearest to it: one pass over the versions in the order of the tour, with a stack of those that are
//! still open, whatever the number of roots.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::id::LayerId;

/// A layer as the tour sees it.
#[derive(Clone, Copy, Debug)]
struct Place {
    canonical: LayerId,
    /// First number of the subtree, which is the layer's own.
    enter: u32,
    /// The number behind the subtree's last.
    leave: u32,
    /// Roots in the subtree, the layer's own included, and the number of the first: roots are numbered along the tour.
    roots: u32,
    first_root: u32,
    /// No older layer of its lineage keeps entries of its own.
    lowest: bool,
}

/// A tree of layers at one moment. Cheap to clone.
///
/// For a merge or a mark it must be taken after the version of the map that it is used on: then it knows every layer in
/// that version, and what it calls canonical is at least as new as what the version's runs were written with. That roots
/// go and layers come afterwards does no harm: entries are kept that need not be, and layers only come on top of roots.
#[derive(Clone, Debug, Default)]
pub struct Visibility {
    places: Arc<FxHashMap<LayerId, Place>>,
    roots: u32,
}

/// What is known of one version among the versions of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// Some root sees it.
    pub visible: bool,
    /// The version, by its place in the list, that those who see this one would see without it.
    pub below: Option<usize>,
}

/// What is known of a layer while the tour is made; by the layer's place among all layers in order of ids.
struct Draft {
    layer: LayerId,
    parent: Option<usize>,
    own_roots: u32,
    roots: u32,
    size: u32,
    /// Children with roots below them, and the one that was counted last.
    live_children: u32,
    live_child: usize,
    canonical: usize,
    /// The number for the next child's subtree, and for its first root.
    next: u32,
    next_root: u32,
    lowest: bool,
}

impl Visibility {
    /// Layers in order of ids, each with its parent and how many read it.
    pub(super) fn new(layers: impl Iterator<Item = (LayerId, Option<LayerId>, u32)>) -> Self {
        let mut numbers = FxHashMap::default();
        let mut drafts = Vec::new();
        for (layer, parent, own_roots) in layers {
            let at = drafts.len();
            numbers.insert(layer, at);
            let parent = parent.map(|parent| numbers[&parent]);
            let (roots, size, live_children, live_child) = (own_roots, 1, 0, at);
            let draft = Draft {
                layer,
                parent,
                own_roots,
                roots,
                size,
                live_children,
                live_child,
                canonical: at,
                next: 0,
                next_root: 0,
                lowest: true,
            };
            drafts.push(draft);
        }
        sum_up(&mut drafts);
        let roots = drafts.iter().map(|draft| draft.own_roots).sum();
        let places = tour(&mut drafts);
        Self { places: Arc::new(places), roots }
    }

    /// The layer that entries of `layer` may be written under: as long as a layer has no root and one child, whoever
    /// sees it sees it through that child. `None` if nobody sees the layer.
    #[must_use]
    pub fn canonical(&self, layer: LayerId) -> Option<LayerId> {
        self.place(layer).map(|place| place.canonical)
    }

    /// How many read a layer; they are numbered from 0.
    #[must_use]
    pub fn root_count(&self) -> u32 {
        self.roots
    }

    /// The number of the first of those who read this layer; `None` if nobody sees it.
    #[must_use]
    pub fn root_of(&self, layer: LayerId) -> Option<u32> {
        self.place(layer).map(|place| place.first_root)
    }

    /// True if below what `layer` wrote nothing older can lie, whoever looks.
    #[must_use]
    pub fn is_lowest(&self, layer: LayerId) -> bool {
        self.place(layer).is_none_or(|place| place.lowest)
    }

    /// Judges versions of blocks; keeps memory from one block to the next.
    #[must_use]
    pub fn sifter(&self) -> Sifter {
        Sifter { visibility: self.clone(), last: None, order: Vec::new(), open: Vec::new(), verdicts: Vec::new() }
    }

    /// The place of a layer that somebody sees.
    fn place(&self, layer: LayerId) -> Option<Place> {
        self.places.get(&layer).copied().filter(|place| place.roots > 0)
    }
}

/// Adds up the subtrees, and finds the canonical layers: children come behind their parents.
fn sum_up(drafts: &mut [Draft]) {
    for at in (0..drafts.len()).rev() {
        let draft = &drafts[at];
        if draft.own_roots == 0 && draft.live_children == 1 {
            drafts[at].canonical = drafts[draft.live_child].canonical;
        }
        let (roots, size) = (drafts[at].roots, drafts[at].size);
        if let Some(parent) = drafts[at].parent {
            let parent = &mut drafts[parent];
            parent.roots += roots;
            parent.size += size;
            if roots > 0 {
                parent.live_children += 1;
                parent.live_child = at;
            }
        }
    }
}

/// Numbers the layers, parents first.
fn tour(drafts: &mut [Draft]) -> FxHashMap<LayerId, Place> {
    let mut places = FxHashMap::with_capacity_and_hasher(drafts.len(), Default::default());
    let (mut next_tree, mut next_tree_root) = (0, 0);
    for at in 0..drafts.len() {
        let (size, roots, canonical) = (drafts[at].size, drafts[at].roots, drafts[at].canonical);
        let (next, next_root, lowest) = match drafts[at].parent {
            None => (&mut next_tree, &mut next_tree_root, true),
            Some(parent) => {
                let parent = &mut drafts[parent];
                let lowest = parent.canonical == canonical && parent.lowest;
                (&mut parent.next, &mut parent.next_root, lowest)
            }
        };
        let enter = *next;
        *next += size;
        let first_root = *next_root;
        *next_root += roots;
        let canonical = drafts[canonical].layer;
        let draft = &mut drafts[at];
        (draft.next, draft.next_root, draft.lowest) = (enter + 1, first_root + draft.own_roots, lowest);
        places.insert(draft.layer, Place { canonical, enter, leave: enter + size, roots, first_root, lowest });
    }
    places
}

/// Judges versions of blocks.
#[derive(Debug)]
pub struct Sifter {
    visibility: Visibility,
    /// The layer asked for last: most blocks in a row are of one.
    last: Option<(LayerId, Option<Place>)>,
    /// (number, place in the list, roots of the subtree and then those that see the version, end of the subtree)
    order: Vec<(u32, usize, u32, u32)>,
    /// Places in `order` of the versions whose subtrees are not left yet.
    open: Vec<usize>,
    /// Those of [`Sifter::sift_viewers`].
    verdicts: Vec<Verdict>,
}

impl Sifter {
    /// As [`Visibility::canonical`].
    #[inline]
    pub fn canonical(&mut self, layer: LayerId) -> Option<LayerId> {
        self.place(layer).map(|place| place.canonical)
    }

    /// As [`Visibility::is_lowest`].
    #[must_use]
    pub fn is_lowest(&self, layer: LayerId) -> bool {
        self.visibility.is_lowest(layer)
    }

    #[inline]
    fn place(&mut self, layer: LayerId) -> Option<Place> {
        match self.last {
            Some((last, place)) if last == layer => place,
            _ => {
                let place = self.visibility.place(layer);
                self.last = Some((layer, place));
                place
            }
        }
    }

    /// The roots that see what `layer` wrote unless something newer hides it; `None` if there are none.
    pub(crate) fn roots_below(&mut self, layer: LayerId) -> Option<(u32, u32)> {
        self.place(layer).map(|place| (place.first_root, place.first_root + place.roots))
    }

    /// Who sees each of the versions of one block, given by their layers, each once: intervals of roots, in order.
    pub(crate) fn sift_viewers(&mut self, versions: &[LayerId], viewers: &mut Vec<Vec<(u32, u32)>>) {
        viewers.iter_mut().for_each(Vec::clear);
        viewers.resize_with(versions.len(), Vec::new);
        let mut verdicts = std::mem::take(&mut self.verdicts);
        self.sift(versions, &mut verdicts);
        // In the order of the tour: what hides a version comes behind it, and from left to right.
        for index in 0..self.order.len() {
            let at = self.order[index].1;
            let Some((first, end)) = self.roots_below(versions[at]) else { continue };
            if let Some(below) = verdicts[at].below {
                cut_out(&mut viewers[below], (first, end));
            }
            viewers[at].push((first, end));
        }
        viewers.iter_mut().for_each(|intervals| intervals.retain(|(first, end)| first < end));
        self.verdicts = verdicts;
    }

    /// Judges the versions of one block, given by their layers, each once: one verdict for each, in their order.
    pub fn sift(&mut self, versions: &[LayerId], verdicts: &mut Vec<Verdict>) {
        verdicts.clear();
        self.order.clear();
        self.open.clear();
        for (at, layer) in versions.iter().enumerate() {
            let place = self.place(*layer);
            verdicts.push(Verdict { visible: false, below: None });
            self.order.extend(place.map(|place| (place.enter, at, place.roots, place.leave)));
        }
        self.order.sort_unstable();
        for index in 0..self.order.len() {
            let (enter, at, roots, _) = self.order[index];
            while self.open.last().is_some_and(|open| self.order[*open].3 <= enter) {
                self.open.pop();
            }
            if let Some(&around) = self.open.last() {
                self.order[around].2 -= roots;
                verdicts[at].below = Some(self.order[around].1);
            }
            self.open.push(index);
        }
        for (_, at, seen_by, _) in &self.order {
            verdicts[*at].visible = *seen_by > 0;
        }
    }
}

/// Takes roots out of a set, which lie in its last interval.
fn cut_out(intervals: &mut Vec<(u32, u32)>, (first, end): (u32, u32)) {
    if let Some(last) = intervals.last_mut() {
        let behind = (end, last.1);
        last.1 = first;
        intervals.push(behind);
    }
}
