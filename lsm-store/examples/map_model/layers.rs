//! The snapshots and clones that are made while a volume is overwritten.

use std::cell::{Cell, RefCell};

use lsm_store::id::{FamilyId, LayerId};
use lsm_store::layers::{LayerTree, Lineage};
use lsm_store::rng::SeededRng;

const FIRST: LayerId = LayerId(1);
pub(crate) const FAMILY: FamilyId = FamilyId(1);

/// The layers of one family.
pub(crate) struct Layers {
    tree: RefCell<LayerTree>,
    clones: bool,
    /// Writes between two snapshots; 0 for none.
    every: u64,
    written: Cell<u64>,
    head: Cell<LayerId>,
    /// With clones, the head that was left last.
    left: Cell<LayerId>,
    next: Cell<LayerId>,
    snapshots: RefCell<Vec<LayerId>>,
}

impl Layers {
    /// `snapshots` are taken during `writes`.
    pub(crate) fn new(writes: u64, snapshots: u64, clones: bool) -> Self {
        let layers = Self {
            tree: RefCell::default(),
            clones,
            every: writes.checked_div(snapshots).unwrap_or(0),
            written: Cell::new(0),
            head: Cell::new(FIRST),
            left: Cell::new(FIRST),
            next: Cell::new(FIRST),
            snapshots: RefCell::default(),
        };
        layers.add(None);
        layers
    }

    fn add(&self, parent: Option<LayerId>) -> LayerId {
        let layer = self.next.get();
        self.next.set(layer.next());
        self.tree.borrow_mut().add(layer, parent);
        self.tree.borrow_mut().add_root(layer);
        layer
    }

    pub(crate) fn head(&self) -> LayerId {
        self.head.get()
    }

    /// The layer that the next write goes to: half of them go to the head that was left.
    pub(crate) fn write(&self, rng: &SeededRng) -> LayerId {
        self.written.set(self.written.get() + 1);
        if self.every > 0 && self.written.get().is_multiple_of(self.every) {
            let snapshot = self.head();
            self.snapshots.borrow_mut().push(snapshot);
            if self.clones {
                self.left.set(self.add(Some(snapshot)));
            }
            self.head.set(self.add(Some(snapshot)));
        }
        if self.clones && self.left.get() != FIRST && rng.below(2) == 0 { self.left.get() } else { self.head() }
    }

    pub(crate) fn lineage(&self, layer: LayerId) -> Lineage {
        self.tree.borrow().lineage_of(layer).expect("every layer is read")
    }

    pub(crate) fn visibility(&self) -> lsm_store::layers::Visibility {
        self.tree.borrow().visibility()
    }

    /// The head, and of the snapshots the last, the one in the middle and the first.
    pub(crate) fn readers(&self) -> Vec<(String, Lineage)> {
        let snapshots = self.snapshots.borrow();
        let mut readers = vec![("head".to_owned(), self.head())];
        if let [first, .., last] = snapshots[..] {
            let middle = snapshots[snapshots.len() / 2];
            readers.extend([("last".to_owned(), last), ("middle".to_owned(), middle), ("first".to_owned(), first)]);
        }
        readers.into_iter().map(|(name, layer)| (name, self.lineage(layer))).collect()
    }
}
