//! The configuration service: one register, changed by compare-and-set on the epoch, that cannot always be reached.

use net::replication::{Configuration, NodeId};

#[derive(Debug)]
pub(crate) struct Service {
    /// All configurations there were.
    pub(crate) past: Vec<Configuration>,
    /// Until when nobody reaches it.
    pub(crate) down_until: u64,
}

impl Service {
    pub(crate) fn new(first: Configuration) -> Self {
        Self { past: vec![first], down_until: 0 }
    }

    pub(crate) fn now(&self) -> &Configuration {
        self.past.last().expect("there is a first one")
    }

    /// Makes `next` the configuration if it was made from the present one.
    pub(crate) fn propose(&mut self, next: &Configuration, compares: bool) -> bool {
        let follows = next.epoch == self.now().epoch.next();
        let may = follows || !compares;
        if may {
            let epoch = self.now().epoch.next();
            self.past.push(Configuration { epoch, ..next.clone() });
        }
        may
    }

    pub(crate) fn is_member(&self, node: NodeId) -> bool {
        self.now().contains(node)
    }
}
