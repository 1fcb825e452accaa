//! The nodes that may speak now, as the cluster's configuration says.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::RwLock;

use super::NodeId;

/// The set of nodes that may speak, shared between whoever follows the configuration and the checks of certificates.
///
/// A certificate of a node that is not in the set is worth nothing, however long it is valid.
#[derive(Clone, Debug, Default)]
pub struct Allowed(Arc<RwLock<BTreeSet<NodeId>>>);

impl Allowed {
    /// These nodes and no others.
    #[must_use]
    pub fn new(nodes: impl IntoIterator<Item = NodeId>) -> Self {
        Self(Arc::new(RwLock::new(nodes.into_iter().collect())))
    }

    /// True if `node` may speak.
    #[must_use]
    pub fn contains(&self, node: NodeId) -> bool {
        self.0.read().contains(&node)
    }

    /// From now on these nodes and no others. Handshakes see it at once.
    pub fn replace(&self, nodes: impl IntoIterator<Item = NodeId>) {
        *self.0.write() = nodes.into_iter().collect();
    }
}
