//! The network between the nodes, and from them to the configuration service.

use std::collections::BTreeMap;

use lsm_store::rng::SeededRng;

use super::world::{MS, SECOND};

/// The configuration service's end of a link.
pub(super) const SERVICE: usize = usize::MAX;

#[derive(Debug, Default)]
pub(super) struct Network {
    /// Links that are cut, one way, and until when.
    cut: BTreeMap<(usize, usize), u64>,
    loss_percent: u64,
    repeat_percent: u64,
    late_percent: u64,
}

impl Network {
    pub(super) fn is_cut(&self, from: usize, to: usize, now: u64) -> bool {
        self.cut.get(&(from, to)).is_some_and(|until| *until > now)
    }

    pub(super) fn cut(&mut self, from: usize, to: usize, until: u64) {
        self.cut.insert((from, to), until);
    }

    /// After how long each copy of a message arrives.
    pub(super) fn delays(&self, from: usize, to: usize, now: u64, rng: &SeededRng) -> Vec<u64> {
        if self.is_cut(from, to, now) || rng.below(100) < self.loss_percent {
            return Vec::new();
        }
        let copies = 1 + u64::from(rng.below(100) < self.repeat_percent);
        (0..copies)
            .map(|_| {
                let late = rng.below(100) < self.late_percent;
                40 + rng.below(if late { 4 * SECOND } else { 400 })
            })
            .collect()
    }

    /// After how long a question or answer arrives, which is neither repeated nor lost while the link holds.
    pub(super) fn delay(&self, from: usize, to: usize, now: u64, rng: &SeededRng) -> Option<u64> {
        (!self.is_cut(from, to, now)).then(|| 50 + rng.below(if self.loss_percent > 0 { 30 * MS } else { 400 }))
    }

    pub(super) fn worsen(&mut self, rng: &SeededRng) {
        let good = rng.below(2) == 0;
        let percent = |most| if good { 0 } else { rng.below(most) };
        (self.loss_percent, self.repeat_percent, self.late_percent) = (percent(30), percent(20), percent(5));
    }
}
