//! The configuration service: one register, changed by compare-and-set on the epoch, that cannot always be reached.

use net::replication::{Configuration, NodeId};

#[derive(Debug)]
pub(super) struct Service {
    /// All configurations there were.
    pub(super) past: Vec<Configuration>,
    /// Until when nobody reaches it.
    pub(super) down_until: u64,
}

impl Service {
    pub(super) fn new(first: Configuration) -> Self {
        Self { past: vec![first], down_until: 0 }
    }

    pub(super) fn now(&self) -> &Configuration {
        self.past.last().expect("there is a first one")
    }

    /// Makes `next` the configuration if it was made from the present one.
    pub(super) fn propose(&mut self, next: &Configuration, compares: bool) -> bool {
        let follows = next.epoch == self.now().epoch.next();
        let may = follows || !compares;
        if may {
            let epoch = self.now().epoch.next();
            self.past.push(Configuration { epoch, ..next.clone() });
        }
        may
    }

    pub(super) fn is_member(&self, node: NodeId) -> bool {
        self.now().contains(node)
    }
}
